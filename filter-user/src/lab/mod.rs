//! A network of its own to show the fault and the cure in: a client with the fault, a gateway
//! and a server, in network namespaces without a name.
//!
//! For `lastack demo` and for tests, which can put ordinary programs into the namespaces too:
//!
//! ```text
//! client (user space) --- lan0 [gateway] wan0 --- server0 [server]
//! host (namespace)  --- lan1 -/
//! ```
//!
//! The links can be impaired on both sides of the gateway ([`impairment`]); [`trial`] is an
//! experiment with that. [`flood`] is what strangers send, and an experiment with that.
//!
//! Needs CAP_SYS_ADMIN and CAP_NET_ADMIN. Nothing outside of the namespaces is touched, and
//! all of it is gone when the process ends, however it ends.

mod application;
pub mod client;
pub mod fault;
pub mod flood;
pub mod frame;
pub mod half_closing;
pub mod impairment;
pub mod last_ack;
pub mod ledger;
mod link;
pub mod namespace;
pub mod recording;
pub mod relay;
pub mod server;
pub mod soak;
mod tap;
pub mod topology;
pub mod trial;
