//! A fresh Debian, with systemd and nothing else that is not essential.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

const PACKAGES: &str = "--include=systemd,systemd-sysv,dbus";

/// Its root. It is made once and kept with the programs of `cargo xtask`, and nobody writes to it.
pub(crate) fn root() -> PathBuf {
    let home = || Path::new(&env::var_os("HOME").unwrap()).join(".cache");
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    let cache = cache.join("lastack");
    fs::create_dir_all(&cache).unwrap();
    let suite = suite();
    let root = cache.join(format!("debian-{suite}-{}", env::consts::ARCH));
    // Another checkout may be at the same.
    let lock = File::create(cache.join("debian.lock")).unwrap();
    lock.lock().unwrap();
    if !root.exists() {
        let unfinished = root.with_extension("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).unwrap();
        }
        eprintln!("installing a fresh Debian {suite} (about a minute)");
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--quiet", "--mode=root", "--variant=apt", PACKAGES, &suite]);
        let output = mmdebstrap.arg(&unfinished).arg(mirror()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "mmdebstrap: {said}");
        fs::rename(&unfinished, &root).unwrap();
    }
    root
}

/// Where this machine has its Debian from.
fn mirror() -> String {
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--format", "$(REPO_URI)"]);
    let output = apt.args(["Created-By: Packages", "Label: Debian"]).output();
    let listed = String::from_utf8(output.unwrap().stdout).unwrap();
    let first = listed.lines().next();
    let first = first.expect("apt has lists of a Debian archive: apt-get update");
    first.to_owned()
}

/// The one of this machine, whose C library the program was built for.
fn suite() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap();
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let codename = value("VERSION_CODENAME=").filter(|_| value("ID=") == Some("debian"));
    codename.unwrap_or("stable").to_owned()
}
