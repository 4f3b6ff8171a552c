//! FTP, from any bytes: see talk/mod.rs.

#![no_main]

mod talk;

use libfuzzer_sys::fuzz_target;
use sluice::app::Transport;

fuzz_target!(|data: &[u8]| {
    talk::check(Transport::Tcp, 21, data);
});
