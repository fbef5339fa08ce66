//! Tells xtask the target that it is built for: cargo has no other way to.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo:rustc-env=HOST_TARGET={target}");
}
