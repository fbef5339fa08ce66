//! Setup on machines of several kinds.

use super::{fake::*, *};
use crate::toolchain::Core;

const LIST: &str = "rustup toolchain list -v";

fn rustc(release: &str, llvm: u32) -> String {
    format!("rustc {release} (0123abc 2026-05-25)\nrelease: {release}\nLLVM version: {llvm}.1.8\n")
}

fn with_source(machine: Fake) -> Fake {
    machine.file("/n/lib/rustlib/src/rust/library/core/Cargo.toml")
}

fn with_debian(machine: Fake) -> Fake {
    machine
        .file("/usr/lib/rustlib/bpfel-unknown-none/lib/libcore-8056e5e5b270ef4d.rlib")
        .answer("/usr/bin/rustc -vV", &rustc("1.96.0", 22))
}

fn with_linker(machine: Fake) -> Fake {
    let linker = "/home/someone/.cache/lastack/bpf-linker-0.13.0-llvm-22/bin/bpf-linker";
    machine
        .file(linker)
        .answer(&format!("{linker} --version"), "bpf-linker 0.13.0")
        .answer(&format!("{linker} {LINKER_PROBE}"), "LLVM version 22.1.8")
}

fn with_llvm(machine: Fake) -> Fake {
    machine
        .file("/usr/lib/llvm-22/lib/libLLVM.so")
        .answer("llvm-config-22 --version", "22.1.8\n")
        .answer("llvm-config-22 --prefix", "/usr/lib/llvm-22\n")
}

fn with_nightly(machine: Fake) -> Fake {
    machine
        .program("rustup")
        .answer(LIST, "stable-x (active, default) /s\nnightly-x /n\n")
        .answer("/s/bin/rustc -vV", &rustc("1.95.0", 22))
        .answer("/n/bin/rustc -vV", &rustc("1.97.0-nightly", 22))
}

fn with_apt(machine: Fake) -> Fake {
    let policy = |package: &str| format!("apt-cache policy {package}");
    machine
        .program("apt-get")
        .answer(&policy("rustc-web"), "  Candidate: 1.96.0+dfsg1-1~deb12u2\n")
        .answer(&policy("cargo-web"), "  Candidate: 1.96.0+dfsg1-1~deb12u2\n")
        .answer(&policy("libstd-rust-web-dev-bpf"), "  Candidate: 1.96.0+dfsg1-1~deb12u2\n")
        .answer(&policy("llvm-22-dev"), "  Candidate: 1:22.1.8-1~deb12u1\n")
        .effect("apt-get -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 install --yes --no-remove --no-install-recommends rustc-web", with_debian)
        .effect("llvm-22-dev", with_llvm)
        .effect("install bpf-linker", with_linker)
}

#[test]
fn what_is_there_is_used_and_nothing_is_installed() {
    let machine = with_source(with_nightly(with_linker(Fake::user())));
    let conf = choose(&machine, None).unwrap();
    assert_eq!(conf.toolchain.as_deref(), Some("nightly-x"));
    assert_eq!(conf.core, Core::Source);
    assert!(machine.changes().is_empty() && machine.said().is_empty());
}

#[test]
fn a_nightly_with_source_comes_before_debians_rust() {
    let machine = with_source(with_debian(with_nightly(with_linker(Fake::user()))));
    assert_eq!(
        choose(&machine, None).unwrap().toolchain.as_deref(),
        Some("nightly-x")
    );
}

#[test]
fn debians_rust_is_linked_where_the_nightly_has_no_source() {
    let machine = with_debian(with_nightly(with_linker(Fake::user())));
    let conf = choose(&machine, None).unwrap();
    assert_eq!(conf.toolchain.as_deref(), Some("lastack-bpf"));
    assert_eq!(conf.core, Core::Prebuilt);
    assert_eq!(
        machine.changes(),
        ["rustup toolchain link lastack-bpf /usr"]
    );
}

#[test]
fn a_linked_toolchain_is_found_by_its_core_and_a_named_one_comes_first() {
    let machine = with_source(with_debian(with_nightly(with_linker(Fake::user()))))
        .answer(LIST, "nightly-x /n\nmine /usr\n");
    assert_eq!(
        choose(&machine, Some("mine")).unwrap().toolchain.as_deref(),
        Some("mine")
    );
    assert_eq!(
        choose(&machine, None).unwrap().toolchain.as_deref(),
        Some("nightly-x")
    );
}

#[test]
fn an_ordinary_machine_gets_rust_src() {
    let machine =
        with_nightly(with_linker(Fake::user())).effect("component add rust-src", with_source);
    let conf = choose(&machine, None).unwrap();
    assert_eq!(conf.toolchain.as_deref(), Some("nightly-x"));
    assert_eq!(
        machine.changes(),
        ["rustup component add rust-src --toolchain nightly"]
    );
}

#[test]
fn a_machine_without_a_nightly_gets_one_and_keeps_its_rustup() {
    let machine = with_linker(Fake::user())
        .program("rustup")
        .answer(LIST, "stable-x (active, default) /s\n")
        .effect("install nightly ", |machine| {
            with_source(with_nightly(machine))
        });
    assert_eq!(
        choose(&machine, None).unwrap().toolchain.as_deref(),
        Some("nightly-x")
    );
    assert_eq!(
        machine.changes(),
        [
            "rustup toolchain install nightly --component rust-src --profile minimal --no-self-update"
        ]
    );
}

#[test]
fn a_nightly_that_is_too_new_for_the_linker_gives_way_to_the_known_one() {
    let machine = with_nightly(with_linker(Fake::user()))
        .answer("/n/bin/rustc -vV", &rustc("1.110.0-nightly", 24))
        .effect(KNOWN_NIGHTLY, |machine| {
            machine
                .answer(LIST, "nightly-x /n\nnightly-2026-05-20-x /k\n")
                .answer("/k/bin/rustc -vV", &rustc("1.97.0-nightly", 22))
                .file("/k/lib/rustlib/src/rust/library/core/Cargo.toml")
        });
    let conf = choose(&machine, None).unwrap();
    assert_eq!(conf.toolchain.as_deref(), Some("nightly-2026-05-20-x"));
}

#[test]
fn where_rustup_cannot_fetch_debians_packages_are_installed() {
    let machine = with_apt(with_nightly(Fake::root())).failing("component add");
    let conf = choose(&machine, None).unwrap();
    assert_eq!(conf.toolchain.as_deref(), Some("lastack-bpf"));
    let changes = machine.changes();
    let position = |part: &str| {
        changes
            .iter()
            .position(|call| call.contains(part))
            .expect(part)
    };
    let order = [
        "component add",
        "update",
        "rustc-web",
        "llvm-22-dev",
        "install bpf-linker",
        "toolchain link",
    ];
    assert!(order.map(position).is_sorted(), "{changes:?}");
    assert_eq!(changes.len(), order.len());
}

#[test]
fn an_old_debian_is_told_apart() {
    let machine = with_apt(with_nightly(Fake::root()))
        .failing("component add")
        .answer(
            "apt-cache policy rustc-web",
            "  Candidate: 1.85.0+dfsg3-1\n",
        );
    let error = choose(&machine, None).unwrap_err().to_string();
    assert!(
        error.contains("its rustc-web is 1.85.0+dfsg3-1, 1.95 is needed"),
        "{error}"
    );
}

#[test]
fn without_rustup_the_rustc_on_path_serves_if_it_has_a_core() {
    let machine = with_debian(with_linker(Fake::user())).answer("rustc --print sysroot", "/usr\n");
    let conf = choose(&machine, None).unwrap();
    assert_eq!((conf.toolchain, conf.core), (None, Core::Prebuilt));
    assert!(machine.changes().is_empty());
}

#[test]
fn where_nothing_can_be_installed_every_try_and_both_commands_are_named() {
    let machine = with_nightly(Fake::user())
        .failing("component add")
        .program("apt-get");
    let error = choose(&machine, None).unwrap_err().to_string();
    for part in [
        "rustup's nightly: `rustup component add rust-src --toolchain nightly` failed",
        "Debian's Rust: that needs root, and there is no sudo",
        "rustup toolchain install nightly --component rust-src",
        "apt-get install rustc-web cargo-web libstd-rust-web-dev-bpf",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn what_was_kept_holds_until_something_changes() {
    let machine = with_debian(with_linker(Fake::user()))
        .program("rustup")
        .answer(LIST, "lastack-bpf /usr\n")
        .answer("rustup run lastack-bpf rustc -vV", &rustc("1.96.0", 22));
    let conf = choose(&machine, None).unwrap();
    assert!(conf.holds(&machine));
    let updated = machine.answer("rustup run lastack-bpf rustc -vV", &rustc("1.97.0", 22));
    assert!(!conf.holds(&updated));
}
