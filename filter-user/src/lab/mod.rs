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
//! Needs CAP_SYS_ADMIN and CAP_NET_ADMIN. Nothing outside of the namespaces is touched, and
//! all of it is gone when the process ends, however it ends.

mod application;
pub mod client;
pub mod fault;
pub mod namespace;
pub mod server;
mod tap;
pub mod topology;
