//! Every format that the tools write is read as tshark reads it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use analysis::capture::{Capture, Compression};
use tempfile::TempDir;

use crate::{
    packets::{frames, pcap},
    tools::{Row, rows, rows_of_tshark, run, text},
};

/// A capture that the tools make others of.
fn original(directory: &TempDir) -> PathBuf {
    let path = directory.path().join("original.pcap");
    fs::write(&path, pcap(1, &frames())).expect("there is room");
    path
}

fn agreed(file: &Path) -> Vec<Row> {
    let rows = rows(file);
    assert_eq!(rows, rows_of_tshark(file), "{}", file.display());
    rows
}

#[test]
fn whatever_editcap_writes_is_read_as_tshark_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let original = original(&directory);
    for format in ["pcap", "nsecpcap", "modpcap", "pcapng"] {
        for (name, options) in [
            ("whole", &[][..]),
            ("cut", &["-s", "60"]),
            ("moved", &["-t", "-1234.567891"]),
            ("chopped", &["-C", "3"]),
        ] {
            let file = directory.path().join(format!("{name}.{format}"));
            let mut arguments = vec!["-F", format];
            arguments.extend(options);
            arguments.extend([text(&original), text(&file)]);
            run("editcap", &arguments);
            let rows = agreed(&file);
            assert_eq!(rows.len(), frames().len());
            if name == "cut" {
                assert!(rows.iter().all(|row| row.captured == row.wire_len.min(60)));
            }
        }
    }
}

#[test]
fn nanoseconds_of_tcpdump_and_bursts_of_mergecap_are_read_as_tshark_reads_them() {
    let directory = tempfile::tempdir().unwrap();
    let original = original(&directory);
    let at = |name: &str| directory.path().join(name);
    let (nano, merged, appended) = (at("nano.pcap"), at("merged.pcapng"), at("appended.pcapng"));
    let nanoseconds = "--time-stamp-precision=nano";
    run(
        "tcpdump",
        &[nanoseconds, "-r", text(&original), "-w", text(&nano)],
    );
    agreed(&nano);
    // Two interfaces, of different resolution.
    let inputs = [text(&original), text(&nano)];
    run(
        "mergecap",
        &["-I", "none", "-w", text(&merged), inputs[0], inputs[1]],
    );
    assert_eq!(agreed(&merged).len(), 2 * frames().len());
    // Two sections.
    let mut twice = fs::read(&merged).unwrap();
    twice.extend(twice.clone());
    fs::write(&appended, twice).unwrap();
    assert_eq!(agreed(&appended).len(), 4 * frames().len());
    let mut interfaces = Vec::new();
    let mut capture = Capture::open(fs::File::open(&appended).unwrap()).unwrap();
    while let Some(packet) = capture.next().unwrap() {
        interfaces.push(packet.interface);
    }
    interfaces.sort_unstable();
    interfaces.dedup();
    assert_eq!(
        interfaces,
        [0, 1, 2, 3],
        "those of the second section are others"
    );
}

#[test]
fn hex_dumps_with_comments_and_names_are_read_as_tshark_reads_them() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (dump, made, commented) = (at("dump.txt"), at("made.pcapng"), at("commented.pcapng"));
    let mut hex = String::new();
    for frame in frames() {
        hex.push_str("000000");
        for octet in frame {
            write!(hex, " {octet:02x}").unwrap();
        }
        hex.push('\n');
    }
    fs::write(&dump, hex).unwrap();
    run("text2pcap", &["-q", "-N", "lab0", text(&dump), text(&made)]);
    agreed(&made);
    let comments = ["-a", "1:the first", "-a", "7:the seventh"];
    let capture = [
        "--capture-comment",
        "of our own",
        text(&made),
        text(&commented),
    ];
    run("editcap", &[&comments[..], &capture[..]].concat());
    agreed(&commented);
}

#[test]
fn what_gzip_and_zstd_have_made_of_it_is_the_same_capture() {
    let directory = tempfile::tempdir().unwrap();
    let original = original(&directory);
    let expected = rows(&original);
    let path = text(&original);
    run("gzip", &["--keep", path]);
    run("zstd", &["--quiet", "--keep", path]);
    let gzip = PathBuf::from(format!("{path}.gz"));
    let zstd = PathBuf::from(format!("{path}.zst"));
    assert_eq!(rows_of_tshark(&gzip), expected);
    // A file in parts, each compressed apart, with a skippable frame before, between and behind.
    let parts = fs::read(&original).unwrap();
    let mut split = Vec::new();
    for (index, part) in parts.chunks(parts.len() / 3).enumerate() {
        let part_path = directory.path().join(format!("part{index}"));
        fs::write(&part_path, part).unwrap();
        run("zstd", &["--quiet", text(&part_path)]);
        split.extend([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
        split.extend(fs::read(directory.path().join(format!("part{index}.zst"))).unwrap());
    }
    split.extend([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
    let in_frames = directory.path().join("frames.zst");
    fs::write(&in_frames, split).unwrap();
    let twice = directory.path().join("members.gz");
    let member = fs::read(&gzip).unwrap();
    let (head, rest) = parts.split_at(1000);
    for (name, part) in [("head", head), ("rest", rest)] {
        fs::write(directory.path().join(name), part).unwrap();
        run("gzip", &[text(&directory.path().join(name))]);
    }
    let members = ["head.gz", "rest.gz"].map(|name| fs::read(directory.path().join(name)).unwrap());
    fs::write(&twice, members.concat()).unwrap();
    assert!(member.len() < parts.len());
    for (file, compression) in [
        (&original, Compression::None),
        (&gzip, Compression::Gzip),
        (&twice, Compression::Gzip),
        (&zstd, Compression::Zstd),
        (&in_frames, Compression::Zstd),
    ] {
        assert_eq!(rows(file), expected, "{}", file.display());
        let capture = Capture::open(fs::File::open(file).unwrap()).unwrap();
        assert_eq!(capture.compression(), compression);
    }
}
