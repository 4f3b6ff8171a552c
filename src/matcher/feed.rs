//! The match stage and the parsers of app/: shows them the bytes of a flow, lets go of transactions
//! that are done with (and tells of them), and closes flows. Rules are app.rs's.

use super::header::Packet;
use super::{DetectionAccess, FlowMark, MatchStage, files, state};
use crate::app::transaction::NONE;
use crate::app::{AppProtocol, Apps, Field, Heap, Piece, Transaction, Transport, record};
use crate::counters::Counter;
use crate::event::{Emit, Event, EventKind, Listener, Outer, Spoken};
use crate::packet::{Context, Direction, Kind, flag};

/// What a flow speaks.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Speech {
    pub now: AppProtocol,
    /// What it was known to speak before the packet.
    pub before: AppProtocol,
    /// What it spoke before that changed (STARTTLS, CONNECT, upgrades).
    pub original: AppProtocol,
    /// What the first bytes of each direction tell.
    pub sides: [AppProtocol; 2],
    /// Directions whose first bytes told it.
    pub shown: [bool; 2],
}

impl Speech {
    /// A packet, to those who ask what its flow speaks.
    pub fn packet<'a>(&self, context: &'a Context, bytes: &'a [u8], told: bool) -> Packet<'a> {
        Packet {
            context,
            bytes,
            app: self.now,
            original: self.original,
            sides: self.sides,
            app_told: told,
        }
    }

    /// Of a flow that no parser knows.
    const FAILED: Speech = Speech {
        now: AppProtocol::Failed,
        before: AppProtocol::Failed,
        original: AppProtocol::Unknown,
        sides: [AppProtocol::Failed; 2],
        shown: [true; 2],
    };
}

/// IP protocol numbers.
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

impl<D: DetectionAccess> MatchStage<D> {
    /// What the flow of a packet speaks, as far as its parser knows.
    pub(super) fn speech(&self, mark: &FlowMark) -> Speech {
        if mark.slab == state::NONE {
            return Speech::default();
        }
        if self.slabs.has_failed(mark.slab) {
            return Speech::FAILED;
        }
        let state = self.apps.as_ref();
        let state = state.and_then(|apps| apps.state(self.slabs.app(mark.slab)));
        state.map_or(Speech::default(), |state| Speech {
            now: state.speaks(),
            before: state.speaks(),
            original: state.original,
            sides: state.sides,
            shown: state.shown.map(|is| is == Some(true)),
        })
    }

    /// What a flow spoke so far, for events.
    pub(super) fn spoken(&self, slab: u32) -> Spoken {
        let state = self.apps.as_ref().filter(|_| slab != state::NONE);
        let state = state.and_then(|apps| apps.state(self.slabs.app(slab)));
        state.map_or(Spoken::default(), |state| Spoken {
            sides: state.sides.map(|side| side as u8),
            original: state.original as u8,
            expected: state.awaited as u8,
            transactions: state.opened(),
        })
    }

    /// Whether a packet is one of rules about the detection of protocols.
    pub(super) fn app_told(&mut self, mark: &FlowMark, context: &Context) -> bool {
        let kind = (self.inline, context.protocol != TCP);
        let shown = self.speech.shown;
        self.slabs
            .is_told(mark.slab, context.direction, shown, kind)
    }

    /// Gives the packet the direction that the flow's bytes say it has: where the first packet that
    /// was seen is an answer (a capture or an engine that began in between, an answer from another
    /// address than was asked), its sender is the server.
    pub(super) fn turn_round(&self, context: &mut Context, bytes: &[u8], mark: &mut FlowMark) {
        if self.apps.is_none() {
            return;
        }
        let first = mark.slab == state::NONE && context.direction == Direction::ToServer;
        if first && !mark.turned {
            mark.turned = self.is_answer(context, bytes);
        }
        if mark.turned {
            context.direction = context.direction.opposite();
        }
    }

    /// Whether the packet, a flow's first towards what would be its server, is an answer.
    #[inline(never)]
    fn is_answer(&self, context: &Context, bytes: &[u8]) -> bool {
        let tcp = context.protocol == TCP && context.has(flag::MIDSTREAM);
        let new = match context.protocol {
            TCP if tcp && context.has(flag::STREAM) => context.stream_of(bytes),
            UDP if context.has(flag::TRANSPORT) && context.has(flag::FIRST_OF_DIRECTION) => {
                context.payload_of(bytes)
            }
            _ => return false,
        };
        let asked = context.flags & (flag::ICMP_ERROR | flag::DECIDED) == 0 && !new.is_empty();
        let piece = || piece_of(context, new, 0, false, tcp);
        asked
            && self
                .apps
                .as_ref()
                .is_some_and(|apps| apps.is_answer(&piece()))
    }

    /// Shows the packet's new bytes to the flow's parser. Gives the flow among the parsers' flows if
    /// there is something to look at.
    pub(super) fn feed(
        &mut self,
        context: &Context,
        bytes: &[u8],
        mark: &mut FlowMark,
    ) -> Option<u32> {
        self.apps.as_ref()?;
        if !context.flow.is_some() || context.has(flag::ICMP_ERROR) {
            return None;
        }
        let tcp = context.protocol == TCP;
        let (new, end) = match context.protocol {
            TCP if context.has(flag::STREAM) || context.kind == Kind::Stream => {
                (context.stream_of(bytes), context.has(flag::STREAM_END))
            }
            UDP if context.has(flag::TRANSPORT) => (context.payload_of(bytes), false),
            _ => return None,
        };
        if new.is_empty() && !(end && mark.slab != state::NONE) {
            return None;
        }
        let slab = self.slab(mark, context)?;
        let gap = if tcp {
            self.slabs.turn_offset(
                slab,
                context.direction,
                context.stream_offset,
                new.len() as u32,
            )
        } else {
            0
        };
        let piece = piece_of(context, new, gap, end, tcp);
        if self.slabs.has_failed(slab) {
            mark.app = AppProtocol::Failed as u8;
            return None;
        }
        let mut app = self.slabs.app(slab);
        if app == state::NONE {
            app = self.open_app(slab, context, &piece)?;
        }
        let apps = self.apps.as_mut()?;
        if apps.rests(app, &piece) {
            return None;
        }
        apps.feed(app, &piece);
        if tcp && !self.inline && apps.has_ended_message(app, context.direction) {
            let end = context.stream_offset.wrapping_add(new.len() as u32);
            if let Some(chunk) = self.slabs.chunk_mut(slab, context.direction) {
                chunk.note_message(end);
            }
        }
        mark.app = apps.state(app).map_or(0, |state| state.speaks() as u8);
        self.broken = apps.state(app).is_some_and(|state| state.broken);
        self.lost += apps.take_lost();
        self.undecoded += apps.take_undecoded();
        Some(app)
    }

    /// A flow's first bytes: its place among the parsers' flows.
    #[cold]
    #[inline(never)]
    fn open_app(&mut self, slab: u32, context: &Context, piece: &Piece) -> Option<u32> {
        let apps = self.apps.as_mut()?;
        let Some(app) = apps.open(piece) else {
            self.lost += 1;
            return None;
        };
        self.slabs.set_app(slab, app);
        if context.has(flag::MIDSTREAM) {
            apps.set_midstream(app);
        }
        Some(app)
    }

    /// Lets go of complete transactions of a flow and of what was kept about them, once alerts have
    /// been raised.
    pub(super) fn release_transactions(
        &mut self,
        app: u32,
        slab: u32,
        context: &Context,
        emit: &mut Emit,
    ) {
        let Some(apps) = self.apps.as_mut() else {
            return;
        };
        files::drain(apps, emit);
        if let Some((protocol, new)) = apps.newly_opened(app).filter(|(_, new)| *new > 0) {
            let tcp = context.protocol == TCP;
            emit.counters.app_transactions(protocol as u8, tcp, new);
        }
        let slab = if self.tells_variables { slab } else { NONE };
        let flow = OfFlow {
            context,
            slabs: &self.slabs,
            slab,
            outer: self.outer.filter(|_| context.kind == Kind::Inner),
        };
        let mut any = false;
        let Some((mut next, odd)) = apps.state(app).map(|s| (s.first, s.event_count)) else {
            return;
        };
        if odd > 0 && self.extras.anomalies {
            self.anomalies.tell_of_flow(app, apps, flow, emit);
        }
        while let Some((transaction, heap)) = apps.transaction_mut(next) {
            if transaction.is_complete() {
                any = true;
                let told = std::mem::replace(&mut transaction.told, true);
                let is_told = self.extras.protocols & transaction.protocol.bit() != 0;
                if is_told && !told && !transaction.is_frame && !transaction.is_empty() {
                    tell(transaction, heap, self.extras.app, flow, emit);
                }
                if self.extras.anomalies && !told && !transaction.is_frame {
                    self.anomalies.tell(transaction, heap, flow, emit);
                }
                if !told && !transaction.is_frame {
                    let asked = (self.extras.files, self.extras.file);
                    files::tell(transaction, heap, asked, flow, emit);
                }
                if transaction.is_frame && !told && self.extras.frames {
                    tell_frame(transaction, heap, flow, emit);
                }
                for record in &mut transaction.detection {
                    if *record != NONE {
                        let given = self.seen.give_back(*record);
                        debug_assert!(given, "a record is given back once");
                        *record = NONE;
                    }
                }
            }
            next = transaction.next;
        }
        if any {
            apps.release(app, Transaction::is_complete);
        }
    }

    /// A flow that no parser knows needs none of their memory any more.
    pub(super) fn let_go_failed(&mut self, app: u32, mark: &FlowMark) {
        let Some(apps) = self.apps.as_mut() else {
            return;
        };
        let failed = apps
            .state(app)
            .is_some_and(|state| state.protocol == AppProtocol::Failed && state.first == NONE);
        if failed {
            apps.close(app);
            self.slabs.set_app(mark.slab, state::FAILED);
        }
    }

    /// Gives back all that the parsers held of a flow.
    pub(super) fn close_app(&mut self, context: &Context, mark: &FlowMark, emit: &mut Emit) {
        let app = self.slabs.app(mark.slab);
        if app == state::NONE {
            return;
        }
        self.release_transactions(app, mark.slab, context, emit);
        if let Some(apps) = self.apps.as_mut() {
            apps.close(app);
        }
        self.slabs.set_app(mark.slab, state::NONE);
    }
}

/// What events of transactions take from their flow and the packet that completed them.
#[derive(Clone, Copy)]
pub(super) struct OfFlow<'a> {
    context: &'a Context,
    slabs: &'a state::Slabs,
    /// Whose variables are told; `NONE`: nobody's.
    slab: u32,
    /// The packet around it.
    outer: Option<Outer>,
}

impl OfFlow<'_> {
    /// An event of this kind, seen as going this way.
    pub(super) fn fill(self, event: &mut Event, kind: EventKind, direction: Direction) {
        event.fill(kind, self.context, &[]);
        event.outer = self.outer;
        if self.context.direction != direction {
            event.direction = direction;
            event.flags ^= flag::REVERSED;
        }
        self.slabs.tell(self.slab, &mut event.variables);
    }
}

/// Anomaly events of parsers per second, at most, live; further ones are counted.
pub(super) const APP_ANOMALIES_PER_SECOND: u32 = 1000;

/// The cap of anomaly events.
#[derive(Debug, Default)]
pub(super) struct Anomalies {
    second: u64,
    count: u32,
}

impl Anomalies {
    /// Tells of what a parser found odd in a transaction (`app-layer-event`).
    fn tell(&mut self, transaction: &Transaction, heap: &Heap, flow: OfFlow<'_>, emit: &mut Emit) {
        for instance in transaction.instances(heap) {
            if instance.field == Field::AppLayerEvent {
                let whose = (transaction.protocol, Some(transaction.number));
                let number = instance.number() as u16;
                self.one(number, whose, instance.direction, flow, emit);
            }
        }
    }

    /// Tells of what was found odd in a flow outside its transactions, once.
    #[cold]
    fn tell_of_flow(&mut self, app: u32, apps: &mut Apps, flow: OfFlow<'_>, emit: &mut Emit) {
        let Some((protocol, events)) = apps.take_events(app) else {
            return;
        };
        for (event, direction) in events {
            self.one(event.0, (protocol, None), direction, flow, emit);
        }
    }

    fn one(
        &mut self,
        number: u16,
        (protocol, transaction): (AppProtocol, Option<u32>),
        direction: Direction,
        flow: OfFlow<'_>,
        emit: &mut Emit,
    ) {
        let second = emit.now_ns / 1_000_000_000;
        if second != self.second {
            (self.second, self.count) = (second, 0);
        }
        self.count += 1;
        // In replay nobody is kept waiting by events.
        if self.count > APP_ANOMALIES_PER_SECOND && emit.listener != Listener::Waited {
            emit.counters.inc(Counter::EventsCappedAnomaly);
            return;
        }
        emit.event(|event| {
            flow.fill(event, EventKind::Anomaly, direction);
            event.app = protocol as u8;
            event.app_event = Some(number);
            event.app_number = transaction;
        });
    }
}

/// The event of a frame.
#[cold]
fn tell_frame(transaction: &Transaction, heap: &Heap, flow: OfFlow<'_>, emit: &mut Emit) {
    let frame = transaction
        .instances(heap)
        .find(|found| found.field.is_frame());
    let direction = frame.map_or(Direction::ToServer, |frame| frame.direction);
    emit.event(|event| {
        flow.fill(event, EventKind::Frame, direction);
        event.app = transaction.protocol as u8;
        record::encode(
            transaction,
            heap,
            record::Extra::default(),
            &mut event.record,
        );
    });
}

/// The event of a transaction that is complete.
fn tell(
    transaction: &Transaction,
    heap: &Heap,
    extra: record::Extra,
    flow: OfFlow<'_>,
    emit: &mut Emit,
) {
    let datagram = (flow.context.protocol == UDP).then_some(flow.context.direction);
    emit.event(|event| {
        flow.fill(event, EventKind::App, told_as(transaction, datagram));
        event.app = transaction.protocol as u8;
        record::encode(transaction, heap, extra, &mut event.record);
    });
}

/// As whose an event is told: its source is that side. Most exchanges are their client's, and messages
/// that go one way those of their sender, for protocols of which Suricata tells them so. `datagram`: the
/// way of the one that completed it.
fn told_as(transaction: &Transaction, datagram: Option<Direction>) -> Direction {
    use AppProtocol as P;
    match transaction.protocol {
        P::Dns
        | P::Llmnr
        | P::Dhcp
        | P::Ike
        | P::Ntp
        | P::Snmp
        | P::BittorrentDht
        | P::Quic
        | P::Krb5
        | P::Mqtt
        | P::Rdp
        | P::Sip
        | P::Websocket => transaction.only.unwrap_or(Direction::ToServer),
        P::Nfs => datagram.unwrap_or(Direction::ToServer),
        _ => Direction::ToServer,
    }
}

fn piece_of<'a>(context: &Context, bytes: &'a [u8], gap: u32, end: bool, tcp: bool) -> Piece<'a> {
    let to_server = context.direction == Direction::ToServer;
    let (source, destination) = (
        (*context.src_addr(), context.src_port()),
        (*context.dst_addr(), context.dst_port()),
    );
    let (client, server) = if to_server {
        (source, destination)
    } else {
        (destination, source)
    };
    Piece {
        transport: if tcp { Transport::Tcp } else { Transport::Udp },
        direction: context.direction,
        bytes,
        gap,
        end,
        client_port: client.1,
        server_port: server.1,
        client_addr: client.0,
        server_addr: server.0,
        time_ns: context.time_ns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Direction::{ToClient, ToServer};

    #[test]
    fn messages_are_told_as_their_sender_s_and_exchanges_as_their_client_s() {
        let told = |protocol, only, datagram| {
            let mut transaction = Transaction::new(protocol, 0);
            transaction.only = only;
            told_as(&transaction, datagram)
        };
        for protocol in [AppProtocol::Dns, AppProtocol::Krb5, AppProtocol::Mqtt] {
            assert_eq!(told(protocol, Some(ToClient), Some(ToClient)), ToClient);
            assert_eq!(told(protocol, Some(ToServer), Some(ToServer)), ToServer);
        }
        assert_eq!(told(AppProtocol::Dns, Some(ToClient), None), ToClient);
        assert_eq!(told(AppProtocol::Nfs, None, Some(ToClient)), ToClient);
        assert_eq!(told(AppProtocol::Nfs, None, None), ToServer);
        for protocol in [AppProtocol::Http, AppProtocol::Dnp3, AppProtocol::Mdns] {
            assert_eq!(told(protocol, Some(ToClient), Some(ToClient)), ToServer);
        }
    }
}
