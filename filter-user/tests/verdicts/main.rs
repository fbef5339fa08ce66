//! The packet programs in the kernel, frame by frame, through `BPF_PROG_TEST_RUN`.
//!
//! Each row has its own maps and programs. After each frame the host's parser and state
//! machine see it too and have to give the same reason and keep the same state.
//!
//! Never given here: [`filter_common::Reason::FlowNotStored`], because the kernel's LRU map
//! evicts rather than refuse; the state machine's own tests have it.

#[path = "../../../filter-common/tests/frames/mod.rs"]
mod frames;

mod bounds;
mod buffers;
mod captures;
mod closes;
mod host;
mod kernel;
mod loading;
mod loopback;
mod malformed;
mod row;
mod rules;
mod scope;
mod shapes;
mod tables;
mod telling;
mod traces;
mod traffic;
