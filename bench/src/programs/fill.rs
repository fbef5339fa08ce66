//! Closing flows in the table, made by the programs themselves: whole closes, each of another
//! client.

use anyhow::Result;
use filter_common::Direction;

use super::{
    cases::{CLIENT_FIN, LAST_ACK, SERVER_FIN, client_word, filling, server_word},
    frames::V4,
    kernel::Kernel,
    reference::{Reference, Step},
};

/// Closes so many connections.
pub(super) fn fill(kernel: &mut Kernel, flows: u32) -> Result<()> {
    if flows == 0 {
        return Ok(());
    }
    for (direction, segment, word) in [
        (Direction::FromClient, CLIENT_FIN, client_word(&V4)),
        (Direction::FromServer, SERVER_FIN, server_word(&V4)),
        (Direction::FromClient, LAST_ACK, client_word(&V4)),
    ] {
        let program = kernel.towards(direction);
        let mut driver = Reference::load(program, Step::through_all(word))?;
        driver.lead_to(&kernel.descriptor(program)?)?;
        program.run(&driver.ebpf, "step", &filling(direction, segment), flows)?;
    }
    Ok(())
}
