//! The certificates of a TLS handshake (RFC 5246 7.4.2): what of them becomes fields.

use super::x509::{Certificate, Fault, write_name};
use super::{Output, Tls, event, seen};
use crate::app::field::Field;
use crate::app::output::TxId;
use crate::app::protocol::Input;
use crate::app::reader::{HEX, Reader, hex};
use crate::packet::Direction;
use sha1::{Digest, Sha1};

impl Tls {
    /// The message with the whole chain.
    pub(super) fn certificates(&mut self, body: &[u8], input: &Input<'_>, out: &mut Output<'_>) {
        let direction = input.direction;
        let side = self.side(direction);
        let again = side.seen & seen::CERTIFICATE != 0;
        side.seen |= seen::CERTIFICATE;
        let mut reader = Reader::new(body);
        let list = reader.u24().and_then(|length| reader.take(length as usize));
        let Some(list) = list.filter(|_| !again) else {
            return;
        };
        let mut reader = Reader::new(list);
        let (mut first, mut count) = (true, 0u64);
        // Every turn takes three bytes at least.
        while !reader.is_empty() {
            let bytes = reader.u24().and_then(|length| reader.take(length as usize));
            let Some(bytes) = bytes else {
                self.event(out, direction, event::CERTIFICATE);
                break;
            };
            if std::mem::take(&mut first) && !self.certificate(bytes, input, out) {
                continue;
            }
            count += 1;
            if out.wants(Field::TlsCerts) {
                out.field(self.tx, Field::TlsCerts, direction, bytes);
            }
        }
        if direction == Direction::ToClient {
            out.number(self.tx, Field::TlsCertChainLen, direction, count);
        }
    }

    /// The certificate of the speaker. False: it cannot be read.
    fn certificate(&mut self, bytes: &[u8], input: &Input<'_>, out: &mut Output<'_>) -> bool {
        let (tx, direction) = (self.tx, input.direction);
        let certificate = match Certificate::read(bytes) {
            Ok(certificate) => certificate,
            Err(fault) => {
                self.event(out, direction, fault_event(fault));
                return false;
            }
        };
        for (field, name) in [
            (Field::TlsCertSubject, certificate.subject),
            (Field::TlsCertIssuer, certificate.issuer),
        ] {
            if out.wants(field) {
                write_name(&mut out.shared.scratch, name);
                out.field_of_scratch(tx, field, direction);
            }
        }
        if direction == Direction::ToClient && out.wants(Field::TlsSubjectaltname) {
            for name in certificate.names() {
                name.write(&mut out.shared.scratch);
                out.field_of_scratch(tx, Field::TlsSubjectaltname, direction);
            }
        }
        if out.wants(Field::TlsCertSerial) {
            certificate.write_serial(&mut out.shared.scratch);
            out.field_of_scratch(tx, Field::TlsCertSerial, direction);
        }
        if out.wants(Field::TlsCertFingerprint) {
            let text = print_sha1(bytes);
            out.field(tx, Field::TlsCertFingerprint, direction, &text);
        }
        tell_validity(tx, &certificate, input, out);
        true
    }
}

fn tell_validity(tx: TxId, certificate: &Certificate<'_>, input: &Input<'_>, out: &mut Output<'_>) {
    const NANOSECONDS: u64 = 1_000_000_000;
    let direction = input.direction;
    // The first second of 1970 counts as no date; what is before it is early, whatever a rule asks.
    for (field, date) in [
        (Field::TlsCertNotbefore, certificate.not_before),
        (Field::TlsCertNotafter, certificate.not_after),
    ] {
        if date != 0 {
            let date = u64::try_from(date).unwrap_or(1);
            out.number(tx, field, direction, date);
        }
    }
    if certificate.not_after != 0 {
        let now = (input.time_ns / NANOSECONDS) as i64;
        let expired = now > certificate.not_after;
        out.number(tx, Field::TlsCertExpired, direction, u64::from(expired));
        out.number(tx, Field::TlsCertValid, direction, u64::from(!expired));
    }
}

/// SHA-1 as `ab:cd:...`.
fn print_sha1(bytes: &[u8]) -> [u8; 59] {
    let sum = Sha1::digest(bytes);
    let mut text = [b':'; 59];
    for (place, byte) in text.chunks_mut(3).zip(sum.iter()) {
        for (to, digit) in place.iter_mut().zip(hex(*byte, HEX)) {
            *to = digit;
        }
    }
    text
}

fn fault_event(fault: Fault) -> u8 {
    match fault {
        Fault::Certificate => event::CERTIFICATE,
        Fault::Length => event::CERTIFICATE_LENGTH,
        Fault::Version => event::CERTIFICATE_VERSION,
        Fault::Serial => event::CERTIFICATE_SERIAL,
        Fault::Algorithm => event::CERTIFICATE_ALGORITHM,
        Fault::Name => event::CERTIFICATE_NAME,
        Fault::Date => event::CERTIFICATE_DATE,
        Fault::Extensions => event::CERTIFICATE_EXTENSIONS,
        Fault::Der => event::CERTIFICATE_DER,
    }
}
