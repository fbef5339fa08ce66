//! What the kernel says of this machine and its interfaces, as plain facts. Nothing is changed.
//!
//! For `lastack check`, which judges the facts. All of it is about the calling thread's network
//! namespace.

mod attributes;
pub(crate) mod features;
pub(crate) mod flowtables;
pub(crate) mod links;
pub(crate) mod machine;
pub(crate) mod programs;
pub(crate) mod routes;
