//! Files, streams and standard input, once and twice.

use std::{
    env,
    fs::{self, File},
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use analysis::capture::{
    Capture,
    source::{Passes, Rereadable},
};

use crate::{
    packets::{frames, pcap},
    tools::{rows_until, run, text},
};

fn packets(rereadable: &mut Rereadable) -> usize {
    let source = rereadable.source().unwrap();
    let (rows, damage) = rows_until(Capture::open(source).unwrap());
    assert!(damage.is_none());
    rows.len()
}

#[test]
fn a_file_is_read_twice_and_counts_what_was_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("capture.pcap");
    let octets = pcap(1, &frames());
    fs::write(&path, &octets).unwrap();
    let mut file = Rereadable::open(&path, Passes::Several).unwrap();
    for _ in 0..2 {
        let source = file.source().unwrap();
        let progress = source.progress();
        assert_eq!(source.octets(), Some(octets.len() as u64));
        assert_eq!(progress.octets(), 0);
        let (rows, _) = rows_until(Capture::open(source).unwrap());
        assert_eq!(rows.len(), frames().len());
        assert_eq!(progress.octets(), octets.len() as u64);
    }
}

#[test]
fn a_stream_is_read_twice_if_that_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    run("mkfifo", &[text(&path)]);
    for passes in [Passes::One, Passes::Several] {
        let writer = thread::spawn({
            let path = path.clone();
            move || {
                let mut pipe = File::create(path).unwrap();
                pipe.write_all(&pcap(1, &frames())).unwrap();
            }
        });
        let mut stream = Rereadable::open(&path, passes).unwrap();
        let source = stream.source().unwrap();
        assert_eq!(source.octets(), None, "nobody knows how long it will be");
        let (rows, _) = rows_until(Capture::open(source).unwrap());
        assert_eq!(rows.len(), frames().len());
        writer.join().unwrap();
        if passes == Passes::Several {
            assert_eq!(packets(&mut stream), frames().len());
            assert_eq!(packets(&mut stream), frames().len());
        } else {
            let error = stream.source().unwrap_err().to_string();
            let line = format!(
                "cannot read {} again: it is a stream, of which nothing was kept",
                path.display()
            );
            assert_eq!(error, line);
        }
    }
}

#[test]
fn what_cannot_be_opened_is_named_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let open = |path: &Path| Rereadable::open(path, Passes::One).unwrap_err().to_string();
    let missing = directory.path().join("missing.pcap");
    assert_eq!(
        open(&missing),
        format!(
            "cannot open {}: No such file or directory (os error 2)",
            missing.display()
        )
    );
    assert_eq!(
        open(directory.path()),
        format!(
            "cannot read {}: it is a directory, and not a capture",
            directory.path().display()
        )
    );
}

/// This test runs itself again, with a capture as its standard input.
#[test]
fn standard_input_is_read_twice_be_it_a_file_or_a_pipe() {
    const CHILD: &str = "LASTACK_TEST_READS_STANDARD_INPUT";
    if env::var_os(CHILD).is_some() {
        let mut input = Rereadable::open(Path::new("-"), Passes::Several).unwrap();
        for _ in 0..2 {
            assert_eq!(packets(&mut input), frames().len());
        }
        println!("both times");
        return;
    }
    let again = |input: Stdio| {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("sources::standard_input_is_read_twice_be_it_a_file_or_a_pipe")
            .env(CHILD, "yes")
            .stdin(input)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let well = |child: std::process::Child| {
        let output = child.wait_with_output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{printed}");
        assert!(printed.contains("both times"), "{printed}");
    };
    let octets = pcap(1, &frames());
    let mut child = again(Stdio::piped());
    child.stdin.take().unwrap().write_all(&octets).unwrap();
    well(child);
    // A file of which somebody has read a part.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("behind.pcap");
    fs::write(&path, [&b"before"[..], &octets].concat()).unwrap();
    let mut file = File::open(&path).unwrap();
    file.read_exact(&mut [0; 6]).unwrap();
    well(again(file.into()));
}
