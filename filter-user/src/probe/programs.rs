//! Programs and filters on the hooks of an interface.

use std::io;

use aya::programs::{ProgramError, SchedClassifier, TcAttachType, loaded_programs};
use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{
        TcAttribute, TcFilterBpfOption, TcFilterFlowerOption, TcFilterMatchAllOption,
        TcFilterU32Option, TcHandle, TcMessage, TcOption, TcU32OptionFlags,
    },
};

use crate::datapath::{clsact, kernel_answer, netlink::request};

/// A program in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// Its number.
    pub(crate) id: u32,
    /// Its name; none where it has none, or where it cannot be seen without CAP_SYS_ADMIN.
    pub(crate) name: Option<String>,
}

/// A filter in a clsact or ingress qdisc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Such as `flower`.
    pub(crate) kind: String,
    /// Of a BPF filter, its program's name.
    pub(crate) name: Option<String>,
    /// Of a BPF filter, its program's number.
    pub(crate) program_id: Option<u32>,
    /// Where it comes among the others.
    pub(crate) priority: u32,
    /// Its number among those of its priority.
    pub(crate) handle: u32,
    /// Whether the hardware does what it says.
    pub(crate) in_hardware: bool,
}

/// Which direction of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Arriving packets.
    Ingress,
    /// Leaving packets.
    Egress,
}

impl Program {
    /// Looks for the program with that id. Needs CAP_SYS_ADMIN for the name.
    pub(crate) fn find(id: u32) -> Self {
        let info = loaded_programs()
            .map_while(Result::ok)
            .find(|info| info.id() == id);
        let name = info.and_then(|info| info.name_as_str().map(str::to_owned));
        Self { id, name }
    }
}

/// The programs at a TCX hook, in the order in which they run. Needs CAP_SYS_ADMIN, and kernel
/// 6.6.
pub(crate) fn tcx(interface: &str, side: Side) -> io::Result<Vec<Program>> {
    let side = match side {
        Side::Ingress => TcAttachType::Ingress,
        Side::Egress => TcAttachType::Egress,
    };
    let (_, programs) = SchedClassifier::query_tcx(interface, side)
        .map_err(|error: ProgramError| kernel_answer(error))?;
    let programs = programs.iter().map(|info| Program {
        id: info.id(),
        name: info.name_as_str().map(str::to_owned),
    });
    Ok(programs.collect())
}

/// The filters of the clsact or ingress qdisc of the interface with that index.
pub(crate) fn filters(index: u32, side: Side) -> io::Result<Vec<Filter>> {
    let side = match side {
        Side::Ingress => clsact::INGRESS,
        Side::Egress => clsact::EGRESS,
    };
    let answers = clsact::filters(index, side)?.into_iter();
    let filters = answers.filter_map(|answer| {
        if let RouteNetlinkMessage::NewTrafficFilter(message) = answer {
            filter(&message)
        } else {
            None
        }
    });
    Ok(filters.collect())
}

/// Whether it has the old ingress qdisc, which takes clsact's place and has no egress.
pub(crate) fn has_ingress_qdisc(index: u32) -> io::Result<bool> {
    let question = TcMessage::with_index(index.cast_signed());
    let question = RouteNetlinkMessage::GetQueueDiscipline(question);
    let is_ingress = |answer: &RouteNetlinkMessage| {
        let RouteNetlinkMessage::NewQueueDiscipline(message) = answer else {
            return false;
        };
        message.header.index == index.cast_signed()
            && message.header.parent == TcHandle::INGRESS
            && kind(message) == Some("ingress")
    };
    Ok(request(question, NLM_F_DUMP)?.iter().any(is_ingress))
}

/// None for what only says that filters follow.
fn filter(message: &TcMessage) -> Option<Filter> {
    let options = message.attributes.iter().find_map(|attribute| {
        if let TcAttribute::Options(options) = attribute {
            Some(options)
        } else {
            None
        }
    })?;
    Some(Filter {
        kind: kind(message)?.to_owned(),
        name: options.iter().find_map(|option| {
            if let TcOption::Bpf(TcFilterBpfOption::ProgName(name)) = option {
                Some(name.clone())
            } else {
                None
            }
        }),
        program_id: options.iter().find_map(|option| {
            if let TcOption::Bpf(TcFilterBpfOption::ProgId(id)) = option {
                Some(*id)
            } else {
                None
            }
        }),
        priority: message.header.info >> 16,
        handle: message.header.handle.into(),
        in_hardware: options
            .iter()
            .filter_map(flags)
            .any(|flags| flags.contains(TcU32OptionFlags::InHw)),
    })
}

fn kind(message: &TcMessage) -> Option<&str> {
    message.attributes.iter().find_map(|attribute| {
        if let TcAttribute::Kind(kind) = attribute {
            Some(kind.as_str())
        } else {
            None
        }
    })
}

/// `TCA_CLS_FLAGS_*`, which every kind of filter has elsewhere.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other options are no flags"
)]
fn flags(option: &TcOption) -> Option<TcU32OptionFlags> {
    match option {
        TcOption::Flower(TcFilterFlowerOption::Flags(flags))
        | TcOption::MatchAll(TcFilterMatchAllOption::Flags(flags)) => {
            Some(TcU32OptionFlags::from_bits_retain(*flags))
        }
        TcOption::U32(TcFilterU32Option::Flags(flags))
        | TcOption::Bpf(TcFilterBpfOption::FlagsGeneric(flags)) => Some(*flags),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &str, options: Vec<TcOption>) -> TcMessage {
        let mut message = TcMessage::with_index(2);
        message.attributes = vec![
            TcAttribute::Kind(kind.to_owned()),
            TcAttribute::Options(options),
        ];
        message
    }

    #[test]
    fn a_filter_in_the_hardware_is_told_from_one_that_is_not() {
        const IN_HW: u32 = 4;
        const NOT_IN_HW: u32 = 8;
        let in_hardware = |kind, option| filter(&message(kind, vec![option])).unwrap().in_hardware;
        let flower = |flags| TcOption::Flower(TcFilterFlowerOption::Flags(flags));
        assert!(in_hardware("flower", flower(IN_HW)));
        assert!(!in_hardware("flower", flower(NOT_IN_HW)));
        let matchall = |flags| TcOption::MatchAll(TcFilterMatchAllOption::Flags(flags));
        assert!(in_hardware("matchall", matchall(IN_HW)));
        let u32 = |flags| TcOption::U32(TcFilterU32Option::Flags(flags));
        assert!(in_hardware("u32", u32(TcU32OptionFlags::InHw)));
        assert!(!in_hardware("u32", u32(TcU32OptionFlags::NotInHw)));
    }

    #[test]
    fn a_bpf_filter_has_its_program_s_name() {
        let options = vec![
            TcOption::Bpf(TcFilterBpfOption::ProgName("count".to_owned())),
            TcOption::Bpf(TcFilterBpfOption::ProgId(7)),
        ];
        let expected = Filter {
            kind: "bpf".to_owned(),
            name: Some("count".to_owned()),
            program_id: Some(7),
            priority: 2,
            handle: 0x10,
            in_hardware: false,
        };
        let mut message = message("bpf", options);
        message.header.info = 0x0002_0003;
        message.header.handle = TcHandle::from(0x10);
        assert_eq!(filter(&message), Some(expected));
        let mut head = TcMessage::with_index(2);
        head.attributes = vec![TcAttribute::Kind("bpf".to_owned())];
        assert_eq!(filter(&head), None);
    }
}
