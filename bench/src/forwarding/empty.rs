//! Programs that only answer, on the hooks where lastack's would be: what the hooks cost.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader,
    programs::{
        LinkOrder, SchedClassifier, TcAttachType,
        tc::{SchedClassifierLinkId, TcAttachOptions},
    },
};
use object::{SectionKind, SymbolKind};

use assembly::{self, EXIT, MOVE_32, add, instruction};

const TCX_NEXT: u32 = u32::MAX;

/// One program for both directions.
pub(super) struct Empty {
    ebpf: Ebpf,
    links: Vec<SchedClassifierLinkId>,
}

impl Empty {
    /// Loads it.
    pub(super) fn new() -> Result<Self> {
        let text = [
            instruction(MOVE_32, 0, 0, 0, TCX_NEXT),
            instruction(EXIT, 0, 0, 0, 0),
        ];
        let mut object = assembly::object();
        let code = object.add_section(Vec::new(), b"classifier".to_vec(), SectionKind::Text);
        add(&mut object, code, "empty", SymbolKind::Text, &text.concat());
        let ebpf = EbpfLoader::new().btf(None).load(&object.write()?)?;
        let mut empty = Self {
            ebpf,
            links: Vec::new(),
        };
        empty
            .program()?
            .load()
            .context("the kernel refuses the empty program")?;
        Ok(empty)
    }

    /// Puts it on both hooks of an interface of the calling thread's network namespace.
    pub(super) fn attach(&mut self, interface: &str) -> Result<()> {
        for side in [TcAttachType::Ingress, TcAttachType::Egress] {
            let order = TcAttachOptions::TcxOrder(LinkOrder::default());
            let link = self
                .program()?
                .attach_with_options(interface, side, order)
                .context("cannot attach the empty program (TCX is there from Linux 6.6 on)")?;
            self.links.push(link);
        }
        Ok(())
    }

    /// Takes it off.
    pub(super) fn detach(&mut self) -> Result<()> {
        for link in std::mem::take(&mut self.links) {
            self.program()?.detach(link)?;
        }
        Ok(())
    }

    fn program(&mut self) -> Result<&mut SchedClassifier> {
        let program = self.ebpf.program_mut("empty").context("it was written")?;
        Ok(program.try_into()?)
    }
}
