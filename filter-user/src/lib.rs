//! lastack's user space: loads and attaches the packet programs, reads and shows what they
//! count. It knows no TCP; that is in `filter-common`.
//!
//! The command `lastack` is [`cli::main`] and nothing else. This library is there for it, for its
//! tests and for the measurements: [`commands`] has a file for each command, [`datapath`] is what
//! speaks to the kernel, [`control`] how an instance is asked, [`metrics`] what is scraped, and
//! [`lab`] the network and the client with the fault that `lastack demo` and the tests play with.
//!
//! The packet programs are embedded; the build script builds them from the sources of the package
//! `filter-ebpf`.

pub mod cli;
pub mod commands;
pub mod config;
pub mod control;
pub mod counters;
pub mod datapath;
pub mod instance;
pub mod lab;
mod logging;
pub mod metrics;
pub mod one_sided;
pub mod privilege;
mod probe;
mod remedy;
pub mod report;
mod runtime;
pub mod server;
pub mod service;
pub mod settings;
pub mod stream;
