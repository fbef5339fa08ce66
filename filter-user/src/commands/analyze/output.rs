//! Files that are written besides the report: a picture, and packets.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io::{self, BufWriter},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::Path,
};

use analysis::{
    Analysis, Selection,
    capture::{Packet, source::Rereadable, write::Writer},
    report::Finding,
};
use anyhow::{Context as _, bail};

use super::{in_one, options::is_stdin, pass::each, shown};
use crate::commands::table;

/// What the capture that is written names as its author.
const AUTHOR: &str = concat!("lastack ", env!("CARGO_PKG_VERSION"));

/// Refuses to write over what is to be read.
pub(super) fn refuse_same(read: &Path, written: &Path) -> anyhow::Result<()> {
    let target = match fs::metadata(written) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| cannot_write(written)),
    };
    let source = if is_stdin(read) {
        File::from(io::stdin().as_fd().try_clone_to_owned()?).metadata()
    } else {
        fs::metadata(read)
    };
    // If there is none, reading says so.
    if source.is_ok_and(|source| target.is_file() && is_same(&source, &target)) {
        bail!(
            "{} is the capture that is to be read: write to another file",
            shown(written.as_os_str())
        );
    }
    Ok(())
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Writes a picture.
pub(super) fn picture(path: &Path, svg: &str) -> anyhow::Result<()> {
    fs::write(path, svg).with_context(|| cannot_write(path))
}

/// Writes the packets of connections with findings; tells how many. What was found is said in
/// comments.
pub(super) fn packets(
    input: &mut Rereadable,
    analysis: &Analysis,
    path: &Path,
) -> anyhow::Result<u64> {
    let file = File::create(path).with_context(|| cannot_write(path))?;
    let mut writer =
        Writer::new(BufWriter::new(file), AUTHOR).with_context(|| cannot_write(path))?;
    let selection = Selection::new(&analysis.spans);
    let comments = comments(&analysis.report.findings);
    let mut packets = 0;
    let mut written = Ok(());
    let mut write = |packet: &Packet<'_>| {
        if selection.has(packet) {
            packets += 1;
            let comment = comments.get(&packet.number).map(String::as_str);
            written = writer.packet(packet, comment);
        }
        written.is_ok() && !selection.is_past(packet.number)
    };
    each(input.source().map_err(in_one)?, &mut write)?;
    written
        .and_then(|()| writer.finish().map(drop))
        .with_context(|| cannot_write(path))?;
    Ok(packets)
}

/// By number of frame.
fn comments(findings: &[Finding]) -> BTreeMap<u64, String> {
    let mut comments = BTreeMap::new();
    for finding in findings {
        let Finding { number, frame, .. } = finding;
        let kind = finding.kind.as_str();
        let after = table::delay(finding.seconds_after_ack);
        let ack = format!(
            "lastack, finding {number}: {kind} ACK, {after} after the one before it (frame {frame})"
        );
        comments.insert(*frame, ack);
        if let Some(reset) = finding.reset_frame {
            let drawn =
                format!("lastack, finding {number}: the reset that followed (frame {reset})");
            comments.insert(reset, drawn);
        }
    }
    comments
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", shown(path.as_os_str()))
}
