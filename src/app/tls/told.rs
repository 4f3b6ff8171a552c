//! What the hellos of a TLS handshake become: names, protocols, fingerprints, and whether an earlier
//! session goes on. Cutting them up is hello.rs's.

use super::fingerprint::{ja3_hash, ja3_text, ja4};
use super::hello::{Hello, Speaker};
use super::{Output, TLS_12, Tls, seen};
use crate::app::field::Field;
use crate::app::output::TxId;
use crate::packet::Direction;

impl Tls {
    /// A server that shows no certificate before it encrypts goes on with an earlier session
    /// (RFC 5246 section 7.3, RFC 5077 section 3.1).
    pub(super) fn tell_resumption(&mut self, direction: Direction, out: &mut Output<'_>) {
        let side = self.side(direction);
        let plain = side.seen & (seen::HELLO | seen::CERTIFICATE) == seen::HELLO;
        let known = plain && side.version <= TLS_12;
        if direction == Direction::ToClient && known && std::mem::take(&mut self.resumes) {
            out.number_for_events(self.tx, Field::TlsSessionResumed, direction, 1);
        }
    }

    /// FNV-1a of a session id is kept of the client's; a server that names the same goes on with it.
    pub(super) fn note_session(&mut self, hello: &Hello<'_>, speaker: Speaker) {
        let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        let hash = match hello.session {
            [] => 0,
            id => id.iter().fold(0x811c_9dc5, step).max(1),
        };
        match speaker {
            Speaker::Client => (self.session, self.resumes) = (hash, hello.ticket),
            Speaker::Server => self.resumes |= hash != 0 && hash == self.session,
        }
    }

    pub(super) fn tell_hello(&self, hello: &Hello<'_>, direction: Direction, out: &mut Output<'_>) {
        let tx = self.tx;
        if let (Some(sni), Direction::ToServer) = (hello.sni, direction) {
            out.field(tx, Field::TlsSni, direction, sni);
        }
        if out.wants(Field::TlsAlpn) {
            for name in hello.protocols() {
                out.field(tx, Field::TlsAlpn, direction, name);
            }
        }
        /// The bytes that once were the time.
        const TIME: usize = 4;
        if let Some((time, bytes)) = hello.random.split_at_checked(TIME) {
            for (field, value) in [
                (Field::TlsRandom, hello.random),
                (Field::TlsRandomTime, time),
                (Field::TlsRandomBytes, bytes),
            ] {
                if out.wants(field) {
                    out.field(tx, field, direction, value);
                }
            }
        }
    }
}

/// Tells the fingerprints of a hello; QUIC uses it too.
pub(in crate::app) fn fingerprints(
    tx: TxId,
    hello: &Hello<'_>,
    direction: Direction,
    quic: bool,
    out: &mut Output<'_>,
) {
    let (speaker, text, hash) = match direction {
        Direction::ToServer => (Speaker::Client, Field::Ja3String, Field::Ja3Hash),
        Direction::ToClient => (Speaker::Server, Field::Ja3sString, Field::Ja3sHash),
    };
    if out.wants(text) || out.wants(hash) {
        ja3_text(hello, speaker, quic, &mut out.shared.scratch);
        let sum = ja3_hash(&out.shared.scratch);
        out.field_of_scratch(tx, text, direction);
        out.field(tx, hash, direction, &sum);
    }
    if speaker == Speaker::Client && out.wants(Field::Ja4Hash) {
        out.field(tx, Field::Ja4Hash, direction, &ja4(hello, quic));
    }
}
