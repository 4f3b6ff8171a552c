//! X.509 against x509-parser, SSH against ssh-parser, SNMP against snmp-parser, NTP against
//! ntp-parser, on the shared captures.
//!
//! What differs and why is told.rs's.

use sluice::app::{AppProtocol, Field};
use sluice::packet::Direction::{self, ToClient, ToServer};

use super::captured::{self, Conversation};
use super::told::{self, Explained};
use super::{Found, apps, common, ours};

/// What was compared, and what came of it.
#[derive(Default)]
struct Tally {
    same: usize,
    explained: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn note<T: PartialEq + std::fmt::Debug>(
        &mut self,
        list: &[Explained],
        name: &str,
        ours: &T,
        theirs: &T,
    ) {
        if ours == theirs {
            self.same += 1;
        } else if told::why(list, name).is_some() {
            self.explained += 1;
        } else {
            self.wrong
                .push(format!("{name}: {ours:?}, theirs {theirs:?}"));
        }
    }

    fn settle(self, what: &str, list: &[Explained]) {
        println!(
            "{} {what} are the same, {} differ as explained",
            self.same, self.explained
        );
        assert!(self.same > 0, "nothing was compared");
        assert!(
            self.wrong.is_empty(),
            "{} {what}:\n{}",
            self.wrong.len(),
            self.wrong.join("\n")
        );
        told::all_are_needed(list, self.explained);
    }
}

fn first(found: &[Found], way: Direction, wanted: Field) -> Option<String> {
    let mut of_field = found
        .iter()
        .filter(|(_, direction, field, _)| *direction == way && *field == wanted);
    of_field
        .next()
        .map(|(.., value)| value.escape_ascii().to_string())
}

/// Serial number and both ends of the validity, by x509-parser.
fn certificate_of_theirs(der: &[u8]) -> Option<[String; 3]> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let serial = certificate.raw_serial().iter();
    let serial: Vec<String> = serial.map(|byte| format!("{byte:02X}")).collect();
    let validity = certificate.validity();
    Some([
        serial.join(":"),
        validity.not_before.timestamp().to_string(),
        validity.not_after.timestamp().to_string(),
    ])
}

#[test]
fn certificates_of_captures_are_those_of_x509_parser() {
    let Some(root) = common::shared("certificates_of_captures_are_those_of_x509_parser") else {
        return;
    };
    const TOLD: [Field; 3] = [
        Field::TlsCertSerial,
        Field::TlsCertNotbefore,
        Field::TlsCertNotafter,
    ];
    let fields = [TOLD[0], TOLD[1], TOLD[2], Field::TlsCerts];
    let (mut apps, mut tally) = (apps(), Tally::default());
    captured::each_stream(&root, |conversation| {
        let (protocol, found) = ours(&mut apps, conversation, &fields);
        if protocol != AppProtocol::Tls {
            return;
        }
        let der = found
            .iter()
            .find(|(_, way, field, _)| *way == ToClient && *field == Field::TlsCerts);
        let Some(theirs) = der.and_then(|(.., der)| certificate_of_theirs(der)) else {
            return;
        };
        let mine = TOLD.map(|field| first(&found, ToClient, field).unwrap_or_default());
        tally.note(&told::X509, &conversation.name, &mine, &theirs);
    });
    tally.settle("certificates", &told::X509);
}

#[test]
fn versions_of_ssh_in_captures_are_those_of_ssh_parser() {
    let Some(root) = common::shared("versions_of_ssh_in_captures_are_those_of_ssh_parser") else {
        return;
    };
    let (mut apps, mut tally) = (apps(), Tally::default());
    captured::each_stream(&root, |conversation| {
        let fields = [Field::SshProto, Field::SshSoftware];
        let (protocol, found) = ours(&mut apps, conversation, &fields);
        if protocol != AppProtocol::Ssh {
            return;
        }
        for way in [ToServer, ToClient] {
            let mine = conversation.pieces.iter().filter(|(from, _)| *from == way);
            let bytes: Vec<u8> = mine.flat_map(|(_, bytes)| bytes.iter().copied()).collect();
            let Ok((_, (_, version))) = ssh_parser::parse_ssh_identification(&bytes) else {
                continue;
            };
            let theirs = [version.proto, version.software].map(|t| t.escape_ascii().to_string());
            let mine = fields.map(|field| first(&found, way, field).unwrap_or_default());
            tally.note(&told::SSH, &conversation.name, &mine, &theirs);
        }
    });
    tally.settle("versions", &told::SSH);
}

/// Version, community and operation, by snmp-parser.
fn snmp_of_theirs(message: &[u8]) -> Option<[String; 3]> {
    use snmp_parser::{SnmpPdu, parse_snmp_v1, parse_snmp_v2c};
    let (_, message) = parse_snmp_v1(message)
        .or_else(|_| parse_snmp_v2c(message))
        .ok()?;
    let operation = match &message.pdu {
        SnmpPdu::Generic(pdu) => pdu.pdu_type.0,
        SnmpPdu::Bulk(_) => 5,
        SnmpPdu::TrapV1(_) => 4,
    };
    let community = message.community.as_bytes().escape_ascii().to_string();
    // The number on the wire is one less than the version's.
    let version = message.version + 1;
    Some([version.to_string(), community, operation.to_string()])
}

#[test]
fn snmp_of_captures_is_that_of_snmp_parser() {
    let fields = [Field::SnmpVersion, Field::SnmpCommunity, Field::SnmpPduType];
    let peer = (AppProtocol::Snmp, fields, snmp_of_theirs as Theirs);
    over_datagrams(
        "snmp_of_captures",
        "messages",
        &[161, 162],
        &told::SNMP,
        peer,
    );
}

/// Version, mode and stratum, by ntp-parser.
fn ntp_of_theirs(message: &[u8]) -> Option<[String; 3]> {
    let (_, packet) = ntp_parser::parse_ntp(message).ok()?;
    let (version, mode, stratum) = match packet {
        ntp_parser::NtpPacket::V3(p) => (p.version, p.mode.0, p.stratum),
        ntp_parser::NtpPacket::V4(p) => (p.version, p.mode.0, p.stratum),
    };
    Some([version, mode, stratum].map(|number| number.to_string()))
}

#[test]
fn ntp_of_captures_is_that_of_ntp_parser() {
    let fields = [Field::NtpVersion, Field::NtpMode, Field::NtpStratum];
    let peer = (AppProtocol::Ntp, fields, ntp_of_theirs as Theirs);
    over_datagrams("ntp_of_captures", "packets", &[123], &told::NTP, peer);
}

/// What another parser finds in a message.
type Theirs = fn(&[u8]) -> Option<[String; 3]>;

/// Compares fields of every datagram of these ports, whoever sent it, with what another parser finds.
fn over_datagrams(
    test: &str,
    what: &str,
    ports: &[u16],
    list: &[Explained],
    (protocol, fields, theirs): (AppProtocol, [Field; 3], Theirs),
) {
    let Some(root) = common::shared(test) else {
        return;
    };
    let (mut apps, mut tally) = (apps(), Tally::default());
    let mut compare = |talk: &Conversation| {
        let (way, message) = &talk.pieces[0];
        let (spoken, found) = ours(&mut apps, talk, &fields);
        let Some(theirs) = theirs(message).filter(|_| spoken == protocol) else {
            return;
        };
        let mine = fields.map(|field| first(&found, *way, field).unwrap_or_default());
        tally.note(list, &talk.name, &mine, &theirs);
    };
    for port in ports {
        captured::each_datagram_by(&root, *port, |_| None, &mut compare);
    }
    tally.settle(what, list);
}
