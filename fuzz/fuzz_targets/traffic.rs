//! libFuzzer's way into [`fuzz::traffic`].

#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    if let Err(broken) = fuzz::traffic::check(octets) {
        panic!("{broken}");
    }
});
