//! lastack's user space: loads and attaches the packet programs, reads and shows what they
//! count. It knows no TCP; that is in `filter-common`.

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
