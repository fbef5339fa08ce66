//! The committed corpus through what libFuzzer calls.

use std::{fs, path::Path};

use fuzz::TARGETS;

#[test]
fn nothing_in_the_corpus_breaks_anything() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (target, check) in TARGETS {
        let directory = fuzz.join("corpus").join(target);
        let mut count = 0;
        for entry in fs::read_dir(&directory).expect("each target has a corpus") {
            let path = entry.expect("it can be listed").path();
            let octets = fs::read(&path).expect("it can be read");
            if let Err(broken) = check(&octets) {
                panic!("{}: {broken}", path.display());
            }
            count += 1;
        }
        println!("{target}: {count}");
        assert!(count > 10, "{} has {count} inputs", directory.display());
    }
}
