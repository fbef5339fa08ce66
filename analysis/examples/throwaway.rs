//! throwaway
use analysis::capture::{Capture, link};
fn main() {
    let path = std::env::args().nth(1).unwrap();
    let dump = std::env::args().nth(2).is_some();
    let start = std::time::Instant::now();
    let mut capture = match Capture::open(std::fs::File::open(&path).unwrap()) {
        Ok(c) => c,
        Err(e) => { println!("{path}: {e}"); std::process::exit(1) }
    };
    let (mut n, mut sum) = (0u64, 0u64);
    loop {
        match capture.next() {
            Ok(Some(p)) => {
                n += 1;
                sum += p.data.len() as u64 + u64::from(p.data.first().copied().unwrap_or(0));
                if dump {
                    println!("{}\t{}.{:09}\t{}\t{}", p.number, p.time.0 / 1_000_000_000, p.time.0 % 1_000_000_000, p.wire_len, p.data.len());
                } else { if let Ok((c, _)) = link::view(&p) { sum += c.data().len() as u64; } }
            }
            Ok(None) => break,
            Err(e) => { println!("{path}: {e}"); break }
        }
    }
    if !dump { let t = start.elapsed(); println!("{n} packets {t:?} {:.1} ns each {sum}", t.as_nanos() as f64 / n as f64); }
}
