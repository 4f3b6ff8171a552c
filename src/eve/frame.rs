//! A frame of the application layer as the `frame` object of EVE: one that a rule matched in, or, where
//! they are asked for, an event of each.

use serde::Serialize;

use super::text::{Base64, Printable, Text};
use crate::app::AppProtocol;
use crate::app::record::Frame as Known;
use crate::packet::Direction;

/// The object.
#[derive(Serialize)]
pub(super) struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    direction: &'static str,
    length: u32,
    payload: Text<Base64<'a>>,
    payload_printable: Text<Printable<'a>>,
    complete: bool,
}

impl<'a> Frame<'a> {
    pub(super) fn of(frame: Known<'a>, protocol: AppProtocol) -> Frame<'a> {
        Frame {
            kind: kind(frame.field.name(), protocol),
            direction: match frame.direction {
                Direction::ToServer => "toserver",
                Direction::ToClient => "toclient",
            },
            length: frame.length,
            payload: Text(Base64(frame.bytes)),
            payload_printable: Text(Printable(frame.bytes)),
            complete: frame.complete,
        }
    }
}

/// The name that a protocol gives its frame: that of rules without the protocol, where this is not
/// a part of the name itself.
fn kind(name: &'static str, protocol: AppProtocol) -> &'static str {
    let name = name.strip_prefix("frame:").unwrap_or(name);
    let protocol = match protocol {
        AppProtocol::Http => "http1",
        AppProtocol::Doh2 => "http2",
        // Its own frames are `nfs.pdu`, those around them `rpc.pdu`.
        AppProtocol::Nfs if !name.starts_with("nfs.rpc.") => return name,
        other => other.name(),
    };
    let rest = name.strip_prefix(protocol);
    rest.and_then(|rest| rest.strip_prefix('.')).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Field;

    #[test]
    fn frames_are_called_as_their_protocol_calls_them() {
        for (field, protocol, expected) in [
            (Field::FrameDnsPdu, AppProtocol::Dns, "pdu"),
            (Field::FrameHttp1Request, AppProtocol::Http, "request"),
            (Field::FrameNbssPdu, AppProtocol::Smb, "nbss.pdu"),
            (Field::FrameNfsRpcPdu, AppProtocol::Nfs, "rpc.pdu"),
            (Field::FrameNfsPdu, AppProtocol::Nfs, "nfs.pdu"),
            (Field::FrameEnipItem, AppProtocol::Enip, "enip.item"),
            (Field::FrameStream, AppProtocol::Tls, "stream"),
        ] {
            assert_eq!(kind(field.name(), protocol), expected);
        }
    }
}
