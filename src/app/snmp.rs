//! SNMP: versions 1 (RFC 1157), 2c (RFC 3416) and 3 (RFC 3412, 3414) over UDP. A datagram is a
//! transaction. What version 3 encrypts stays unread.

use super::ber::{self, tag};
use super::field::{Field, Progress};
use super::output::{AppEvent, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use crate::packet::Direction;
use std::io::Write;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Snmp,
    probe,
    over: &[Transport::Udp],
    fields: &[
        Field::SnmpVersion,
        Field::SnmpPduType,
        Field::SnmpCommunity,
        Field::SnmpUsm,
        Field::SnmpTrapType,
        Field::SnmpTrapOid,
        Field::SnmpTrapAddress,
    ],
    events: &[
        "malformed_data",
        "unknown_security_model",
        "version_mismatch",
    ],
};

const MALFORMED: AppEvent = AppEvent::of(AppProtocol::Snmp, 0);
const UNKNOWN_SECURITY: AppEvent = AppEvent::of(AppProtocol::Snmp, 1);
const VERSION_MISMATCH: AppEvent = AppEvent::of(AppProtocol::Snmp, 2);

/// Agents and those who receive traps.
const PORTS: [u16; 2] = [161, 162];
/// Security model of version 3 that carries user names (RFC 3411 section 5).
const USM: u64 = 3;
/// The flag of encrypted data (RFC 3412 section 6.4).
const ENCRYPTED: u8 = 2;
/// PDU tag of version 1's trap.
const TRAP_V1: u8 = 4;
/// Tag of an address (RFC 2578 section 7.1.5).
const ADDRESS: u8 = 0x40;
/// Variables of a PDU whose names are told.
const VARIABLES_MAX: usize = 64;
/// Numbers of an OID that are shown.
const ARCS_MAX: usize = 128;

fn probe(probe: &Probe<'_>) -> Guess {
    match PORTS.contains(&probe.server_port) && version_of(probe.bytes).is_some() {
        true => Guess::Yes,
        false => Guess::No,
    }
}

/// The version that a message claims, 1 to 3.
fn version_of(bytes: &[u8]) -> Option<u64> {
    let mut rest = bytes;
    let mut message = ber::take(&mut rest, tag::SEQUENCE)?;
    let version = ber::take_number(&mut message)?;
    let mut parts = 1;
    // No message has more parts.
    while parts < 5
        && let Ok((_, rest)) = ber::read(message)
    {
        message = rest;
        parts += 1;
    }
    match (version, parts) {
        (0 | 1, 3) => Some(version + 1),
        (3, 4) => Some(3),
        _ => None,
    }
}

/// Remembers the flow's version.
#[derive(Debug, Default)]
pub struct Snmp {
    version: u64,
}

impl Parse for Snmp {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let (bytes, direction) = (input.bytes, input.direction);
        if bytes.is_empty() {
            return Ok(Taken::all(0));
        }
        let mut rest = bytes;
        let message = ber::take(&mut rest, tag::SEQUENCE);
        let (Some(mut message), Some(version)) = (message, version_of(bytes)) else {
            out.event_of_last(direction, MALFORMED);
            out.broken();
            return Ok(Taken::all(bytes.len()));
        };
        if self.version == 0 {
            self.version = version;
        }
        let tx = out.open_one_way(direction);
        out.number(tx, Field::SnmpVersion, direction, self.version);
        if self.version != version {
            out.event(tx, direction, VERSION_MISMATCH);
        }
        let whole = match version {
            3 => read_v3(&mut message, tx, direction, out),
            _ => read_v2(&mut message, tx, direction, out),
        };
        if whole.is_none() {
            out.event(tx, direction, MALFORMED);
        }
        out.progress(tx, direction, Progress::Head);
        out.complete(tx);
        Ok(Taken::all(bytes.len()))
    }
}

/// Versions 1 and 2c: version, community, PDU.
fn read_v2(
    message: &mut &[u8],
    tx: TxId,
    direction: Direction,
    out: &mut Output<'_>,
) -> Option<()> {
    ber::take_number(message)?;
    let community = ber::take(message, tag::OCTETS)?;
    out.field(tx, Field::SnmpCommunity, direction, community);
    read_pdu(message, tx, direction, out)
}

/// Version 3: version, header, security parameters, data (RFC 3412 section 6).
fn read_v3(
    message: &mut &[u8],
    tx: TxId,
    direction: Direction,
    out: &mut Output<'_>,
) -> Option<()> {
    ber::take_number(message)?;
    let mut header = ber::take(message, tag::SEQUENCE)?;
    ber::take_number(&mut header)?;
    ber::take_number(&mut header)?;
    let flags = ber::take(&mut header, tag::OCTETS)?;
    let model = ber::take_number(&mut header)?;
    let mut parameters = ber::take(message, tag::OCTETS)?;
    if model == USM {
        // RFC 3414 section 2.4.
        let mut parameters = ber::take(&mut parameters, tag::SEQUENCE)?;
        ber::take(&mut parameters, tag::OCTETS)?;
        ber::take_number(&mut parameters)?;
        ber::take_number(&mut parameters)?;
        let user = ber::take(&mut parameters, tag::OCTETS)?;
        out.field(tx, Field::SnmpUsm, direction, user);
    } else {
        out.event(tx, direction, UNKNOWN_SECURITY);
    }
    if flags.first().is_some_and(|flags| flags & ENCRYPTED != 0) {
        out.number_for_events(tx, Field::SnmpEncrypted, direction, 1);
        return Some(());
    }
    let mut scoped = ber::take(message, tag::SEQUENCE)?;
    ber::take(&mut scoped, tag::OCTETS)?;
    ber::take(&mut scoped, tag::OCTETS)?;
    read_pdu(&mut scoped, tx, direction, out)
}

fn read_pdu(
    message: &mut &[u8],
    tx: TxId,
    direction: Direction,
    out: &mut Output<'_>,
) -> Option<()> {
    let (pdu, _) = ber::read(message).ok()?;
    if pdu.tag & 0xe0 != 0xa0 {
        return None;
    }
    let kind = pdu.tag & 0x1f;
    out.number(tx, Field::SnmpPduType, direction, u64::from(kind));
    if kind != TRAP_V1 {
        let _ = tell_variables(pdu.content, tx, direction, out);
        return Some(());
    }
    let mut trap = pdu.content;
    let oid = ber::take(&mut trap, tag::OID)?;
    let address = ber::take(&mut trap, ADDRESS)?;
    let generic = ber::take_number(&mut trap)?;
    out.number(tx, Field::SnmpTrapType, direction, generic);
    out.shared.scratch.clear();
    write_oid(oid, &mut out.shared.scratch);
    out.field_of_scratch(tx, Field::SnmpTrapOid, direction);
    if let [a, b, c, d] = address {
        out.shared.scratch.clear();
        // Writing to a vector with room does not fail.
        write!(out.shared.scratch, "{a}.{b}.{c}.{d}").unwrap_or_default();
        out.field_of_scratch(tx, Field::SnmpTrapAddress, direction);
    }
    // The specific trap and the time of it.
    if ber::take_number(&mut trap).is_some() && ber::read(trap).is_ok() {
        let (_, list) = ber::read(trap).ok()?;
        let _ = tell_names(list, tx, direction, out);
    }
    Some(())
}

/// For events: the error and the names of the variables of any PDU but version 1's trap (RFC 3416
/// section 3).
fn tell_variables(pdu: &[u8], tx: TxId, direction: Direction, out: &mut Output<'_>) -> Option<()> {
    let mut rest = pdu;
    ber::take_number(&mut rest)?;
    let error = ber::take_number(&mut rest)?;
    ber::take_number(&mut rest)?;
    if error != 0 {
        out.number_for_events(tx, Field::SnmpError, direction, error);
    }
    tell_names(rest, tx, direction, out)
}

fn tell_names(list: &[u8], tx: TxId, direction: Direction, out: &mut Output<'_>) -> Option<()> {
    if !out.wants(Field::SnmpVar) {
        return None;
    }
    let mut rest = list;
    let mut list = ber::take(&mut rest, tag::SEQUENCE)?;
    for _ in 0..VARIABLES_MAX {
        let mut variable = ber::take(&mut list, tag::SEQUENCE)?;
        let name = ber::take(&mut variable, tag::OID)?;
        out.shared.scratch.clear();
        write_oid(name, &mut out.shared.scratch);
        out.field_of_scratch(tx, Field::SnmpVar, direction);
    }
    Some(())
}

/// An object identifier in numbers with dots (X.690 section 8.19).
fn write_oid(oid: &[u8], to: &mut Vec<u8>) {
    let mut value = 0u64;
    let mut arcs = 0;
    for byte in oid {
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if arcs >= ARCS_MAX {
            return;
        }
        let written = match arcs {
            0 => {
                let first = (value / 40).min(2);
                write!(to, "{first}.{}", value - 40 * first)
            }
            _ => write!(to, ".{value}"),
        };
        written.unwrap_or_default();
        arcs += 1;
        value = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, for_events, run, survives_damage};
    use super::*;
    use crate::packet::Direction::ToServer;

    const PLACE: Place = Place {
        transport: Transport::Udp,
        server_port: 161,
    };

    #[test]
    fn a_request_of_version_2() {
        // version 1 (2c), community "public", GetNextRequest with an empty list.
        let request = b"\x30\x18\x02\x01\x01\x04\x06public\xa1\x0b\x02\x01\x07\x02\x01\x00\x02\x01\x00\x30\x00";
        let (protocol, lines) = run(PLACE, &[(ToServer, request)]);
        assert_eq!(protocol, AppProtocol::Snmp);
        assert_eq!(
            lines,
            [
                "tx 0 ToServer snmp.version 2",
                "tx 0 ToServer snmp.community \"public\"",
                "tx 0 ToServer snmp.pdu_type 1",
            ]
        );
    }

    #[test]
    fn names_of_variables_are_told() {
        // Response with noSuchName and the variable 1.3.6.1.2.1.
        let answer = b"\x30\x23\x02\x01\x01\x04\x06\x70\x75\x62\x6c\x69\x63\xa2\x16\x02\x01\x07\x02\x01\x02\x02\
            \x01\x01\x30\x0b\x30\x09\x06\x05\x2b\x06\x01\x02\x01\x05\x00";
        let lines = for_events(PLACE, &[(ToServer, answer)]);
        let told = [
            "tx 0 ToServer -snmp.error 2",
            "tx 0 ToServer -snmp.var \"1.3.6.1.2.1\"",
        ];
        assert_eq!(lines, told);
    }

    #[test]
    fn a_trap_of_version_1() {
        // enterprise 1.3.6.1.4.1.9, agent 10.0.0.1, linkDown.
        let trap = b"\x30\x21\x02\x01\x00\x04\x01p\xa4\x19\x06\x06\x2b\x06\x01\x04\x01\x09\
            \x40\x04\x0a\x00\x00\x01\x02\x01\x02\x02\x01\x00\x43\x01\x00\x30\x00";
        survives_damage(PLACE, &[(ToServer, trap)], 200);
        let (_, lines) = run(PLACE, &[(ToServer, trap)]);
        assert_eq!(
            lines,
            [
                "tx 0 ToServer snmp.version 1",
                "tx 0 ToServer snmp.community \"p\"",
                "tx 0 ToServer snmp.pdu_type 4",
                "tx 0 ToServer snmp.trap_type 2",
                "tx 0 ToServer snmp.trap_oid \"1.3.6.1.4.1.9\"",
                "tx 0 ToServer snmp.trap_address \"10.0.0.1\"",
            ]
        );
    }
}
