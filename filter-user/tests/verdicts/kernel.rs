//! Loads the programs and runs them on single frames.

use std::{collections::HashMap, env, sync::Arc};

use aya::{
    TestRun as _, TestRunOptions,
    maps::Array,
    programs::{Program as AyaProgram, ProgramError, SchedClassifier, Xdp},
    util::KernelVersion,
};
use filter_common::{
    Flow, FlowKey, Reason, Verdict,
    expiry::{self, Line, SLOTS_PER_LINE, Slot},
    policy::Configuration,
    wire::Link,
};
use filter_user::{
    counters::Counters,
    datapath::{Datapath, Events, Tables},
    settings::Settings,
};

/// Whether long tests are to be shorter: `cargo xtask vm` asks for it, where every instruction is
/// emulated. What is left out they print.
pub(crate) fn is_short() -> bool {
    env::var_os("LASTACK_TEST_SHORT").is_some()
}

/// Octets of an Ethernet header, the least that the first buffer holds.
pub(crate) const ETHERNET: usize = 14;

/// What the kernel wants before it makes a socket buffer for a test run: the network header.
pub(crate) fn least_octets(frame: &[u8]) -> usize {
    match frame[12..14] {
        [0x08, 0x00] => ETHERNET + 20,
        [0x86, 0xdd] => ETHERNET + 40,
        _ => ETHERNET + 1,
    }
}

/// One of the object's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Xdp,
    XdpMultiBuffer,
    Ingress,
    Egress,
    /// The two for interfaces without an Ethernet header.
    IngressIp,
    EgressIp,
}

impl Program {
    pub(crate) const ALL: [Self; 6] = [
        Self::Xdp,
        Self::XdpMultiBuffer,
        Self::Ingress,
        Self::Egress,
        Self::IngressIp,
        Self::EgressIp,
    ];
    /// Those whose packets begin with an Ethernet header.
    pub(crate) const ETHERNET: [Self; 4] =
        [Self::Xdp, Self::XdpMultiBuffer, Self::Ingress, Self::Egress];
    /// Those that see arriving packets.
    pub(crate) const ARRIVING: [Self; 3] = [Self::Xdp, Self::XdpMultiBuffer, Self::Ingress];

    /// Whether this kernel has its kind: frames of several buffers came with 5.18.
    pub(crate) fn is_there(self) -> bool {
        let has_frags = || {
            let version = KernelVersion::current().expect("every kernel tells it");
            version >= KernelVersion::new(5, 18, 0)
        };
        let there = self != Self::XdpMultiBuffer || has_frags();
        if !there {
            println!("left out: {}, which is for kernel 5.18", self.name());
        }
        there
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "lastack_xdp",
            Self::XdpMultiBuffer => "lastack_xdp_mb",
            Self::Ingress => "lastack_ingress",
            Self::Egress => "lastack_egress",
            Self::IngressIp => "lastack_ingress_ip",
            Self::EgressIp => "lastack_egress_ip",
        }
    }

    pub(crate) const fn link(self) -> Link {
        match self {
            Self::Xdp | Self::XdpMultiBuffer | Self::Ingress | Self::Egress => Link::Ethernet,
            Self::IngressIp | Self::EgressIp => Link::Ip,
        }
    }

    pub(crate) const fn is_xdp(self) -> bool {
        matches!(self, Self::Xdp | Self::XdpMultiBuffer)
    }

    /// The numbers of uapi/linux/bpf.h and uapi/linux/pkt_cls.h, not of our own code.
    fn verdict(self, action: u32) -> Verdict {
        const XDP_DROP: u32 = 1;
        const XDP_PASS: u32 = 2;
        const TC_ACT_UNSPEC: u32 = u32::MAX;
        const TC_ACT_SHOT: u32 = 2;
        match (self.is_xdp(), action) {
            (true, XDP_PASS) | (false, TC_ACT_UNSPEC) => Verdict::Pass,
            (true, XDP_DROP) | (false, TC_ACT_SHOT) => Verdict::Drop,
            _ => panic!(
                "{} answered {action}, which is neither pass nor drop",
                self.name()
            ),
        }
    }
}

/// Programs and maps of their own.
pub(crate) struct Kernel {
    datapath: Datapath,
}

impl Kernel {
    pub(crate) fn load(settings: &Settings) -> Self {
        let datapath = Datapath::load(settings).unwrap_or_else(|error| {
            panic!("these tests load packet programs and have to run as root: {error}")
        });
        Self { datapath }
    }

    pub(crate) fn configuration(&self) -> Configuration {
        *self.datapath.configuration()
    }

    /// Has the kernel verify a program, unless it did before.
    pub(crate) fn verify(&mut self, program: Program) {
        let loaded = if program.is_xdp() {
            let xdp: &mut Xdp = self.program(program);
            if xdp.fd().is_err() {
                xdp.load()
            } else {
                Ok(())
            }
        } else {
            let classifier: &mut SchedClassifier = self.program(program);
            if classifier.fd().is_err() {
                classifier.load()
            } else {
                Ok(())
            }
        };
        loaded.unwrap_or_else(|error| panic!("the kernel refuses {}: {error}", program.name()));
    }

    pub(crate) fn run(&mut self, program: Program, frame: &[u8]) -> Verdict {
        self.run_with(program, frame, None)
    }

    /// Runs it on a frame of which only `linear` octets are in the first buffer.
    pub(crate) fn run_split(&mut self, program: Program, frame: &[u8], linear: usize) -> Verdict {
        assert!(program.is_xdp(), "the context below is XDP's");
        // struct xdp_md: data, data_end, data_meta, and the interface.
        let linear = u32::try_from(linear).expect("a small number");
        let context: Vec<u8> = [0, linear, 0, 0, 0, 0]
            .into_iter()
            .flat_map(u32::to_ne_bytes)
            .collect();
        self.run_with(program, frame, Some(&context))
    }

    /// Runs it so often on the same frame.
    pub(crate) fn repeat(&mut self, program: Program, frame: &[u8], repeat: u32) {
        self.run_as(program, frame, None, repeat);
    }

    fn run_with(&mut self, program: Program, frame: &[u8], context: Option<&[u8]>) -> Verdict {
        self.run_as(program, frame, context, 1)
    }

    fn run_as(
        &mut self,
        program: Program,
        frame: &[u8],
        context: Option<&[u8]>,
        repeat: u32,
    ) -> Verdict {
        self.verify(program);
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: context,
            repeat,
            ..TestRunOptions::default()
        };
        let result = if program.is_xdp() {
            self.program::<Xdp>(program).test_run(options)
        } else {
            self.program::<SchedClassifier>(program).test_run(options)
        };
        let result = result.unwrap_or_else(|error| {
            panic!(
                "the kernel does not run {} on {} octets: {error:?}",
                program.name(),
                frame.len()
            )
        });
        program.verdict(result.return_value)
    }

    fn program<'a, T>(&'a mut self, program: Program) -> &'a mut T
    where
        &'a mut T: TryFrom<&'a mut AyaProgram, Error = ProgramError>,
    {
        let found = self
            .datapath
            .object()
            .program_mut(program.name())
            .expect("the object has it");
        found.try_into().expect("it is of this type")
    }

    /// Test runs are on the loopback interface, which is not served.
    pub(crate) fn counters(&self) -> Counters {
        self.datapath
            .unserved_counters()
            .expect("counters can be read")
    }

    pub(crate) fn count(&self, reason: Reason) -> u64 {
        self.counters().of(reason)
    }

    /// Lets every slot of the expiry array live on, as if other flows had written it, too.
    pub(crate) fn keep_slots(&mut self) {
        let map = self
            .datapath
            .object()
            .map_mut("EXPIRY")
            .expect("the object has it");
        let mut lines: Array<_, Line> = map.try_into().expect("it is an array");
        let written = lines.iter().map(|line| line.expect("it can be read"));
        let latest = written.flatten().max().expect("it has slots");
        for line in 0..lines.len() {
            lines
                .set(line, [kept(latest); SLOTS_PER_LINE as usize], 0)
                .expect("it can be written");
        }
    }

    /// One flow's entry in the table.
    pub(crate) fn flow(&self, key: &FlowKey) -> Option<Flow> {
        let flow = self.tables().raw_flow(key);
        flow.expect("the flow table can be read")
    }

    /// One slot of the expiry array.
    pub(crate) fn slot(&mut self, slot: u32) -> Slot {
        let map = self
            .datapath
            .object()
            .map("EXPIRY")
            .expect("the object has it");
        let lines: Array<_, Line> = map.try_into().expect("it is an array");
        let (line, slot) = expiry::place(slot, u32::MAX);
        lines.get(&line, 0).expect("it has this slot")[slot]
    }

    pub(crate) fn flows(&self) -> HashMap<FlowKey, Flow> {
        let flows = self.tables().raw_flows();
        let flows = flows.expect("the flow table can be read");
        flows.into_iter().collect()
    }

    /// What they report, if they do.
    pub(crate) fn events(&mut self) -> Option<Events> {
        self.datapath
            .take_events()
            .expect("the ring buffer can be mapped")
    }

    /// The kernel's numbers of the maps that a program refers to.
    pub(crate) fn maps(&mut self, program: Program) -> Vec<u32> {
        self.verify(program);
        let info = if program.is_xdp() {
            self.program::<Xdp>(program).info()
        } else {
            self.program::<SchedClassifier>(program).info()
        };
        let ids = info.expect("the kernel knows it").map_ids();
        ids.expect("its numbers can be read").unwrap_or_default()
    }

    /// Everything that is read while the programs run.
    pub(crate) fn tables(&self) -> Arc<Tables> {
        self.datapath.tables()
    }
}

/// The slot of many flows, a good deal longer.
pub(crate) fn kept(slot: Slot) -> Slot {
    // The upper 22 bits are the time; the others the tag of a slot that is shared.
    slot.wrapping_add(1 << 30) | 0x3ff
}
