//! Everything at once, for some seconds. Needs root, nginx, iperf3, nft and ethtool.
//!
//! `cargo xtask soak` is the same for an hour, with the figures.

use std::{path::Path, time::Duration};

use filter_user::lab::soak::Soak;

#[test]
fn under_all_loads_at_once_only_spurious_acks_are_dropped_and_nothing_grows() {
    let soak = Soak {
        lastack: Path::new(env!("CARGO_BIN_EXE_lastack")),
        duration: Duration::from_secs(8),
        block: Duration::from_secs(2),
    };
    let results = soak.run().expect("this test needs root");
    assert!(results.broken.is_empty(), "{results:#?}");
    let [with, without] = [&results.with, &results.without];
    for traffic in [with, without] {
        // Else it would show nothing.
        assert!(traffic.faulty > 0 && traffic.half_closing > 0 && traffic.ordinary > 0);
    }
    assert!(!results.pairs.is_empty());
}
