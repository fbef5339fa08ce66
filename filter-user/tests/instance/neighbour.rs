//! Other people's packet programs: they count, or push and pop VLAN tags, and let all go on.

use assembly::{
    ADD_64, CALL, EXIT, JUMP_EQUAL_IMMEDIATE, JUMP_NOT_LESS, LOAD_DOUBLE_WORD, LOAD_IMMEDIATE_64,
    LOAD_WORD, MOVE_32, MOVE_64, STORE_DOUBLE_WORD, STORE_IMMEDIATE_WORD, add, instruction,
};
use aya::{
    Ebpf, EbpfLoader,
    maps::PerCpuArray,
    programs::{
        LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode,
        tc::{self, NlOptions, TcAttachOptions},
    },
};
use filter_user::lab::namespace::Namespace;
use object::{SectionKind, SymbolKind};

const TCX_NEXT: u32 = u32::MAX;
const XDP_PASS: u32 = 2;

// Helpers of the kernel.
const MAP_LOOKUP_ELEM: u32 = 1;
const SKB_VLAN_PUSH: u32 = 18;
const SKB_VLAN_POP: u32 = 19;

/// A frame pointer, and a context's length field.
const R10: u8 = 10;
const SKB_LEN: i16 = 0;

/// What a counting program has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// How many packets.
    pub(crate) packets: u64,
    /// Octets of the longest, with its Ethernet header; 0 at XDP.
    pub(crate) longest: u64,
}

/// A program on one hook of an interface. It goes when this is dropped; a clsact qdisc stays.
pub(crate) struct Neighbour(Ebpf);

/// Where on a TC hook it sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    TcxFirst,
    TcxLast,
    /// With this priority.
    Clsact(u16),
}

impl Neighbour {
    /// Counts packets at a TC hook.
    pub(crate) fn counting(
        namespace: &Namespace,
        interface: &'static str,
        side: TcAttachType,
        place: Place,
    ) -> Self {
        let object = counting_object(b"classifier", &count(TCX_NEXT, true));
        Self::at_tc(namespace, object, (interface, side, place))
    }

    /// Counts packets at XDP in the driver.
    pub(crate) fn counting_xdp(namespace: &Namespace, interface: &'static str) -> Self {
        let object = counting_object(b"xdp", &count(XDP_PASS, false));
        namespace.run(move || {
            let mut ebpf = EbpfLoader::new().btf(None).load(&object).unwrap();
            let program: &mut Xdp = ebpf.program_mut(NAME).unwrap().try_into().unwrap();
            program.load().unwrap();
            program.attach(interface, XdpMode::Driver).unwrap();
            Self(ebpf)
        })
    }

    /// Pushes tags, the innermost first, onto what leaves.
    pub(crate) fn pushing(
        namespace: &Namespace,
        interface: &'static str,
        tags: &[(u16, u16)],
    ) -> Self {
        let push = |&(protocol, id): &(u16, u16)| {
            [
                instruction(MOVE_64, 1, 6, 0, 0),
                instruction(MOVE_32, 2, 0, 0, protocol.to_be().into()),
                instruction(MOVE_32, 3, 0, 0, id.into()),
                instruction(CALL, 0, 0, 0, SKB_VLAN_PUSH),
            ]
        };
        let object = object(b"classifier", &on_tags(tags.iter().flat_map(push)));
        let place = (interface, TcAttachType::Egress, Place::TcxLast);
        Self::at_tc(namespace, object, place)
    }

    /// Pops so many tags off what arrives.
    pub(crate) fn popping(namespace: &Namespace, interface: &'static str, tags: usize) -> Self {
        let pop = [
            instruction(MOVE_64, 1, 6, 0, 0),
            instruction(CALL, 0, 0, 0, SKB_VLAN_POP),
        ];
        let object = object(
            b"classifier",
            &on_tags(std::iter::repeat_n(pop, tags).flatten()),
        );
        let place = (interface, TcAttachType::Ingress, Place::TcxFirst);
        Self::at_tc(namespace, object, place)
    }

    fn at_tc(
        namespace: &Namespace,
        object: Vec<u8>,
        (interface, side, place): (&'static str, TcAttachType, Place),
    ) -> Self {
        let options = match place {
            Place::TcxFirst => TcAttachOptions::TcxOrder(LinkOrder::first()),
            Place::TcxLast => TcAttachOptions::TcxOrder(LinkOrder::last()),
            Place::Clsact(priority) => TcAttachOptions::Netlink(NlOptions {
                priority,
                ..NlOptions::default()
            }),
        };
        namespace.run(move || {
            if matches!(place, Place::Clsact(_)) {
                // It may be there.
                tc::qdisc_add_clsact(interface).ok();
            }
            let mut ebpf = EbpfLoader::new().btf(None).load(&object).unwrap();
            let program: &mut SchedClassifier = ebpf.program_mut(NAME).unwrap().try_into().unwrap();
            program.load().unwrap();
            let attached = program.attach_with_options(interface, side, options);
            attached.unwrap_or_else(|error| panic!("{interface} {side:?} {place:?}: {error}"));
            Self(ebpf)
        })
    }

    /// What a counting program has seen since it was attached.
    pub(crate) fn seen(&self) -> Seen {
        let map: PerCpuArray<_, [u64; 2]> = self.0.map(SEEN).unwrap().try_into().unwrap();
        let of_cpus = map.get(&0, 0).unwrap();
        Seen {
            packets: of_cpus.iter().map(|[packets, _]| packets).sum(),
            longest: of_cpus.iter().map(|[_, longest]| *longest).max().unwrap(),
        }
    }
}

const NAME: &str = "neighbour";
const SEEN: &str = "SEEN";
/// Index of the instruction of [`count`] that loads the address of the map.
const MAP_LOAD: u64 = 2;

/// Counts a packet, and keeps the length of the longest if the context has a length.
fn count(pass: u32, has_length: bool) -> Vec<u8> {
    let length = if has_length {
        instruction(LOAD_WORD, 7, 1, SKB_LEN, 0)
    } else {
        instruction(MOVE_32, 7, 0, 0, 0)
    };
    [
        length,
        instruction(STORE_IMMEDIATE_WORD, R10, 0, -4, 0),
        instruction(LOAD_IMMEDIATE_64, 1, 0, 0, 0),
        instruction(0, 0, 0, 0, 0),
        instruction(MOVE_64, 2, R10, 0, 0),
        instruction(ADD_64, 2, 0, 0, (-4_i32).cast_unsigned()),
        instruction(CALL, 0, 0, 0, MAP_LOOKUP_ELEM),
        instruction(JUMP_EQUAL_IMMEDIATE, 0, 0, 6, 0),
        instruction(LOAD_DOUBLE_WORD, 1, 0, 0, 0),
        instruction(ADD_64, 1, 0, 0, 1),
        instruction(STORE_DOUBLE_WORD, 0, 1, 0, 0),
        instruction(LOAD_DOUBLE_WORD, 1, 0, 8, 0),
        instruction(JUMP_NOT_LESS, 1, 7, 1, 0),
        instruction(STORE_DOUBLE_WORD, 0, 7, 8, 0),
        instruction(MOVE_32, 0, 0, 0, pass),
        instruction(EXIT, 0, 0, 0, 0),
    ]
    .concat()
}

/// A program of these instructions, which find the packet in register 6.
fn on_tags(instructions: impl Iterator<Item = [u8; 8]>) -> Vec<u8> {
    let end = [
        instruction(MOVE_32, 0, 0, 0, TCX_NEXT),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    std::iter::once(instruction(MOVE_64, 6, 1, 0, 0))
        .chain(instructions)
        .chain(end)
        .flatten()
        .collect()
}

fn object(section: &[u8], text: &[u8]) -> Vec<u8> {
    let mut object = assembly::object();
    let code = object.add_section(Vec::new(), section.to_vec(), SectionKind::Text);
    add(&mut object, code, NAME, SymbolKind::Text, text);
    object.write().unwrap()
}

fn counting_object(section: &[u8], text: &[u8]) -> Vec<u8> {
    const PERCPU_ARRAY: u32 = 6;

    let mut object = assembly::object();
    let map = assembly::add_map(&mut object, SEEN, (PERCPU_ARRAY, 16, 1));
    let code = object.add_section(Vec::new(), section.to_vec(), SectionKind::Text);
    let program = add(&mut object, code, NAME, SymbolKind::Text, text);
    assembly::load_map(&mut object, code, program, MAP_LOAD, map).unwrap();
    object.write().unwrap()
}
