//! Every run of a small close, through the state machine that the kernel runs.
//!
//! A client, a server and the links between them are modelled; the gateway calls
//! `filter_common::Machine`. [`explore`] follows every order of events within the bounds of
//! a [`setup::Setup`] and checks each [`property::Property`].

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a transition names the states that it leaves; all others stay"
)]
#![allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "packets and endpoints are small by design, not by contract"
)]
#![allow(
    clippy::struct_excessive_bools,
    reason = "what may happen is a list of yes and no"
)]
#![allow(clippy::too_many_lines, reason = "tables")]

pub mod client;
pub mod done;
pub mod explore;
pub mod gateway;
pub mod mutant;
pub mod packet;
pub mod property;
pub mod server;
pub mod setup;
pub mod setups;
pub mod world;
