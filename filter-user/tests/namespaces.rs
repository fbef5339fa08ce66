//! The lab's namespaces and the network between them. Needs root.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream},
    panic::{self, AssertUnwindSafe},
    process::Command,
    thread,
};

use filter_user::lab::{
    namespace::Namespace,
    topology::{SERVER_V4, SERVER_V6, Topology},
};
use nix::sys::signal::Signal;

fn namespace_of_this_thread() -> std::path::PathBuf {
    fs::read_link("/proc/thread-self/ns/net").unwrap()
}

#[test]
fn jobs_and_processes_are_inside_and_the_caller_is_not() {
    let outside = namespace_of_this_thread();
    let namespace = Namespace::new("test").expect("this test needs root");
    let inside = namespace.run(namespace_of_this_thread);
    assert_ne!(inside, outside);
    assert_eq!(namespace_of_this_thread(), outside);

    let mut command = Command::new("readlink");
    command
        .arg("/proc/self/ns/net")
        .stdout(std::process::Stdio::piped());
    let output = namespace
        .spawn(command)
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        inside.to_str().unwrap()
    );
}

#[test]
fn processes_end_with_the_namespace() {
    use std::os::unix::process::ExitStatusExt as _;

    let namespace = Namespace::new("test").expect("this test needs root");
    let mut command = Command::new("sleep");
    command.arg("60");
    let mut child = namespace.spawn(command).unwrap();
    drop(namespace);
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
}

#[test]
fn a_panic_of_a_job_reaches_its_sender_and_leaves_the_namespace_usable() {
    let namespace = Namespace::new("test").expect("this test needs root");
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| namespace.run(|| panic!("expected"))));
    assert!(outcome.is_err());
    assert_eq!(namespace.run(|| 7), 7);
}

#[test]
fn a_host_reaches_the_server_through_the_gateway_over_both_families() {
    let mut topology = Topology::new().expect("this test needs root");
    let host = topology.add_host().unwrap();
    for server in [IpAddr::from(SERVER_V4), IpAddr::from(SERVER_V6)] {
        let listener = topology
            .server
            .run(move || TcpListener::bind((server, 80)))
            .unwrap();
        let accepted = thread::spawn(move || listener.accept().unwrap());
        let mut stream = host
            .namespace
            .run(move || TcpStream::connect((server, 80)))
            .unwrap();
        let (mut peer, client) = accepted.join().unwrap();
        let expected: IpAddr = match server {
            IpAddr::V4(_) => host.subnet.neighbour_v4.into(),
            IpAddr::V6(_) => host.subnet.neighbour_v6.into(),
        };
        assert_eq!(client.ip(), expected);
        peer.write_all(b"through").unwrap();
        drop(peer);
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }
}
