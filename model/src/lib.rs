//! Every run of a small close, through the state machine that the kernel runs.
//!
//! A client, a server and the links between them are modelled; the gateway calls
//! `filter_common::Machine`. [`explore`] follows every order of events within the bounds of
//! a [`setup::Setup`] and checks each [`property::Property`].

pub mod client;
pub mod explore;
pub mod gateway;
pub mod mutant;
pub mod packet;
pub mod property;
pub mod server;
pub mod setup;
pub mod setups;
pub mod world;
