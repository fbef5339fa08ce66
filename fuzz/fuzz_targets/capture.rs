//! libFuzzer's way into [`fuzz::capture`].

#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    if let Err(broken) = fuzz::capture::check(octets) {
        panic!("{broken}");
    }
});
