//! The packet programs under test: loaded, run on a frame, and their maps.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, TestRun as _, TestRunOptions,
    maps::{Array, HashMap, MapData, MapInfo, PerCpuArray},
    programs::{Program as AyaProgram, ProgramFd, SchedClassifier, Xdp},
};
use filter_common::{
    Direction, Flow, FlowKey, Tallies, Ticks, Verdict,
    expiry::{self, Line},
};
use filter_user::{
    counters::Counters,
    datapath::Datapath,
    settings::{Role, Settings},
};
use nix::time::{ClockId, clock_gettime};

use crate::statistics::fraction;

/// The interface that a test's packets seem to come from: loopback.
const LOOPBACK: u32 = 1;

/// One of the object's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Xdp,
    XdpMultiBuffer,
    Ingress,
    Egress,
}

impl Program {
    pub(super) const ALL: [Self; 4] =
        [Self::Xdp, Self::XdpMultiBuffer, Self::Ingress, Self::Egress];
    /// Those that see arriving packets.
    pub(super) const ARRIVING: [Self; 3] = [Self::Xdp, Self::XdpMultiBuffer, Self::Ingress];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "lastack_xdp",
            Self::XdpMultiBuffer => "lastack_xdp_mb",
            Self::Ingress => "lastack_ingress",
            Self::Egress => "lastack_egress",
        }
    }

    pub(super) const fn is_xdp(self) -> bool {
        matches!(self, Self::Xdp | Self::XdpMultiBuffer)
    }

    /// The section by which a loader knows the type.
    pub(super) const fn section(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::XdpMultiBuffer => "xdp.frags",
            Self::Ingress | Self::Egress => "classifier",
        }
    }

    /// XDP_PASS, or TC_ACT_UNSPEC.
    pub(super) const fn pass(self) -> u32 {
        if self.is_xdp() { 2 } else { u32::MAX }
    }

    /// XDP_DROP, or TC_ACT_SHOT.
    const fn drop(self) -> u32 {
        if self.is_xdp() { 1 } else { 2 }
    }

    /// The way that a segment travels which this program sees.
    pub(super) fn direction(self, role: Role) -> Direction {
        match (self == Self::Egress, role) {
            (true, Role::Wan) | (false, Role::Lan) => Direction::FromClient,
            (false, Role::Wan) | (true, Role::Lan) => Direction::FromServer,
        }
    }

    /// The descriptor of a program of this type.
    pub(super) fn descriptor(self, program: &AyaProgram) -> Result<&ProgramFd> {
        Ok(if self.is_xdp() {
            <&Xdp>::try_from(program)?.fd()?
        } else {
            <&SchedClassifier>::try_from(program)?.fd()?
        })
    }

    /// Runs the program `name` of `ebpf`, which is of this type, `repeat` times in a row.
    pub(super) fn run(self, ebpf: &Ebpf, name: &str, frame: &[u8], repeat: u32) -> Result<Ran> {
        let program = ebpf
            .program(name)
            .with_context(|| format!("the object has no program {name}"))?;
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat,
            ..TestRunOptions::default()
        };
        let before = thread_time()?;
        let result = if self.is_xdp() {
            <&Xdp>::try_from(program)?.test_run(options)
        } else {
            <&SchedClassifier>::try_from(program)?.test_run(options)
        };
        let took = thread_time()?.saturating_sub(before);
        let result = result.with_context(|| format!("the kernel does not run {name}"))?;
        let verdict = match result.return_value {
            action if action == self.pass() => Verdict::Pass,
            action if action == self.drop() => Verdict::Drop,
            action => bail!("{name} answered {action}, which is neither pass nor drop"),
        };
        Ok(Ran {
            verdict,
            time: took.as_secs_f64() * 1e9 / f64::from(repeat),
        })
    }
}

/// What came of a test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ran {
    /// The last run's.
    pub(super) verdict: Verdict,
    /// Nanoseconds of this thread's time that the whole call took, divided by its runs.
    pub(super) time: f64,
}

/// What this thread has had of a CPU: others that run meanwhile do not count.
fn thread_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .context("cannot read the thread's clock")?
        .into())
}

/// Programs and maps of their own.
pub(super) struct Kernel {
    datapath: Datapath,
    pub(super) role: Role,
    counters: PerCpuArray<MapData, Tallies>,
    /// The kernel's ids of its maps.
    pub(super) maps: Vec<u32>,
}

impl Kernel {
    /// Loads all four programs, and has them count their packets as a served interface's.
    pub(super) fn load(settings: &Settings) -> Result<Self> {
        let mut datapath = Datapath::load(settings)?;
        let ebpf = datapath.object();
        let mut maps = Vec::new();
        for program in Program::ALL {
            let name = program.name();
            let found = ebpf
                .program_mut(name)
                .with_context(|| format!("the object has no program {name}"))?;
            if program.is_xdp() {
                <&mut Xdp>::try_from(&mut *found)?.load()
            } else {
                <&mut SchedClassifier>::try_from(&mut *found)?.load()
            }
            .with_context(|| format!("the kernel refuses {name}"))?;
            let info = found.info()?;
            maps.extend(info.map_ids()?.unwrap_or_default());
        }
        maps.sort_unstable();
        maps.dedup();
        let mut interfaces = Array::<_, u32>::try_from(map(&maps, "INTERFACES")?)?;
        interfaces.set(LOOPBACK, LOOPBACK, 0)?;
        let counters = map(&maps, "COUNTERS")?;
        Ok(Self {
            datapath,
            role: settings.role,
            counters: PerCpuArray::try_from(counters)?,
            maps,
        })
    }

    /// The object, to run its programs from several threads.
    pub(super) fn ebpf(&mut self) -> &Ebpf {
        self.datapath.object()
    }

    pub(super) fn run(&mut self, program: Program, frame: &[u8], repeat: u32) -> Result<Ran> {
        program.run(self.datapath.object(), program.name(), frame, repeat)
    }

    /// The program that sees segments which travel this way.
    pub(super) fn towards(&self, direction: Direction) -> Program {
        if Program::Egress.direction(self.role) == direction {
            Program::Egress
        } else {
            Program::Ingress
        }
    }

    pub(super) fn descriptor(&mut self, program: Program) -> Result<ProgramFd> {
        let found = self.datapath.object().program(program.name());
        let found = found.with_context(|| format!("the object has no {}", program.name()))?;
        Ok(program.descriptor(found)?.try_clone()?)
    }

    pub(super) fn counters(&self) -> Result<Counters> {
        let mut sum = Counters::default();
        for cpu in self.counters.get(&LOOPBACK, 0)?.iter() {
            sum += Counters::from(*cpu);
        }
        Ok(sum)
    }

    pub(super) fn flow(&mut self, key: &FlowKey) -> Result<Flow> {
        self.flows()?
            .get(key, 0)
            .context("the flow is not in the table")
    }

    pub(super) fn set_flow(&mut self, key: &FlowKey, flow: &Flow) -> Result<()> {
        Ok(self.flows()?.insert(key, flow, 0)?)
    }

    /// Empties the flow table.
    pub(super) fn clear(&mut self) -> Result<()> {
        let mut flows = self.flows()?;
        let keys: Vec<_> = flows.keys().filter_map(Result::ok).collect();
        for key in keys {
            flows.remove(&key)?;
        }
        Ok(())
    }

    /// How many flows are in the table.
    pub(super) fn count(&mut self) -> Result<usize> {
        Ok(self.flows()?.keys().flatten().count())
    }

    /// Which share of ordinary packets finds its slot alive, and asks the table: those whose slot
    /// is shared, and those that have the tag of its flow. No lifetime ends while this measures.
    pub(super) fn live_slots(&mut self) -> Result<f64> {
        const SAMPLE: u32 = 4_096;
        const STRANGERS: u32 = 1_000;
        let map = self.datapath.object().map("EXPIRY");
        let lines: Array<_, Line> = map.context("the object has no EXPIRY")?.try_into()?;
        let apart = (lines.len() / SAMPLE).max(1);
        let (mut live, mut seen) = (0, 0);
        for line in (0..lines.len()).step_by(apart as usize) {
            for slot in lines.get(&line, 0)? {
                // A unit of 64 ticks before it ends.
                let before = Ticks((u64::from(slot >> 10) << 6).saturating_sub(64));
                let strangers = (0..STRANGERS).map(|number| number << 22);
                let asks = strangers.filter(|&hash| expiry::is_live(slot, hash, before));
                live += asks.count();
                seen += STRANGERS as usize;
            }
        }
        Ok(fraction(live, seen))
    }

    fn flows(&mut self) -> Result<HashMap<MapData, FlowKey, Flow>> {
        Ok(map(&self.maps, "FLOWS")?.try_into()?)
    }
}

/// One of the maps with these ids. The loader keeps some to itself.
fn map(ids: &[u32], name: &str) -> Result<aya::maps::Map> {
    for &id in ids {
        if MapInfo::from_id(id)?.name_as_str() == Some(name) {
            return Ok(aya::maps::Map::from_map_data(MapData::from_id(id)?)?);
        }
    }
    bail!("the programs have no map {name}")
}
