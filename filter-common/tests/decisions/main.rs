//! What the state machine decides: every phase against every event, each rule on its own,
//! and what holds over any trace.

mod closers;
mod connection;
mod oracle;
mod properties;
mod reset_guard;
mod rules;
mod state;
mod transitions;
