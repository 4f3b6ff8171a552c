//! DNS and its cousins, from any bytes: see talk/mod.rs.

#![no_main]

mod talk;

use libfuzzer_sys::fuzz_target;
use sluice::app::Transport;

fuzz_target!(|data: &[u8]| {
    // The first byte chooses the carrier.
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let transport = match first & 1 {
        0 => Transport::Udp,
        _ => Transport::Tcp,
    };
    let port = match first >> 1 & 3 {
        0 | 1 => 53,
        2 => 5353,
        _ => 5355,
    };
    talk::check(transport, port, data);
});
