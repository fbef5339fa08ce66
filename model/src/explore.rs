//! Exploration of every run: by depth to prove, by breadth to show the shortest run that
//! breaks something.
//!
//! Hand-written rather than a model checker's: states are told apart by 128 bits of hash,
//! not 64; a run that has no end is found as one, where checkers of "eventually" commonly
//! give up at joins and cycles; and the sets of outcomes with and without the filter can be
//! compared.

use std::{
    collections::{BTreeSet, HashMap, VecDeque, hash_map::Entry},
    hash::{BuildHasherDefault, Hash, Hasher},
};

use xxhash_rust::xxh3::xxh3_128;

use crate::{
    done::Done,
    mutant::Mutant,
    property::Property,
    setup::{Filter, Setup},
    world::{Outcome, Step, World},
};

/// More than this many states are not kept: about three gigabytes.
const MOST_STATES: usize = 50_000_000;

/// What an exploration found.
#[derive(Debug, Default)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Steps between them.
    pub steps: usize,
    /// The longest run.
    pub depth: usize,
    /// How runs end.
    pub outcomes: BTreeSet<Outcome>,
    /// Steps that dropped something.
    pub drops: usize,
    /// What does not hold.
    pub broken: Option<Broken>,
    /// It was stopped: there were more states than it may keep.
    pub stopped: bool,
}

/// A property that does not hold.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Which.
    pub property: Property,
    /// A run that shows it.
    pub trace: Vec<String>,
}

/// Explores all runs of a setup; stops at the first that violates a property.
#[must_use]
pub fn explore(setup: &Setup, mutant: &Mutant) -> Explored {
    let without = setup.claims.same_outcomes.then(|| {
        let off = Setup {
            filter: Filter::Off,
            ..*setup
        };
        Search::new(&off, mutant, None).by_depth().outcomes
    });
    let found = Search::new(setup, mutant, without.as_ref()).by_depth();
    if found.broken.is_none() {
        return found;
    }
    Explored {
        broken: Search::new(setup, mutant, without.as_ref()).by_breadth(),
        ..found
    }
}

/// The shortest run of a setup that violates a property.
#[must_use]
pub fn shortest(setup: &Setup, mutant: &Mutant) -> Option<Broken> {
    Search::new(setup, mutant, None).by_breadth()
}

struct Search<'a> {
    setup: &'a Setup,
    mutant: &'a Mutant,
    without: Option<&'a BTreeSet<Outcome>>,
    bytes: Octets,
}

/// A state of a run by depth, and the steps from it that are still to be done.
struct Frame {
    world: World,
    name: u128,
    steps: Vec<Step>,
    leads_on: bool,
}

impl<'a> Search<'a> {
    fn new(setup: &'a Setup, mutant: &'a Mutant, without: Option<&'a BTreeSet<Outcome>>) -> Self {
        Self {
            setup,
            mutant,
            without,
            bytes: Octets::default(),
        }
    }

    fn name(&mut self, world: &World) -> u128 {
        self.bytes.0.clear();
        world.hash(&mut self.bytes);
        xxh3_128(&self.bytes.0)
    }

    /// What the end of a run violates.
    fn at_end(&self, world: &World) -> Option<Property> {
        let outcome = world.outcome();
        world.stuck(self.setup).or_else(|| {
            self.without
                .is_some_and(|outcomes| !outcomes.contains(&outcome))
                .then_some(Property::NonInterference)
        })
    }

    fn violated(&self, done: &Done) -> Option<Property> {
        let drop = done
            .reason
            .is_some_and(|reason| reason.verdict() == filter_common::Verdict::Drop);
        let interferes = self.setup.claims.no_drop && drop;
        done.violated
            .or_else(|| interferes.then_some(Property::NonInterference))
    }

    fn by_depth(mut self) -> Explored {
        // True while a state is on the run that is being followed.
        let mut seen: HashMap<u128, bool, Plain> = HashMap::default();
        let mut explored = Explored::default();
        let mut free: Vec<Vec<Step>> = Vec::new();
        let start = World::new(self.setup);
        let mut run = vec![self.frame(&start, Vec::new())];
        seen.insert(run[0].name, true);
        let mut broken = None;
        while let Some(frame) = run.last_mut() {
            let Some(step) = frame.steps.pop() else {
                if !frame.leads_on {
                    explored.outcomes.insert(frame.world.outcome());
                    let world = frame.world;
                    broken = self.at_end(&world);
                    if broken.is_some() {
                        break;
                    }
                }
                if let Some(frame) = run.pop() {
                    seen.insert(frame.name, false);
                    free.push(frame.steps);
                }
                continue;
            };
            let Some(done) = frame.world.after(step, self.setup, self.mutant) else {
                continue;
            };
            frame.leads_on = true;
            explored.steps += 1;
            let dropped = done
                .reason
                .is_some_and(|reason| reason.verdict() == filter_common::Verdict::Drop);
            explored.drops += usize::from(dropped);
            broken = self.violated(&done);
            if broken.is_some() {
                break;
            }
            if seen.len() == MOST_STATES {
                explored.stopped = true;
                break;
            }
            let name = self.name(&done.world);
            match seen.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(true);
                    let steps = free.pop().unwrap_or_default();
                    run.push(self.frame(&done.world, steps));
                    explored.depth = explored.depth.max(run.len());
                }
                // A run that comes back to where it was has no end.
                Entry::Occupied(entry) if *entry.get() => {
                    broken = Some(Property::Liveness);
                    break;
                }
                Entry::Occupied(_) => {}
            }
        }
        explored.states = seen.len();
        explored.broken = broken.map(|property| Broken {
            property,
            trace: Vec::new(),
        });
        explored
    }

    fn frame(&mut self, world: &World, mut steps: Vec<Step>) -> Frame {
        world.steps(self.setup, &mut steps);
        Frame {
            name: self.name(world),
            world: *world,
            steps,
            leads_on: false,
        }
    }

    fn by_breadth(mut self) -> Option<Broken> {
        let start = World::new(self.setup);
        let origin = self.name(&start);
        let mut before: HashMap<u128, Option<(u128, Step)>, Plain> = HashMap::default();
        before.insert(origin, None);
        let mut ahead = VecDeque::from([(start, origin)]);
        let mut steps = Vec::new();
        while let Some((world, name)) = ahead.pop_front() {
            world.steps(self.setup, &mut steps);
            let mut leads_on = false;
            for step in &steps {
                let Some(done) = world.after(*step, self.setup, self.mutant) else {
                    continue;
                };
                leads_on = true;
                if let Some(property) = self.violated(&done) {
                    return Some(self.broken(property, &before, name, Some(*step)));
                }
                let next = self.name(&done.world);
                if let Entry::Vacant(entry) = before.entry(next) {
                    entry.insert(Some((name, *step)));
                    ahead.push_back((done.world, next));
                }
            }
            if !leads_on && let Some(property) = self.at_end(&world) {
                return Some(self.broken(property, &before, name, None));
            }
        }
        None
    }

    /// Walks back, then forth again to tell what happened.
    fn broken(
        &self,
        property: Property,
        before: &HashMap<u128, Option<(u128, Step)>, Plain>,
        mut name: u128,
        last: Option<Step>,
    ) -> Broken {
        let mut steps = Vec::from_iter(last);
        while let Some(Some((earlier, step))) = before.get(&name) {
            steps.push(*step);
            name = *earlier;
        }
        let mut world = World::new(self.setup);
        let mut trace = Vec::new();
        for step in steps.into_iter().rev() {
            if let Some(done) = world.after(step, self.setup, self.mutant) {
                trace.push(told(step, &done));
                world = done.world;
            }
        }
        trace.push(format!(
            "client {:?}, server {:?}",
            world.client.state, world.server.state
        ));
        Broken { property, trace }
    }
}

fn told(step: Step, done: &Done) -> String {
    let mut line = format!("{step:?}");
    if let Some(packet) = done.packet {
        line = format!("{line}: {packet}");
    }
    if let Some(reason) = done.reason {
        line = format!("{line} -> {}", reason.as_str());
    }
    line
}

/// The octets that a state hashes to.
#[derive(Default)]
struct Octets(Vec<u8>);

impl Hasher for Octets {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// Hashes need no hashing.
type Plain = BuildHasherDefault<Lower>;

#[derive(Default)]
struct Lower(u64);

impl Hasher for Lower {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let lower = bytes.first_chunk().copied().unwrap_or_default();
        self.0 = u64::from_ne_bytes(lower);
    }
}
