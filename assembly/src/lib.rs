//! Packet programs of a few instructions, written out, and the object files that they are in.

use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    elf::R_BPF_64_64,
    write::{
        Error, Object, Relocation, RelocationFlags, SectionId, Symbol, SymbolId, SymbolSection,
    },
};

/// An object file as a compiler would begin it.
#[must_use]
pub fn object() -> Object<'static> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let license = object.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    object.append_section_data(license, b"GPL\0", 1);
    object
}

/// Adds a program or a map's definition to a section.
pub fn add(
    object: &mut Object<'_>,
    section: SectionId,
    name: &str,
    kind: SymbolKind,
    data: &[u8],
) -> SymbolId {
    let symbol = object.add_symbol(Symbol {
        name: name.into(),
        value: 0,
        size: 0,
        kind,
        scope: SymbolScope::Dynamic,
        weak: false,
        section: SymbolSection::Undefined,
        flags: SymbolFlags::None,
    });
    object.add_symbol_data(symbol, section, data, 8);
    symbol
}

/// Adds a map with keys of 32 bits; one to an object. `kind` is its `BPF_MAP_TYPE_*` number.
pub fn add_map(
    object: &mut Object<'_>,
    name: &str,
    (kind, octets_of_value, entries): (u32, u32, u32),
) -> SymbolId {
    let maps = object.add_section(Vec::new(), b"maps".to_vec(), SectionKind::Data);
    // struct bpf_map_def.
    let definition: Vec<u8> = [kind, 4, octets_of_value, entries, 0, 0, 0]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    add(object, maps, name, SymbolKind::Data, &definition)
}

/// Makes an instruction of a program the one that loads the address of a map: the
/// `LOAD_IMMEDIATE_64` before which there are `index` others.
///
/// # Errors
///
/// Where `object` cannot express that.
pub fn load_map(
    object: &mut Object<'_>,
    code: SectionId,
    program: SymbolId,
    index: u64,
    map: SymbolId,
) -> Result<(), Error> {
    let offset = object.symbol(program).value + index * 8;
    object.add_relocation(
        code,
        Relocation {
            offset,
            symbol: map,
            addend: 0,
            flags: RelocationFlags::Elf {
                r_type: R_BPF_64_64,
            },
        },
    )
}

/// An instruction: opcode, registers, offset and immediate value, as
/// <https://www.rfc-editor.org/rfc/rfc9669#section-3> has them.
#[must_use]
pub fn instruction(opcode: u8, target: u8, source: u8, offset: i16, immediate: u32) -> [u8; 8] {
    let [o0, o1] = offset.to_le_bytes();
    let [i0, i1, i2, i3] = immediate.to_le_bytes();
    [opcode, target | source << 4, o0, o1, i0, i1, i2, i3]
}

/// Loads 32 bits from memory.
pub const LOAD_WORD: u8 = 0x61;
/// Stores 32 bits.
pub const STORE_WORD: u8 = 0x63;
/// Stores an immediate value of 32 bits.
pub const STORE_IMMEDIATE_WORD: u8 = 0x62;
/// Loads 64 bits from memory.
pub const LOAD_DOUBLE_WORD: u8 = 0x79;
/// Stores 64 bits.
pub const STORE_DOUBLE_WORD: u8 = 0x7b;
/// Loads a value of 64 bits, or the address of a map; takes two instructions.
pub const LOAD_IMMEDIATE_64: u8 = 0x18;
/// Adds an immediate value, modulo 2^32.
pub const ADD_32: u8 = 0x04;
/// Adds an immediate value, modulo 2^64.
pub const ADD_64: u8 = 0x07;
/// Jumps if the target is above the source.
pub const JUMP_GREATER: u8 = 0x2d;
/// Jumps if the target is not below the source.
pub const JUMP_NOT_LESS: u8 = 0x3d;
/// Jumps if the target is an immediate value.
pub const JUMP_EQUAL_IMMEDIATE: u8 = 0x15;
/// Calls a helper of the kernel by its number.
pub const CALL: u8 = 0x85;
/// Returns register 0.
pub const EXIT: u8 = 0x95;
/// Sets a register to an immediate value.
pub const MOVE_32: u8 = 0xb4;
/// Copies a register.
pub const MOVE_64: u8 = 0xbf;
