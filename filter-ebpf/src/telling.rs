//! lastack's packet programs with events and the log of decisions. The loader takes them only
//! where it is asked for either.

#![no_std]
#![no_main]

#[macro_use]
mod configuration;
mod entry;
mod filter;
mod maps;
mod packet;
mod runtime;
mod tell;
