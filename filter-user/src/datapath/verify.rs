//! Has the kernel verify programs without attaching them.

use aya::programs::{ProgramError, ProgramInfo, SchedClassifier, TcAttachType, Xdp};
use filter_common::wire::Link;

use super::{
    Datapath, DatapathError,
    attach::{load, typed},
    error::kernel_answer,
    hook::{tc_name, xdp_name},
};

impl Datapath {
    /// Has the kernel verify every program that may be attached to an interface whose packets
    /// begin with `link`; gives whether it translated them to machine code (JIT).
    ///
    /// # Errors
    ///
    /// Where the kernel refuses one.
    pub fn verify(&mut self, link: Link) -> Result<bool, DatapathError> {
        let tc = [TcAttachType::Ingress, TcAttachType::Egress].map(|side| tc_name(side, link));
        let xdp = (link == Link::Ethernet).then(xdp_name);
        let names: Vec<_> = tc.into_iter().chain(xdp).collect();
        load(&mut self.ebpf, &names)?;
        let mut jitted = true;
        for name in tc {
            let program: &mut SchedClassifier = typed(&mut self.ebpf, name)?;
            jitted &= is_jitted(program.info())?;
        }
        if let Some(name) = xdp {
            let program: &mut Xdp = typed(&mut self.ebpf, name)?;
            jitted &= is_jitted(program.info())?;
        }
        Ok(jitted)
    }
}

fn is_jitted(info: Result<ProgramInfo, ProgramError>) -> Result<bool, DatapathError> {
    info.map(|info| info.size_jitted() > 0)
        .map_err(|error| DatapathError::System {
            what: "the size of a program",
            error: kernel_answer(error),
        })
}
