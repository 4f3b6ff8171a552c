//! The flow stage's defragmentation: fragments of two datagrams, against the naive twin
//! of src/flow/twins.rs, which says how an input is read.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| sluice::flow::twins::datagrams(input));
