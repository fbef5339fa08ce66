//! What the packet programs are measured against, and driven by: programs of a few
//! instructions, written out here so that none of them is in the object that is shipped.
//!
//! `empty` answers and does nothing else. `step` adds a constant to one word of the frame, so
//! that each run of a test is another flow's packet, and goes on in another program by a tail
//! call; a frame that was changed stays so for the test's next run.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader,
    maps::ProgramArray,
    programs::{ProgramFd, SchedClassifier, Xdp},
};
use object::{SectionKind, SymbolKind};

use super::kernel::Program;
use assembly::{
    self, ADD_32, ADD_64, CALL, EXIT, JUMP_GREATER, LOAD_IMMEDIATE_64, LOAD_WORD, MOVE_32, MOVE_64,
    STORE_WORD, add, instruction,
};

/// What `step` does to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Offset of the word that it changes.
    pub(super) word: u16,
    /// What it adds to that, in the machine's own order.
    pub(super) add: u32,
}

impl Step {
    /// Never twice the same flow: an odd number, so that it takes 2^32 steps to come back.
    pub(super) const fn through_all(word: u16) -> Self {
        let add = 0x9e37_79b1;
        Self { word, add }
    }

    /// 256 flows in turn: only the word's last octet changes.
    pub(super) const fn in_a_circle(word: u16) -> Self {
        let add = u32::from_ne_bytes([0, 0, 0, 1]);
        Self { word, add }
    }

    /// For programs that take no steps.
    pub(super) const NONE: Self = Self { word: 0, add: 0 };

    /// Changes a frame as so many runs would have done.
    pub(super) fn advance(self, frame: &mut [u8], runs: u32) {
        let first = usize::from(self.word);
        if let Some(octets) = frame.get_mut(first..first + 4)
            && let Ok(there) = <[u8; 4]>::try_from(&*octets)
        {
            let moved = u32::from_ne_bytes(there).wrapping_add(self.add.wrapping_mul(runs));
            octets.copy_from_slice(&moved.to_ne_bytes());
        }
    }
}

/// What `step` answers where the tail call failed: no verdict of anybody's.
pub(super) const NOT_CALLED: u32 = 77;

const NEXT: &str = "NEXT";
/// bpf_tail_call
const TAIL_CALL: u32 = 12;

/// Both programs for one kind of hook.
pub(super) struct Reference {
    pub(super) ebpf: Ebpf,
}

impl Reference {
    /// Loads them.
    pub(super) fn load(program: Program, step: Step) -> Result<Self> {
        let object = object(program, step).context("cannot write the reference programs")?;
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .load(&object)
            .context("cannot load the reference programs")?;
        for name in ["empty", "step"] {
            let reference = ebpf.program_mut(name).context("it was written")?;
            if program.is_xdp() {
                <&mut Xdp>::try_from(reference)?.load()
            } else {
                <&mut SchedClassifier>::try_from(reference)?.load()
            }
            .with_context(|| format!("the kernel refuses the program {name}"))?;
        }
        Ok(Self { ebpf })
    }

    /// Lets `step` go on in `next`.
    pub(super) fn lead_to(&mut self, next: &ProgramFd) -> Result<()> {
        let map = self.ebpf.map_mut(NEXT).context("it was written")?;
        Ok(ProgramArray::try_from(map)?.set(0, next, 0)?)
    }

    /// Lets `step` go on in `empty`.
    pub(super) fn lead_to_empty(&mut self, program: Program) -> Result<()> {
        let empty = self.ebpf.program("empty").context("it was written")?;
        let empty = program.descriptor(empty)?.try_clone()?;
        self.lead_to(&empty)
    }
}

fn empty(program: Program) -> Vec<u8> {
    [
        instruction(MOVE_32, 0, 0, 0, program.pass()),
        instruction(EXIT, 0, 0, 0, 0),
    ]
    .concat()
}

/// Index of the instruction of `step` that loads the address of the map.
const MAP_LOAD: u64 = 10;

fn step(program: Program, Step { word, add }: Step) -> Vec<u8> {
    let offset = word.cast_signed();
    // struct xdp_md and struct __sk_buff: data and data_end.
    let (start, end) = if program.is_xdp() { (0, 4) } else { (76, 80) };
    [
        instruction(MOVE_64, 6, 1, 0, 0),
        instruction(LOAD_WORD, 2, 1, start, 0),
        instruction(LOAD_WORD, 3, 1, end, 0),
        instruction(MOVE_64, 4, 2, 0, 0),
        instruction(ADD_64, 4, 0, 0, u32::from(word) + 4),
        instruction(JUMP_GREATER, 4, 3, 8, 0),
        instruction(LOAD_WORD, 5, 2, offset, 0),
        instruction(ADD_32, 5, 0, 0, add),
        instruction(STORE_WORD, 2, 5, offset, 0),
        instruction(MOVE_64, 1, 6, 0, 0),
        instruction(LOAD_IMMEDIATE_64, 2, 0, 0, 0),
        instruction(0, 0, 0, 0, 0),
        instruction(MOVE_32, 3, 0, 0, 0),
        instruction(CALL, 0, 0, 0, TAIL_CALL),
        instruction(MOVE_32, 0, 0, 0, NOT_CALLED),
        instruction(EXIT, 0, 0, 0, 0),
    ]
    .concat()
}

/// An object file as a compiler would have made it.
fn object(program: Program, taken: Step) -> Result<Vec<u8>> {
    const PROG_ARRAY: u32 = 3;

    let mut object = assembly::object();
    let next = assembly::add_map(&mut object, NEXT, (PROG_ARRAY, 4, 1));
    let code = object.add_section(Vec::new(), program.section().into(), SectionKind::Text);
    add(
        &mut object,
        code,
        "empty",
        SymbolKind::Text,
        &empty(program),
    );
    let text = step(program, taken);
    let symbol = add(&mut object, code, "step", SymbolKind::Text, &text);
    assembly::load_map(&mut object, code, symbol, MAP_LOAD, next)?;
    Ok(object.write()?)
}
