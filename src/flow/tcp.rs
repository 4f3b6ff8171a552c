//! The TCP tracker as a middlebox needs it: which segments the receiver will take, what they say
//! about both ends' numbers and windows, and when both have closed. The handshake is handshake.rs,
//! the bytes are stream.rs. Read RFC 9293 section 3.10.7, RFC 5961 (resets), RFC 7323 section 5
//! (PAWS) first. Conditions of the notices are those of Suricata's stream events.
//!
//! ```text
//!  SynSent ─► SynReceived ─► Established ─► CloseWait ─────────► LastAck ─► Closed
//!     │  (split: SYN+ACK goes     │   client's FIN    server's FIN   last ACK  ▲
//!     │   the other way)          ├─► FinWait1 ─► FinWait2 ─► TimeWait ────────┤
//!     └───────────────────────────┴── accepted RST ────────────────────────────┘
//! ```
//! A reset or both FINs do not end inspection: what comes after is checked and inspected as before
//! until the flow's timeout, because the receiver may have believed otherwise.

use super::notice::{Notice, Notices};
use super::pages::PagePool;
use super::record::*;
use super::segment::{ACK, FIN, PSH, RST, SYN, Segment, URG};
use crate::config::Config;
use crate::packet::Direction;
use crate::reason::Reason;

/// Seconds after which an old timestamp proves nothing (RFC 7323 section 5.5).
const PAWS_SECONDS_MAX: u32 = 24 * 24 * 3600;
/// Window assumed where the handshake was not seen: the largest there is.
pub const WINDOW_UNKNOWN: u32 = 65_535 << 14;

/// What the operator allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// In the path.
    pub inline: bool,
    /// Pick up connections in the middle.
    pub midstream: bool,
    /// Accept connections of which one side is seen.
    pub async_oneside: bool,
    /// In the path, and what no handshake covers must not pass (`stream.midstream-policy` or
    /// `exception-policy` drops).
    pub strict: bool,
    /// What no handshake covers is no connection's, and no policy minds.
    pub untracked: bool,
}

impl Rules {
    /// The rules of a configuration.
    pub fn of(config: &Config) -> Rules {
        use crate::config::{Area, Mode, Policy};
        let policy = config.policy(Area::Midstream);
        let permissive = matches!(policy, Policy::Ignore | Policy::PassFlow);
        let inline = config.mode == Mode::Inline;
        let drops = [Policy::DropPacket, Policy::DropFlow, Policy::Reject].contains(&policy);
        Rules {
            inline,
            strict: inline && drops,
            midstream: config.midstream && permissive,
            async_oneside: config.async_oneside && permissive,
            untracked: policy == Policy::Ignore && !config.midstream && !config.async_oneside,
        }
    }
}

/// What the tracker says about a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Valid; its payload, if any, belongs to the stream.
    Stream,
    /// Valid; its payload does not matter.
    Passed,
    /// No handshake covers it: its payload is inspected as that of a lone packet.
    Untracked,
    /// Its receiver will discard it.
    Invalid(Reason),
}

/// One segment on its way through the tracker.
pub struct Track<'a> {
    /// The connection.
    pub tcp: &'a mut Tcp,
    /// The segment.
    pub segment: &'a Segment,
    /// Its way.
    pub direction: Direction,
    /// What the operator allows.
    pub rules: Rules,
    /// Its arrival, seconds.
    pub seconds: u32,
    /// Where oddities go.
    pub notices: &'a mut Notices,
    /// For streams that begin anew.
    pub pool: &'a mut PagePool,
}

/// The names under which a state reports trouble.
struct Names {
    ack: Notice,
    window: Notice,
    fin_window: Notice,
    old: Option<Notice>,
}

fn names(phase: TcpPhase) -> Names {
    let (ack, window, fin_window, old) = match phase {
        TcpPhase::FinWait1 => (
            Notice::Fin1InvalidAck,
            Notice::Fin1WrongSeq,
            Notice::Fin1FinWrongSeq,
            None,
        ),
        TcpPhase::FinWait2 => (
            Notice::Fin2InvalidAck,
            Notice::Fin2WrongSeq,
            Notice::Fin2FinWrongSeq,
            None,
        ),
        TcpPhase::CloseWait => (
            Notice::CloseWaitInvalidAck,
            Notice::CloseWaitOutOfWindow,
            Notice::CloseWaitFinOutOfWindow,
            Some(Notice::CloseWaitBeforeLastAck),
        ),
        TcpPhase::Closing => (
            Notice::ClosingInvalidAck,
            Notice::ClosingWrongSeq,
            Notice::ClosingWrongSeq,
            None,
        ),
        TcpPhase::LastAck => (
            Notice::LastAckInvalidAck,
            Notice::LastAckWrongSeq,
            Notice::LastAckWrongSeq,
            None,
        ),
        TcpPhase::TimeWait => (
            Notice::TimeWaitInvalidAck,
            Notice::TimeWaitWrongSeq,
            Notice::TimeWaitWrongSeq,
            None,
        ),
        _ => (
            Notice::EstInvalidAck,
            Notice::EstOutOfWindow,
            Notice::FinOutOfWindow,
            Some(Notice::EstBeforeLastAck),
        ),
    };
    Names {
        ack,
        window,
        fin_window,
        old,
    }
}

impl Side {
    /// Whether a segment's timestamp is at least that of the one before.
    #[inline]
    pub fn is_in_time(&self, segment: &Segment) -> bool {
        let is_old = |value: u32| (value.wrapping_sub(self.ts_recent) as i32) < 0;
        let value = segment.timestamp.map(|(value, _)| value);
        self.ts_recent == 0 || !value.is_some_and(is_old)
    }

    /// The other side has these bytes: they need no comparison any more.
    #[inline]
    pub fn acknowledge(&mut self, pool: &mut PagePool, ack: SeqNum) {
        if ack.after(self.acked) {
            self.acked = ack;
            self.stream.acknowledge(pool, ack);
        }
    }

    /// See [`Track::take_timestamp`].
    #[inline]
    pub fn take_timestamp(&mut self, segment: &Segment, seconds: u32) {
        let Some((value, _)) = segment.timestamp else {
            return;
        };
        let at_ack = !segment.seq.after(self.acked) && segment.end().since(self.acked) >= 0;
        let is_newer = (value.wrapping_sub(self.ts_recent) as i32) >= 0;
        let is_stale = seconds.wrapping_sub(self.ts_seconds) as i32 > PAWS_SECONDS_MAX as i32;
        if at_ack && (is_newer || is_stale || self.ts_recent == 0) {
            self.ts_recent = value;
            self.ts_seconds = seconds;
        }
    }
}

/// Notes what is odd in any state.
pub fn note_flags(segment: &Segment, notices: &mut Notices) {
    if !segment.has(ACK) && segment.ack != SeqNum(0) {
        notices.note(Notice::BrokenAck);
    }
}

impl Track<'_> {
    /// Tracks a segment of a connection that is known, and gives its fate.
    pub fn run(&mut self) -> Fate {
        note_flags(self.segment, self.notices);
        let fate = match self.tcp.phase {
            TcpPhase::None => Fate::Untracked,
            TcpPhase::SynSent => self.syn_sent(),
            TcpPhase::SynReceived => self.syn_received(),
            TcpPhase::Closed if self.tcp.has(TCP_RESET) => self.after_reset(),
            _ => self.established(),
        };
        if self.tcp.phase.is_established() && !self.tcp.has(TCP_RESET) {
            self.tcp.phase = self.phase();
        }
        fate
    }

    /// The sending and the receiving side.
    pub fn sides(&mut self) -> (&mut Side, &mut Side) {
        self.tcp.sides_mut(self.direction)
    }

    /// Notes and refuses.
    pub fn refuse(&mut self, notice: Notice, reason: Reason) -> Fate {
        self.notices.note(notice);
        Fate::Invalid(reason)
    }

    /// The state that both sides' FINs make.
    fn phase(&self) -> TcpPhase {
        let [client, server] = &self.tcp.sides;
        let (fin, acked) = (SIDE_FIN, SIDE_FIN | SIDE_FIN_ACKED);
        match (
            client.has(fin),
            server.has(fin),
            client.has(acked),
            server.has(acked),
        ) {
            (false, false, ..) => TcpPhase::Established,
            (true, false, ..) => TcpPhase::CloseWait,
            (false, true, _, false) => TcpPhase::FinWait1,
            (false, true, _, true) => TcpPhase::FinWait2,
            (true, true, true, true) => TcpPhase::Closed,
            (true, true, true, false) => TcpPhase::LastAck,
            (true, true, false, true) => TcpPhase::TimeWait,
            (true, true, false, false) => TcpPhase::Closing,
        }
    }

    // --- the state after the handshake ---

    /// A segment of a connection whose handshake lies behind.
    pub fn established(&mut self) -> Fate {
        if self.segment.flags & (FIN | SYN | RST | PSH | ACK | URG) == 0 {
            return Fate::Invalid(Reason::TcpFlagsInvalid);
        }
        if self.has_unexpected_signature() && !self.segment.has(RST) {
            return Fate::Invalid(Reason::TcpHandshakeInvalid);
        }
        if self.is_keep_alive() || self.answers_probe() {
            return Fate::Stream;
        }
        if self.segment.has(SYN | FIN) {
            return self.refuse(Notice::FinSyn, Reason::TcpFlagsInvalid);
        }
        if self.segment.has(RST) {
            return self.reset();
        }
        if self.segment.has(SYN) {
            return self.syn_again();
        }
        if let Some(fate) = self.skimmed() {
            return fate;
        }
        if !self.is_timestamp_valid() {
            return self.refuse(Notice::InvalidTimestamp, Reason::TcpPawsOld);
        }
        if !self.segment.has(ACK) {
            return Fate::Invalid(Reason::TcpNoAck);
        }
        match self.check_and_advance() {
            Ok(()) => Fate::Stream,
            Err(fate) => fate,
        }
    }

    /// In the path, a signature (RFC 2385) that the handshake did not have.
    fn has_unexpected_signature(&self) -> bool {
        self.rules.inline
            && self.segment.is_signed
            && !self.tcp.has(TCP_SIGNED)
            && !self.tcp.has(TCP_MIDSTREAM)
    }

    /// A keep-alive (one byte before the next one), or the answer to one.
    fn is_keep_alive(&mut self) -> bool {
        let segment = *self.segment;
        let window = u32::from(segment.window) << self.window_scale();
        let (sender, receiver) = self.sides();
        let plain = segment.flags & (SYN | FIN | RST) == 0;
        // An answer with another window is taken for what it says.
        let answers = receiver.has(SIDE_KEEPALIVE)
            && segment.length == 0
            && segment.seq == sender.next
            && segment.ack == receiver.acked
            && window == receiver.window;
        if plain && answers && window != 0 {
            receiver.flags &= !SIDE_KEEPALIVE;
            sender.flags &= !SIDE_KEEPALIVE;
            return true;
        }
        let probes = segment.length <= 1
            && segment.seq == sender.next.minus(1)
            && segment.ack == receiver.acked
            && !sender.has(SIDE_FIN);
        sender.flags &= !SIDE_KEEPALIVE;
        if plain && probes {
            sender.flags |= SIDE_KEEPALIVE;
            return true;
        }
        false
    }

    /// The answer to a zero-window probe: the window is still closed.
    fn answers_probe(&mut self) -> bool {
        let segment = *self.segment;
        let (sender, receiver) = self.sides();
        let answers = receiver.has(SIDE_PROBE)
            && segment.is_ordinary()
            && segment.length == 0
            && segment.window == 0
            && receiver.window == 0
            && segment.seq == sender.next
            && segment.ack == receiver.acked;
        if !segment.has(RST) && segment.length == 0 && !answers {
            sender.flags &= !SIDE_PROBE;
        }
        answers
    }

    /// Segments that say nothing new, told apart before the checks as other engines do.
    fn skimmed(&mut self) -> Option<Fate> {
        let segment = *self.segment;
        let scale = self.window_scale();
        let (sender, receiver) = self.sides();
        let window = u32::from(segment.window) << scale;
        let plain = segment.flags & (SYN | FIN | RST) == 0;
        if plain && window < receiver.window {
            let shrunk = receiver.window - window;
            let acked = segment.ack.since(receiver.acked) as u32;
            let slack = if window > 1024 {
                acked.saturating_add(32)
            } else {
                acked
            };
            if shrunk > segment.length
                && segment.ack.after(receiver.next)
                && segment.seq.after(sender.next)
                && shrunk > slack
            {
                return Some(self.refuse(Notice::BadWindowUpdate, Reason::TcpAckInvalid));
            }
        }
        if segment.is_ordinary()
            && segment.length == 0
            && segment.seq == sender.next
            && segment.ack.before(receiver.acked)
        {
            // Older than what was acknowledged, however old: its receiver takes nothing from it.
            return Some(Fate::Passed);
        }
        let spurious = segment.length != 0 && !segment.end().after(sender.acked);
        if spurious && !segment.has(FIN) {
            self.notices.note(Notice::SpuriousRetransmission);
            return Some(Fate::Stream);
        }
        None
    }

    /// Shift of the windows that the sender of this segment announces.
    pub fn window_scale(&mut self) -> u8 {
        self.tcp.window_scale(self.direction)
    }

    /// Whether the acknowledgement is of bytes that the other side may have sent.
    pub fn is_ack_valid(&mut self) -> bool {
        let (ack, is_async) = (self.segment.ack, self.tcp.has(TCP_ASYNC));
        if !self.segment.has(ACK) {
            return true;
        }
        let (_, receiver) = self.sides();
        let valid = if ack.before(receiver.acked) {
            receiver.window == 0 || !ack.before(receiver.acked.minus(receiver.window))
        } else {
            is_async || !ack.after(receiver.edge)
        };
        if !valid {
            self.notices.note(Notice::InvalidAck);
        }
        valid
    }

    /// PAWS: whether the timestamp is not older than the last one in order.
    pub fn is_timestamp_valid(&mut self) -> bool {
        let (segment, seconds) = (*self.segment, self.seconds);
        if !self.tcp.has(TCP_TIMESTAMPS) {
            return true;
        }
        let (sender, _) = self.sides();
        let is_stale = seconds.wrapping_sub(sender.ts_seconds) as i32 > PAWS_SECONDS_MAX as i32;
        sender.is_in_time(&segment) || (is_stale && segment.seq == sender.next)
    }

    /// Remembers the timestamp of a segment that lies where the receiver's last acknowledgement
    /// does (RFC 7323 section 4.3): a segment behind a gap says nothing about the one that fills
    /// it, which may have been sent before and is honest.
    pub fn take_timestamp(&mut self) {
        let (segment, seconds) = (*self.segment, self.seconds);
        self.sides().0.take_timestamp(&segment, seconds);
    }

    /// Acknowledgement, window, FIN: checks them, and moves both sides on.
    pub fn check_and_advance(&mut self) -> Result<(), Fate> {
        let names = names(self.tcp.phase);
        let is_fin = self.segment.has(FIN);
        let invalid_ack = if is_fin && names.old.is_some() {
            Notice::FinInvalidAck
        } else {
            names.ack
        };
        self.check_ack(invalid_ack)?;
        self.check_start(&names, is_fin)?;
        let window = if is_fin {
            names.fin_window
        } else {
            names.window
        };
        self.check_end(window)?;
        self.check_after_fin()?;
        self.take_timestamp();
        self.advance();
        Ok(())
    }

    fn check_ack(&mut self, notice: Notice) -> Result<(), Fate> {
        let segment = *self.segment;
        let (_, receiver) = self.sides();
        if receiver.has(SIDE_PROBE) && segment.ack == receiver.next.plus(1) {
            self.notices.note(Notice::EstAckZeroWindowData);
            return Ok(());
        }
        if self.is_ack_valid() {
            return Ok(());
        }
        Err(self.refuse(notice, Reason::TcpAckInvalid))
    }

    /// The segment must not lie before what the receiver has acknowledged.
    fn check_start(&mut self, names: &Names, is_fin: bool) -> Result<(), Fate> {
        let (segment, rules, flags) = (*self.segment, self.rules, self.tcp.flags);
        let (sender, _) = self.sides();
        let end = segment.end().plus(u32::from(is_fin));
        let one_back = segment.length <= 1 && segment.seq == sender.next.minus(1);
        if one_back || !end.before(sender.acked) {
            return Ok(());
        }
        let lenient = rules.async_oneside && flags & TCP_MIDSTREAM != 0;
        let one_sided = flags & TCP_ASYNC != 0
            || (lenient && (segment.seq == sender.next || sender.acked == sender.isn.plus(1)));
        if one_sided {
            sender.acked = segment.seq;
            self.tcp.flags |= TCP_ASYNC;
            return Ok(());
        }
        // The capture lost bytes that were acknowledged: these may be among them.
        if sender.acked.after(sender.next) && end.after(sender.next) {
            return Ok(());
        }
        match names.old {
            Some(_) if is_fin => Err(self.refuse(names.fin_window, Reason::TcpOutOfWindow)),
            Some(notice) => Err(self.refuse(notice, Reason::TcpOutOfWindow)),
            None => Err(self.refuse(names.window, Reason::TcpOutOfWindow)),
        }
    }

    /// The segment must not reach beyond the window, a probe of a closed window excepted.
    fn check_end(&mut self, notice: Notice) -> Result<(), Fate> {
        let (segment, flags) = (*self.segment, self.tcp.flags);
        let (sender, _) = self.sides();
        if segment.length == 1 && segment.seq == sender.next && sender.window == 0 {
            sender.flags |= SIDE_PROBE;
            return Ok(());
        }
        if !segment.end().after(sender.edge) || flags & (TCP_MIDSTREAM | TCP_ASYNC) != 0 {
            return Ok(());
        }
        Err(self.refuse(notice, Reason::TcpOutOfWindow))
    }

    /// Nothing comes after a FIN that was acknowledged; one that was not may never have arrived.
    fn check_after_fin(&mut self) -> Result<(), Fate> {
        let segment = *self.segment;
        let (sender, _) = self.sides();
        if !sender.has(SIDE_FIN) || !segment.end().after(sender.fin) {
            return Ok(());
        }
        // The answer to the other side's FIN stands one further on than the last byte.
        if segment.length == 0 && segment.seq == sender.fin.plus(1) {
            return Ok(());
        }
        if sender.has(SIDE_FIN_ACKED) {
            return Err(Fate::Invalid(Reason::TcpFinInvalid));
        }
        sender.flags &= !SIDE_FIN;
        Ok(())
    }

    /// Moves numbers and windows on by a segment that was found valid.
    pub fn advance(&mut self) {
        let segment = *self.segment;
        let scale = self.window_scale();
        let is_probe = {
            let (sender, _) = self.sides();
            sender.has(SIDE_PROBE) && segment.length == 1
        };
        let (sender, receiver) = self.sides();
        let is_fin = segment.has(FIN);
        let end = segment.end();
        if !is_probe {
            sender.next = sender.next.latest(end.plus(u32::from(is_fin)));
        }
        if is_fin && !sender.has(SIDE_FIN) {
            sender.flags |= SIDE_FIN;
            sender.fin = end;
        }
        receiver.window = u32::from(segment.window) << scale;
        receiver.flags &= !SIDE_PROBE;
        self.acknowledge();
        if self.direction == Direction::ToClient {
            self.tcp.flags |= TCP_CONFIRMED;
        }
    }

    /// Takes the acknowledgement over: what is acknowledged needs no comparison any more.
    pub fn acknowledge(&mut self) {
        let segment = *self.segment;
        let is_async = self.tcp.has(TCP_ASYNC);
        let (sender, receiver) = self.tcp.sides_mut(self.direction);
        if segment.has(ACK) {
            let first = receiver.isn.plus(1);
            if receiver.has(SIDE_SYN_DATA) && !segment.ack.before(first) {
                // RFC 7413 section 4.2.2: the answer says whether the bytes on the SYN were taken.
                receiver.flags &= !SIDE_SYN_DATA;
                if segment.ack == first {
                    receiver.stream.restart(self.pool, first);
                    receiver.next = first;
                }
            }
            receiver.acknowledge(self.pool, segment.ack);
            if receiver.has(SIDE_FIN) && segment.ack.after(receiver.fin) {
                receiver.flags |= SIDE_FIN_ACKED;
            }
        }
        receiver.edge = receiver.edge.latest(receiver.acked.plus(receiver.window));
        if is_async {
            sender.acked = sender.acked.latest(sender.next);
        }
    }

    /// SYN or SYN+ACK once more. RFC 5961 section 4: never accepted, whatever its number.
    fn syn_again(&mut self) -> Fate {
        let reason = Reason::TcpHandshakeInvalid;
        if self.tcp.phase != TcpPhase::Established && self.tcp.phase != TcpPhase::CloseWait {
            return self.refuse(Notice::ShutdownSynResend, reason);
        }
        let (segment, confirmed) = (*self.segment, self.tcp.has(TCP_CONFIRMED));
        let to_server = self.direction == Direction::ToServer;
        let [client, server] = &self.tcp.sides;
        let notice = if segment.is_syn_ack() {
            if to_server {
                Notice::EstSynAckToServer
            } else if segment.ack.after(client.acked) || segment.ack.before(client.isn.plus(1)) {
                Notice::EstSynAckOtherAck
            } else if segment.seq != server.isn {
                Notice::EstSynAckOtherSeq
            } else if confirmed {
                Notice::EstSynAckResend
            } else {
                return Fate::Passed;
            }
        } else if !to_server {
            Notice::EstSynToClient
        } else if segment.ack != client.isn {
            // The names are Suricata's, which compares the acknowledgment: nearly always this one.
            Notice::EstSynResendOtherSeq
        } else {
            Notice::EstSynResend
        };
        self.refuse(notice, reason)
    }

    // --- resets ---

    /// A RST: RFC 5961 section 3.2 wants the very next number. Its receiver takes none of its bytes
    /// (RFC 9293 section 3.10.7.4: they say why at most), so that they are no part of the stream.
    pub fn reset(&mut self) -> Fate {
        if !self.is_timestamp_valid() {
            return self.refuse(Notice::InvalidTimestamp, Reason::TcpPawsOld);
        }
        let segment = *self.segment;
        if segment.length != 0 {
            self.notices.note(Notice::RstWithData);
        }
        if segment.ack != SeqNum(0) && !self.is_ack_valid() {
            return self.refuse(Notice::RstInvalidAck, Reason::TcpRstInvalid);
        }
        if self.has_unexpected_signature() {
            return Fate::Invalid(Reason::TcpRstInvalid);
        }
        let is_async = self.tcp.has(TCP_ASYNC);
        let (sender, _) = self.sides();
        let exact = segment.seq == sender.next || segment.seq == sender.acked;
        if !(exact || is_async && !segment.seq.before(sender.next)) {
            return Fate::Invalid(Reason::TcpRstInvalid);
        }
        if segment.is_signed {
            sender.flags |= SIDE_RST_DOUBTFUL;
        }
        self.close_by_reset();
        Fate::Passed
    }

    /// Marks the connection as reset.
    pub fn close_by_reset(&mut self) {
        self.tcp.before_reset = self.tcp.phase;
        self.tcp.phase = TcpPhase::Closed;
        self.tcp.flags |= TCP_RESET;
        let (sender, _) = self.sides();
        sender.flags |= SIDE_RST;
    }

    /// A segment after a reset: the receiver may not have believed it, so it is tracked on.
    fn after_reset(&mut self) -> Fate {
        if self.segment.has(RST) {
            return Fate::Passed;
        }
        let before = self.tcp.before_reset;
        let (sender, _) = self.sides();
        if sender.has(SIDE_RST_DOUBTFUL) {
            sender.flags &= !(SIDE_RST_DOUBTFUL | SIDE_RST);
            self.notices.note(Notice::SuspectedRstInject);
            self.tcp.flags &= !TCP_RESET;
            self.tcp.phase = before;
            return match before {
                TcpPhase::SynSent => self.syn_sent(),
                TcpPhase::SynReceived => self.syn_received(),
                _ => self.established(),
            };
        }
        if !before.is_established() {
            return match self.rules.inline {
                true => Fate::Invalid(Reason::TcpHandshakeInvalid),
                false => Fate::Untracked,
            };
        }
        // No notices: most of this is what was under way when the reset was sent.
        let noted = std::mem::take(self.notices);
        self.tcp.phase = before;
        let fate = self.established();
        self.tcp.phase = TcpPhase::Closed;
        *self.notices = noted;
        fate
    }
}

/// Whether a SYN begins a new connection on the ports of an old one.
pub fn is_reuse(tcp: Option<&Tcp>, segment: &Segment, direction: Direction, rules: Rules) -> bool {
    if segment.flags & (SYN | RST | FIN) != SYN {
        return false;
    }
    let Some(tcp) = tcp.filter(|tcp| tcp.phase != TcpPhase::None) else {
        return segment.is_syn();
    };
    let [client, server] = &tcp.sides;
    if segment.is_syn() {
        return match direction {
            Direction::ToServer => {
                tcp.has(TCP_SYN_DATA_IGNORED)
                    || (client.isn != segment.seq && tcp.phase.is_closing())
            }
            Direction::ToClient => tcp.phase.is_closing(),
        };
    }
    let picks_up = rules.midstream || rules.async_oneside;
    let is_new = direction == Direction::ToServer || server.isn != segment.seq;
    picks_up && is_new && tcp.phase.is_closing()
}
