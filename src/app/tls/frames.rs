//! TLS's records as rules see them (`frame:tls.pdu` and its kin).

use super::super::field::Field;
use super::super::output::Output;
use super::{HEAD, record};
use crate::packet::Direction;

/// Frames of records.
const FRAMES: [Field; 5] = [
    Field::FrameTlsHdr,
    Field::FrameTlsPdu,
    Field::FrameTlsData,
    Field::FrameTlsAlert,
    Field::FrameTlsHeartbeat,
];

/// Shows a record as far as it is there.
pub(super) fn show(
    bytes: &[u8],
    kind: u8,
    whole: usize,
    direction: Direction,
    out: &mut Output<'_>,
) {
    let body = HEAD..bytes.len().min(whole);
    for (field, range, shown) in [
        (Field::FrameTlsHdr, 0..HEAD, true),
        (Field::FrameTlsPdu, 0..body.end, true),
        (Field::FrameTlsData, body.clone(), true),
        (Field::FrameTlsAlert, body.clone(), kind == record::ALERT),
        (
            Field::FrameTlsHeartbeat,
            body.clone(),
            kind == record::HEARTBEAT,
        ),
    ] {
        if shown && out.wants(field) {
            out.frame(field, direction, bytes.get(range).unwrap_or(&[]));
        }
    }
}

/// Whether rules ask for any.
pub(super) fn are_wanted(out: &Output<'_>) -> bool {
    FRAMES.iter().any(|field| out.wants(*field))
}
