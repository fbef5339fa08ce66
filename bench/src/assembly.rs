//! Packet programs of a few instructions, written out, and the object files that they are in.

use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    write::{Object, SectionId, Symbol, SymbolId, SymbolSection},
};

/// An object file as a compiler would begin it.
pub(crate) fn object() -> Object<'static> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let license = object.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    object.append_section_data(license, b"GPL\0", 1);
    object
}

/// Adds a program or a map's definition to a section.
pub(crate) fn add(
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

/// An instruction: opcode, registers, offset and immediate value, as
/// <https://www.rfc-editor.org/rfc/rfc9669#section-3> has them.
pub(crate) fn instruction(
    opcode: u8,
    target: u8,
    source: u8,
    offset: i16,
    immediate: u32,
) -> [u8; 8] {
    let [o0, o1] = offset.to_le_bytes();
    let [i0, i1, i2, i3] = immediate.to_le_bytes();
    [opcode, target | source << 4, o0, o1, i0, i1, i2, i3]
}

pub(crate) const LOAD_WORD: u8 = 0x61;
pub(crate) const STORE_WORD: u8 = 0x63;
pub(crate) const LOAD_IMMEDIATE_64: u8 = 0x18;
pub(crate) const ADD_32: u8 = 0x04;
pub(crate) const ADD_64: u8 = 0x07;
pub(crate) const JUMP_GREATER: u8 = 0x2d;
pub(crate) const CALL: u8 = 0x85;
pub(crate) const EXIT: u8 = 0x95;
pub(crate) const MOVE_32: u8 = 0xb4;
pub(crate) const MOVE_64: u8 = 0xbf;
