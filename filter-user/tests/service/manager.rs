//! The other end of sd_notify(3), as systemd is it.

use std::{
    ffi::OsString,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process,
    time::{Duration, Instant},
};

use filter_user::lab::namespace::Namespace;

use crate::directory::Directory;

/// How long anything may take that takes milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Manager {
    socket: UnixDatagram,
    /// What is to be in `NOTIFY_SOCKET`.
    pub(crate) address: OsString,
    _directory: Option<Directory>,
}

impl Manager {
    /// With a socket that is a file.
    pub(crate) fn new() -> Self {
        let directory = Directory::new();
        let path = directory.join("notify");
        Self {
            socket: waiting(UnixDatagram::bind(&path).unwrap()),
            address: path.into(),
            _directory: Some(directory),
        }
    }

    /// With an abstract socket, which belongs to a namespace.
    pub(crate) fn without_a_file(namespace: &Namespace) -> Self {
        let name = format!("lastack-test-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self {
            socket: waiting(namespace.run(move || UnixDatagram::bind_addr(&address).unwrap())),
            address: format!("@{name}").into(),
            _directory: None,
        }
    }

    /// The next message, line by line.
    #[track_caller]
    pub(crate) fn message(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message);
        let length = length.expect("lastack run goes on, and tells something");
        let message = str::from_utf8(&message[..length]).unwrap();
        message.lines().map(str::to_owned).collect()
    }

    /// The next status line of which this is true; readiness and signs of life are passed over.
    #[track_caller]
    pub(crate) fn status(&self, is_it: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let message = self.message();
            let status = message.iter().find_map(|line| line.strip_prefix("STATUS="));
            if let Some(status) = status
                && is_it(status)
            {
                return status.to_owned();
            }
            assert!(start.elapsed() < DEADLINE, "{message:?}");
        }
    }

    /// All that was told and not yet taken.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut rest = Vec::new();
        let mut message = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut message) {
            let message = str::from_utf8(&message[..length]).unwrap();
            rest.extend(message.lines().map(str::to_owned));
        }
        self.socket.set_nonblocking(false).unwrap();
        rest
    }
}

fn waiting(socket: UnixDatagram) -> UnixDatagram {
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}
