//! A network namespace without a name, kept by a thread that lives in it.
//!
//! The kernel frees it, with all its interfaces, when the last thread, process, socket and
//! file descriptor in it is gone: nothing is left behind, not even by a killed process.

#![expect(
    unsafe_code,
    reason = "a process that is to end with its namespace says so between fork and exec"
)]

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::process::CommandExt as _,
    panic::{self, AssertUnwindSafe},
    process::{Child, Command},
    sync::mpsc,
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, bail};
use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::{prctl, signal::Signal},
};
use rtnetlink::Handle;

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace, and the thread that keeps it.
pub struct Namespace {
    name: &'static str,
    file: OwnedFd,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    /// Makes a namespace with nothing in it but a loopback interface that is down.
    ///
    /// `name` is for messages only.
    pub fn new(name: &'static str) -> anyhow::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (report, entered) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name(format!("ns {name}"))
            .spawn(move || {
                let file = unshare(CloneFlags::CLONE_NEWNET)
                    .map_err(io::Error::from)
                    .and_then(|()| fs::File::open("/proc/thread-self/ns/net"));
                if report.send(file).is_ok() {
                    for job in inbox {
                        job();
                    }
                }
            })
            .context("could not start a thread")?;
        let file = entered
            .recv()
            .context("the namespace's thread ended early")?;
        let file = match file {
            Ok(file) => file.into(),
            Err(error) if error.raw_os_error() == Some(Errno::EPERM as i32) => bail!(
                "no permission to make network namespaces; run it as root \
                 (needs CAP_SYS_ADMIN and CAP_NET_ADMIN)"
            ),
            Err(error) => {
                return Err(error).context(format!(
                    "could not make the network namespace of the {name}"
                ));
            }
        };
        Ok(Self {
            name,
            file,
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// What it was called in [`new`](Self::new).
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs `job` on the namespace's thread and waits for its result.
    ///
    /// Sockets that it opens, and threads and processes that it starts, are in the namespace
    /// and stay there. So is all that it reads below `/proc/sys/net` and
    /// `/proc/thread-self/net`; `/proc/net` and `/sys/class/net` are not.
    ///
    /// # Panics
    ///
    /// With the panic of `job`.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (report, result) = mpsc::sync_channel(1);
        let job: Job = Box::new(move || {
            let result = panic::catch_unwind(AssertUnwindSafe(job));
            // The receiver waits below, without a way to leave before.
            drop(report.send(result));
        });
        let sent = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok());
        assert!(
            sent,
            "the thread of namespace {} serves until it is dropped",
            self.name
        );
        match result.recv() {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => panic::resume_unwind(panic),
            Err(mpsc::RecvError) => unreachable!("every job reports"),
        }
    }

    /// Runs `job` with a netlink connection of the namespace.
    pub fn netlink<T: Send + 'static>(
        &self,
        job: impl AsyncFnOnce(Handle) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        self.run(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()?;
            runtime.block_on(async {
                let (connection, handle, _) =
                    rtnetlink::new_connection().context("could not open netlink")?;
                let connection = tokio::spawn(connection);
                let result = job(handle).await;
                connection.abort();
                result
            })
        })
        .with_context(|| format!("could not set up the network of the {}", self.name))
    }

    /// Starts a process in the namespace. It is killed when the namespace is dropped, or when
    /// this process ends.
    pub fn spawn(&self, mut command: Command) -> anyhow::Result<Child> {
        let program = command.get_program().display().to_string();
        // SAFETY: prctl(2) is async-signal-safe, and nothing else is called.
        unsafe {
            // The signal is bound to the thread that started the process: the namespace's.
            command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
        }
        self.run(move || command.spawn()).with_context(|| {
            format!(
                "could not start {program} in the namespace of the {}",
                self.name
            )
        })
    }

    /// Sets a parameter below `/proc/sys/net`, such as `ipv4/ip_forward`.
    pub fn sysctl(&self, parameter: &'static str, value: &'static str) -> anyhow::Result<()> {
        self.run(move || fs::write(format!("/proc/sys/net/{parameter}"), value))
            .with_context(|| {
                format!(
                    "could not set net/{parameter} in the namespace of the {}",
                    self.name
                )
            })
    }
}

/// The namespace itself, as for setns(2) or for moving an interface into it.
impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Its jobs' panics went to whoever had sent them.
            drop(thread.join());
        }
    }
}
