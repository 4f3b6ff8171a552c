//! What a flow speaks: the probes of all protocols over its first bytes, and what is odd about the
//! two directions (events of [`FLOW_EVENTS`], as Suricata's protocol detection raises them).

use super::super::output::{AppEvent, Limits, Shared};
use super::super::protocol::{AppProtocol, Description, Guess, Probe, Transport};
use super::super::registry::{DESCRIPTIONS, FLOW_EVENTS, Parser, description};
use super::{AppFlow, Apps, Field, PROBE_BYTES_MAX, Piece};
use crate::packet::Direction;

/// Places in [`FLOW_EVENTS`].
const MISMATCH: u8 = 0;
const WRONG_DIRECTION: u8 = 1;
const ONE_DIRECTION: u8 = 2;
const SKIPPED: u8 = 3;

const NO_TLS: u8 = 4;
const UNEXPECTED: u8 = 5;

const _: () = assert!(FLOW_EVENTS.len() > UNEXPECTED as usize);

/// Bytes of a direction that no probe knows, without any of the other one, after which the flow is
/// given up; with some of the other one twice as many. (Suricata's least; its limit grows with the
/// receiver's window.)
const UNKNOWN_BYTES_MAX: u32 = 100_000;

/// First bytes of a direction by which it is compared with the other one.
const BEGINNING: usize = 16;

/// The first bytes of a direction, however they are cut; full once they have been asked.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    bytes: [u8; BEGINNING],
    length: u8,
}

impl Beginning {
    pub(super) fn is_full(&self) -> bool {
        usize::from(self.length) >= BEGINNING
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = self.bytes.iter_mut().skip(usize::from(self.length));
        for (place, byte) in room.zip(bytes) {
            *place = *byte;
            self.length += 1;
        }
    }
}

impl Apps {
    /// Whether a flow's first bytes, which its first sender's are, are an answer: those of a server.
    /// Asked of protocols whose messages say which they are.
    pub fn is_answer(&self, piece: &Piece<'_>) -> bool {
        let limits = &self.shared.limits;
        let probe = Probe {
            transport: piece.transport,
            direction: piece.direction,
            bytes: piece.bytes,
            client_port: piece.client_port,
            server_port: piece.server_port,
            limits,
        };
        if let Some(protocol) = told_at_once(&probe).one() {
            // The first of DNS's flags, behind its identifier.
            let answers = probe.bytes.get(2).is_some_and(|flags| flags & 0x80 != 0);
            let of_dns = matches!(protocol, AppProtocol::Dns | AppProtocol::Llmnr);
            return probe.transport == Transport::Udp && of_dns && answers;
        }
        let other = Probe {
            direction: probe.direction.opposite(),
            client_port: probe.server_port,
            server_port: probe.client_port,
            ..probe
        };
        told_at_once(&other).one().is_some_and(says_its_side)
    }
}

impl AppFlow {
    /// Asks the probes; true once the protocol is known.
    #[inline(never)]
    pub(super) fn identify(
        &mut self,
        limits: &Limits,
        direction: Direction,
        bytes: &[u8],
        end: bool,
    ) -> bool {
        let way = direction.index();
        if bytes.is_empty() || self.failed[way] {
            return false;
        }
        let transport = self.transport.unwrap_or(Transport::Tcp);
        let probe = Probe {
            transport,
            direction,
            bytes,
            client_port: self.ports[0],
            server_port: self.ports[1],
            limits,
        };
        let off = limits.off[usize::from(transport == Transport::Udp)];
        let mut open = false;
        for (place, description) in DESCRIPTIONS.iter().enumerate() {
            let bit = 1u64 << (place % 64);
            let off = off & description.protocol.bit() != 0;
            if self.excluded[way] & bit != 0 || off || !description.over.contains(&transport) {
                continue;
            }
            match said_by(description, &probe) {
                // A datagram is whole: nothing that stands before it can still turn out otherwise.
                Guess::Yes if !open || transport == Transport::Udp => {
                    self.settle_on(description.protocol, direction, limits);
                    return true;
                }
                Guess::No => self.excluded[way] |= bit,
                // One that stands before it may still turn out to be the one.
                Guess::Yes | Guess::More => open = true,
            }
        }
        let most = end || bytes.len() >= PROBE_BYTES_MAX;
        if self.state.original != AppProtocol::Unknown && transport == Transport::Tcp {
            // Behind a change either side may be the first to tell, as long as there is more.
            if most {
                self.fail_changed(direction);
            }
            return false;
        }
        if !open || most || transport == Transport::Udp {
            self.failed[way] = true;
        }
        let [client, server] = self.failed;
        if client && (server || self.midstream) {
            self.state.protocol = AppProtocol::Failed;
            self.settle_sides(None);
        }
        false
    }

    /// The flow speaks it. TLS begins with its client: a server that speaks first speaks none.
    fn settle_on(&mut self, protocol: AppProtocol, direction: Direction, limits: &Limits) {
        let of_server = self.first == Some(Direction::ToClient) && !self.midstream;
        let is_first = self.state.original == AppProtocol::Unknown;
        if protocol == AppProtocol::Tls && of_server && is_first {
            self.tell(WRONG_DIRECTION, direction);
            self.state.protocol = AppProtocol::Failed;
            self.state.done = true;
            return;
        }
        self.state.protocol = protocol;
        self.parser = Parser::new(protocol);
        self.state.done = limits.told_only & protocol.bit() != 0;
        if !is_first {
            self.state.sides = [protocol; 2];
            self.state.changing = true;
            self.tell_unexpected(direction);
            return;
        }
        let other = direction.opposite();
        if let Some(side) = self.state.sides.get_mut(direction.index()) {
            *side = protocol;
        }
        self.state.show(direction);
        let spoke = self.beginnings[other.index()].is_full();
        match self.failed[other.index()] {
            true => self.of_none(other),
            // Its bytes, which told nothing yet, are no contradiction.
            false if spoke => {
                self.state.sides[other.index()] = protocol;
                self.state.show(other);
            }
            false => {}
        }
    }

    /// A flow that was to change gives no protocol away.
    #[cold]
    fn fail_changed(&mut self, direction: Direction) {
        self.state.protocol = AppProtocol::Failed;
        self.tell_unexpected(direction);
        self.settle_sides(None);
    }

    /// Tells of a flow that became something else than what was asked for.
    fn tell_unexpected(&mut self, direction: Direction) {
        let awaited = self.state.awaited;
        if awaited == AppProtocol::Unknown || awaited == self.state.protocol {
            return;
        }
        self.tell(UNEXPECTED, direction);
        if awaited == AppProtocol::Tls {
            self.tell(NO_TLS, direction);
        }
    }

    /// Gives a stream up that goes on and on without telling what it is.
    pub(super) fn give_up_long(&mut self, piece: &Piece<'_>) {
        if self.state.protocol != AppProtocol::Unknown || piece.transport != Transport::Tcp {
            return;
        }
        let way = piece.direction.index();
        let new = (piece.bytes.len() as u32).saturating_add(piece.gap);
        let seen = self.unknown[way].saturating_add(new);
        self.unknown[way] = seen;
        let alone = self.unknown[1 - way] == 0 && self.failed[way];
        let most = UNKNOWN_BYTES_MAX * if alone { 1 } else { 2 };
        if seen > most {
            self.tell(SKIPPED, piece.direction);
            self.state.protocol = AppProtocol::Failed;
        }
    }

    /// A direction's own bytes are of no protocol; the other direction tells it alone.
    fn of_none(&mut self, direction: Direction) {
        if let Some(side) = self.state.sides.get_mut(direction.index()) {
            *side = AppProtocol::Failed;
        }
        self.state.show(direction);
        // Where a flow's beginning was not seen, what is seen first tells nothing.
        let seen = !self.midstream && self.gap[direction.index()] == 0;
        if seen && self.transport == Some(Transport::Tcp) {
            self.tell(ONE_DIRECTION, direction);
        }
    }

    /// Where nothing more is told of a direction (its end, a flow that no parser knows or follows
    /// any longer) it is what the flow is.
    pub(super) fn settle_sides(&mut self, ended: Option<Direction>) {
        let protocol = self.state.protocol;
        let over = protocol == AppProtocol::Failed || self.state.done;
        for direction in [Direction::ToServer, Direction::ToClient] {
            let side = &mut self.state.sides[direction.index()];
            if *side == AppProtocol::Unknown && (over || ended == Some(direction)) {
                *side = protocol;
                if over {
                    self.state.show(direction);
                }
            }
        }
    }

    /// Tells of a direction whose first bytes are of another protocol than the other direction's,
    /// or of none.
    #[inline(always)]
    pub(super) fn compare(&mut self, shared: &Shared, piece: &Piece<'_>) {
        if piece.bytes.is_empty() {
            return;
        }
        self.first.get_or_insert(piece.direction);
        let beginning = self.beginnings.get(piece.direction.index());
        if beginning.is_some_and(|beginning| !beginning.is_full()) {
            self.compare_beginning(shared, piece);
        }
    }

    #[cold]
    #[inline(never)]
    fn compare_beginning(&mut self, shared: &Shared, piece: &Piece<'_>) {
        let (direction, bytes) = (piece.direction, piece.bytes);
        let protocol = self.state.protocol;
        let known = !matches!(protocol, AppProtocol::Unknown | AppProtocol::Failed);
        let same = self.state.original == AppProtocol::Unknown && self.state.expected.is_none();
        let way = direction.index();
        let Some(beginning) = self.beginnings.get_mut(way) else {
            return;
        };
        let of_stream = self.transport == Some(Transport::Tcp);
        let asked = of_stream && piece.gap == 0 && shared.wants(Field::AppLayerEvent);
        // What came before the protocol was known is asked by `identify`.
        if !known || !same || !asked {
            beginning.length = BEGINNING as u8;
            if let Some(side) = self.state.sides.get_mut(way)
                && known
                && *side == AppProtocol::Unknown
            {
                *side = protocol;
                self.state.show(direction);
            }
            return;
        }
        beginning.take(bytes);
        let full = beginning.is_full();
        let probe = Probe {
            transport: Transport::Tcp,
            direction,
            bytes: beginning.bytes(),
            client_port: self.ports[0],
            server_port: self.ports[1],
            limits: &shared.limits,
        };
        let told = match description(protocol).map(|description| said_by(description, &probe)) {
            Some(Guess::No) if direction == Direction::ToClient && tells_client_alone(protocol) => {
                Told::One(protocol)
            }
            Some(Guess::No) => told_at_once(&probe),
            Some(Guess::Yes) => Told::One(protocol),
            _ if full => Told::One(protocol),
            _ => Told::More,
        };
        match told {
            Told::More | Told::None if !full => return,
            Told::One(told) => {
                self.state.sides[way] = told;
                self.state.show(direction);
                if told != protocol {
                    self.tell(MISMATCH, direction);
                }
            }
            Told::More | Told::None => self.of_none(direction),
        }
        if let Some(beginning) = self.beginnings.get_mut(way) {
            beginning.length = BEGINNING as u8;
        }
    }

    /// An event of the flow.
    fn tell(&mut self, place: u8, direction: Direction) {
        let event = AppEvent::of(AppProtocol::Unknown, place);
        self.state.tell(event, direction);
    }
}

/// What the probes tell by some bytes alone.
enum Told {
    One(AppProtocol),
    /// More bytes may tell.
    More,
    /// None knows them.
    None,
}

impl Told {
    fn one(self) -> Option<AppProtocol> {
        match self {
            Told::One(protocol) => Some(protocol),
            Told::More | Told::None => None,
        }
    }
}

/// What a probe says, with ports as the settings give them.
fn said_by(description: &Description, probe: &Probe<'_>) -> Guess {
    if probe.limits.parsers.moved.is_empty() {
        return (description.probe)(probe);
    }
    let placed = probe.limits.parsers.placed(description.protocol, probe);
    (description.probe)(&placed)
}

/// The first probe that knows these bytes, or may yet, speaks for all.
fn told_at_once(probe: &Probe<'_>) -> Told {
    let fitting = DESCRIPTIONS
        .iter()
        .filter(|description| description.over.contains(&probe.transport));
    for description in fitting {
        match said_by(description, probe) {
            Guess::Yes => return Told::One(description.protocol),
            Guess::More => return Told::More,
            Guess::No => {}
        }
    }
    Told::None
}

/// Protocols whose probe knows a client's first bytes alone (RDP's: away from its port).
fn tells_client_alone(protocol: AppProtocol) -> bool {
    use AppProtocol as P;
    matches!(protocol, P::Nfs | P::Pgsql | P::Rdp)
}

/// Protocols whose messages show whether they are a client's or a server's.
fn says_its_side(protocol: AppProtocol) -> bool {
    use AppProtocol as P;
    !matches!(
        protocol,
        P::Unknown
            | P::Failed
            | P::Ntp
            | P::Snmp
            | P::Dhcp
            | P::Tftp
            | P::Krb5
            | P::Rdp
            | P::Mdns
            | P::Quic
            | P::Enip
            | P::BittorrentDht
            | P::Telnet
            | P::FtpData
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Place, apps_set, run_missing};
    use super::*;
    use crate::packet::Direction::{ToClient, ToServer};

    const ALONE: &str = "applayer_detect_protocol_only_one_direction";
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    /// What the flow and its sides are after these pieces.
    fn sides(
        apps: &mut Apps,
        port: u16,
        talk: &[(Direction, &[u8])],
    ) -> (AppProtocol, [AppProtocol; 2]) {
        let place = Place {
            transport: Transport::Tcp,
            server_port: port,
        };
        let flow = apps
            .open(&place.piece(ToServer, &[]))
            .expect("there is room");
        for (direction, bytes) in talk {
            apps.feed(flow, &place.piece(*direction, bytes));
        }
        let state = apps.state(flow).expect("it is open");
        (state.protocol, state.sides)
    }

    #[test]
    fn a_side_whose_first_bytes_told_nothing_yet_is_what_the_other_tells() {
        let banner: &[u8] = b"220 mail.example ready\r\n";
        let talk = [(ToClient, banner), (ToServer, b"EHLO a.example\r\n")];
        let (protocol, both) = sides(&mut apps_set(&[]), 2525, &talk);
        assert_eq!(protocol, AppProtocol::Smtp);
        assert_eq!(both, [AppProtocol::Smtp; 2]);
    }

    #[test]
    fn a_flow_that_is_followed_no_further_is_one_thing_on_both_sides() {
        let talk: [(_, &[u8]); 1] = [(ToServer, b"GET / HTTP/1.1\r\n")];
        let of = |settings: &[_]| sides(&mut apps_set(settings), 80, &talk);
        let (http, unknown) = (AppProtocol::Http, AppProtocol::Unknown);
        assert_eq!(of(&[]), (http, [http, unknown]));
        let told_only = [("app-layer.protocols.http.enabled", "detection-only")];
        assert_eq!(of(&told_only), (http, [http; 2]));
    }

    #[test]
    fn a_server_that_no_probe_knows_is_what_its_client_is() {
        let mut call = vec![0x80, 0, 0, 40];
        for word in [7u32, 0, 2, 100_003, 4, 0, 0, 0, 0, 0] {
            call.extend(word.to_be_bytes());
        }
        let mut reply = vec![0x80, 0, 0, 24];
        for word in [7u32, 1, 0, 0, 0, 0] {
            reply.extend(word.to_be_bytes());
        }
        let talk: [(_, &[u8]); 2] = [(ToServer, &call), (ToClient, &reply)];
        let (nfs, both) = sides(&mut apps_set(&[]), 2049, &talk);
        assert_eq!((nfs, both), (AppProtocol::Nfs, [AppProtocol::Nfs; 2]));
    }

    #[test]
    fn what_is_lost_at_the_beginning_is_no_direction_of_no_protocol() {
        let place = Place {
            transport: Transport::Tcp,
            server_port: 80,
        };
        let told = |pieces: &[_]| run_missing(place, &[], pieces).join("\n").contains(ALONE);
        let get: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let odd: &[u8] = b"nothing that any probe knows, and long";
        assert!(told(&[(ToServer, 0, get), (ToClient, 0, odd)]));
        assert!(!told(&[(ToServer, 0, get), (ToClient, 0, OK)]));
        assert!(!told(&[(ToServer, 0, get), (ToClient, 9, odd)]));
        assert!(told(&[(ToServer, 0, odd), (ToClient, 0, OK)]));
        assert!(!told(&[(ToServer, 9, odd), (ToClient, 0, OK)]));
    }
}
