//! Programs of other instances on an interface: two there see each other's packets, and what one
//! drops the next does not.

use std::fmt;

use crate::{
    datapath::Attachment,
    probe::{
        links::Links,
        programs::{self, Filter, Program, Side},
    },
};

/// Programs of lastack.
pub(super) struct Ours<'a> {
    programs: Vec<&'a Program>,
    /// Those in clsact, which stay when their process is killed.
    pub(super) filters: Vec<&'a Filter>,
}

impl<'a> Ours<'a> {
    /// Those among what is on the hooks of an interface.
    pub(super) fn among(
        programs: impl Iterator<Item = &'a Program>,
        filters: impl Iterator<Item = &'a Filter>,
    ) -> Self {
        Self {
            programs: programs
                .filter(|program| is_ours(program.name.as_deref()))
                .collect(),
            filters: filters
                .filter(|filter| is_ours(filter.name.as_deref()))
                .collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.filters.is_empty()
    }
}

impl fmt::Display for Ours<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let programs = self.programs.iter().copied().map(called);
        let filters = self.filters.iter();
        let filters = filters.filter_map(|filter| filter.name.clone());
        let all: Vec<_> = programs.chain(filters).collect();
        write!(f, "another lastack is there: {}", all.join(", "))
    }
}

/// What other instances have on an interface beside what was attached to it, and what to do about
/// it, if they have anything there. Needs CAP_SYS_ADMIN, without which programs have no names.
pub(super) fn beside(attachment: &Attachment) -> Option<String> {
    let name = &attachment.interface;
    let is_other = |id: u32| {
        let mut own = attachment.attached.iter();
        own.all(|own| own.program_id != id)
    };
    let links = Links::read().unwrap_or_default();
    let xdp = links.of(attachment.index).and_then(|link| link.xdp);
    let mut running: Vec<_> = xdp.map(Program::find).into_iter().collect();
    let mut filters = Vec::new();
    for (side, called) in [(Side::Ingress, "ingress"), (Side::Egress, "egress")] {
        running.extend(programs::tcx(name, side).unwrap_or_default());
        let there = programs::filters(attachment.index, side).unwrap_or_default();
        filters.extend(there.into_iter().map(|filter| (called, filter)));
    }
    running.retain(|program| is_other(program.id));
    filters.retain(|(_, filter)| filter.program_id.is_none_or(is_other));
    let there = Ours::among(running.iter(), filters.iter().map(|(_, filter)| filter));
    if there.is_empty() {
        return None;
    }
    let removals: Vec<_> = filters
        .iter()
        .filter(|(_, filter)| is_ours(filter.name.as_deref()))
        .map(|(side, filter)| removal(name, side, filter))
        .collect();
    let remedy = match removals.as_slice() {
        [] => "stop one of the two".to_owned(),
        removals => format!(
            "stop one of the two; was it killed, {}",
            removals.join(" and ")
        ),
    };
    Some(format!("{there}; {remedy}"))
}

/// What takes off one filter and nothing else.
fn removal(interface: &str, side: &str, filter: &Filter) -> String {
    let Filter {
        priority, handle, ..
    } = filter;
    format!("`tc filter del dev {interface} {side} pref {priority} handle {handle:#x} bpf`")
}

/// Whether a program is lastack's, by its name.
pub(super) fn is_ours(name: Option<&str>) -> bool {
    name.is_some_and(|name| name.starts_with("lastack_"))
}

/// A program as a person looks for it.
pub(super) fn called(program: &Program) -> String {
    let Program { id, name } = program;
    match name.as_deref() {
        Some(name) if !name.is_empty() => format!("{name} (id {id})"),
        _ => format!("program {id}"),
    }
}
