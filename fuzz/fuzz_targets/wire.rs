//! libFuzzer's way into [`fuzz::wire`].

#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    if let Err(broken) = fuzz::wire::check(octets) {
        panic!("{broken}");
    }
});
