//! Captures that real tools made, and damaged ones, through the reader; what the writer makes,
//! through real tools.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod blocks;
mod damage;
mod formats;
mod links;
mod packets;
mod sources;
mod tools;
mod writing;
