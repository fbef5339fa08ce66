//! libFuzzer's way into [`fuzz::close`].

#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    if let Err(broken) = fuzz::close::check(octets) {
        panic!("{broken}");
    }
});
