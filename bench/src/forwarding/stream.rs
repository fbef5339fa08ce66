//! Frames that enter the gateway's stack as if an interface had received them, by
//! `BPF_PROG_TEST_RUN` with live frames: no driver, no sender, and nothing of either is measured.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunAttrs, TestRunOptions,
    programs::{Xdp, XdpMode},
};
use etherparse::{EtherType, PacketBuilder};
use nix::{
    net::if_::if_nametoindex,
    time::{ClockId, clock_gettime},
};
use object::{SectionKind, SymbolKind};

use assembly::{
    self, ADD_64, CALL, EXIT, JUMP_GREATER, LOAD_WORD, MOVE_32, MOVE_64, add, instruction,
};

/// Connections that the frames belong to; each frame to any of them. A power of two.
pub(super) const FLOWS: u16 = 1024;
/// The first of the clients' ports.
const FIRST_PORT: u16 = 0x8000;
/// The port of the server.
const SERVER_PORT: u16 = 80;
/// The window where the client's port is the first. The two numbers of a frame have the same sum
/// in all flows, so that the TCP checksum is right in all of them.
const WINDOW: u16 = 0x7000;
/// Frames that the kernel handles before it looks after others: what a NAPI poll takes.
const BATCH: u32 = 64;

/// Octets of these two headers.
const ETHERNET_AND_IP: usize = 34;

/// One kind of frame, and where it enters.
pub(super) struct Stream {
    ebpf: Ebpf,
    frame: Vec<u8>,
    /// struct xdp_md
    context: [u8; 24],
}

/// Who sends a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}

/// An Ethernet address and an IPv4 address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address {
    pub(super) ethernet: [u8; 6],
    pub(super) ip: [u8; 4],
}

/// What a frame is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) sender: Sender,
    pub(super) seq: u32,
    /// None: no ACK.
    pub(super) ack: Option<u32>,
    pub(super) syn: bool,
    pub(super) payload: usize,
}

impl Stream {
    /// Frames from `from` to `to`, whose Ethernet address is the gateway's, that enter by
    /// `interface` of the calling thread's network namespace.
    pub(super) fn new(kind: Kind, from: Address, to: Address, interface: &str) -> Result<Self> {
        let frame = frame(kind, from, to)?;
        let object = object(&program(&frame, kind.sender))?;
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .load(&object)
            .context("cannot load the sender's program")?;
        let stream = ebpf.program_mut("stream").context("it was written")?;
        <&mut Xdp>::try_from(stream)?
            .load()
            .context("the kernel refuses the sender's program")?;
        let index = if_nametoindex(interface)
            .with_context(|| format!("there is no interface {interface}"))?;
        let length = u32::try_from(frame.len())?;
        let mut context = [0; 24];
        // data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
        for (field, value) in context.chunks_exact_mut(4).zip([0, length, 0, index, 0, 0]) {
            field.copy_from_slice(&value.to_ne_bytes());
        }
        Ok(Self {
            ebpf,
            frame,
            context,
        })
    }

    /// Sends so many; the time that this thread has spent on it. Whatever the stack does with a
    /// frame until it has left by the other interface is done in this thread.
    pub(super) fn send(&self, frames: u32) -> Result<Duration> {
        let program = self.ebpf.program("stream").context("it was written")?;
        let program = <&Xdp>::try_from(program)?;
        let before = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        program
            .test_run(TestRunOptions {
                data_in: Some(&self.frame),
                ctx_in: Some(&self.context),
                repeat: frames,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::default()
            })
            .context("the kernel does not send live frames (it can from 5.18 on)")?;
        let after = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        Ok(Duration::from(after).saturating_sub(before.into()))
    }
}

/// Keeps the receive queue of a veth interface open for live frames, which it is only while an
/// XDP program is attached. No frame of a stream passes that program.
pub(super) struct Opened {
    /// Detaches when it is dropped.
    _ebpf: Ebpf,
}

impl Opened {
    pub(super) fn new(interface: &str) -> Result<Self> {
        let pass = [
            instruction(MOVE_32, 0, 0, 0, XDP_PASS),
            instruction(EXIT, 0, 0, 0, 0),
        ];
        let mut ebpf = EbpfLoader::new().btf(None).load(&object(&pass.concat())?)?;
        let stream = ebpf.program_mut("stream").context("it was written")?;
        let stream = <&mut Xdp>::try_from(stream)?;
        stream.load()?;
        stream
            .attach(interface, XdpMode::Driver)
            .with_context(|| format!("cannot attach an XDP program to {interface}"))?;
        Ok(Self { _ebpf: ebpf })
    }
}

fn frame(kind: Kind, from: Address, to: Address) -> Result<Vec<u8>> {
    let (source, destination) = match kind.sender {
        Sender::Client => (FIRST_PORT, SERVER_PORT),
        Sender::Server => (SERVER_PORT, FIRST_PORT),
    };
    let mut tcp = PacketBuilder::ethernet2(from.ethernet, to.ethernet)
        .ipv4(from.ip, to.ip, 64)
        .tcp(source, destination, kind.seq, WINDOW);
    if let Some(ack) = kind.ack {
        tcp = tcp.ack(ack);
    }
    if kind.syn {
        tcp = tcp.syn();
    }
    let payload = vec![0x55; kind.payload];
    let mut frame = Vec::with_capacity(tcp.size(payload.len()));
    tcp.write(&mut frame, &payload)?;
    debug_assert_eq!(frame[12..14], EtherType::IPV4.0.to_be_bytes());
    Ok(frame)
}

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const AND_64: u8 = 0x57;
const SUBTRACT_64: u8 = 0x1f;
const STORE_HALF: u8 = 0x6b;
const STORE_IMMEDIATE_WORD: u8 = 0x62;
const STORE_IMMEDIATE_HALF: u8 = 0x6a;
const TO_BIG_ENDIAN: u8 = 0xdc;
const RANDOM: u32 = 7;

/// Makes each frame one of any flow, and writes the headers that forwarding has changed in the
/// buffer, which comes back, anew.
fn program(frame: &[u8], sender: Sender) -> Vec<u8> {
    const PORTS: i16 = 34;
    const WINDOW_FIELD: i16 = PORTS + 14;
    const END: u32 = 54;
    let port = match sender {
        Sender::Client => PORTS,
        Sender::Server => PORTS + 2,
    };
    let words = frame[..ETHERNET_AND_IP].chunks_exact(4);
    let rest = words.remainder();
    let mut body = vec![
        instruction(MOVE_64, 6, 1, 0, 0),
        instruction(CALL, 0, 0, 0, RANDOM),
        instruction(AND_64, 0, 0, 0, u32::from(FLOWS - 1)),
        instruction(LOAD_WORD, 2, 6, 0, 0),
        instruction(LOAD_WORD, 3, 6, 4, 0),
        instruction(MOVE_64, 4, 2, 0, 0),
        instruction(ADD_64, 4, 0, 0, END),
    ];
    let mut write = Vec::new();
    let mut offset = 0;
    for word in words {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        write.push(instruction(STORE_IMMEDIATE_WORD, 2, 0, offset, word));
        offset += 4;
    }
    let half = u16::from_le_bytes([rest[0], rest[1]]);
    write.extend([
        instruction(STORE_IMMEDIATE_HALF, 2, 0, offset, half.into()),
        instruction(MOVE_64, 5, 0, 0, 0),
        instruction(ADD_64, 5, 0, 0, FIRST_PORT.into()),
        instruction(TO_BIG_ENDIAN, 5, 0, 0, 16),
        instruction(STORE_HALF, 2, 5, port, 0),
        instruction(MOVE_32, 5, 0, 0, WINDOW.into()),
        instruction(SUBTRACT_64, 5, 0, 0, 0),
        instruction(TO_BIG_ENDIAN, 5, 0, 0, 16),
        instruction(STORE_HALF, 2, 5, WINDOW_FIELD, 0),
        instruction(MOVE_32, 0, 0, 0, XDP_PASS),
        instruction(EXIT, 0, 0, 0, 0),
    ]);
    let skip = i16::try_from(write.len()).unwrap_or(i16::MAX);
    body.push(instruction(JUMP_GREATER, 4, 3, skip, 0));
    body.extend(write);
    body.extend([
        instruction(MOVE_32, 0, 0, 0, XDP_DROP),
        instruction(EXIT, 0, 0, 0, 0),
    ]);
    body.concat()
}

/// An object file with one XDP program, `stream`.
fn object(text: &[u8]) -> Result<Vec<u8>> {
    let mut object = assembly::object();
    let code = object.add_section(Vec::new(), b"xdp".to_vec(), SectionKind::Text);
    add(&mut object, code, "stream", SymbolKind::Text, text);
    Ok(object.write()?)
}
