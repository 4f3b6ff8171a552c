//! How a TCP connection begins: SYN, SYN+ACK, ACK, with all that can go otherwise - data on the SYN
//! (RFC 7413), other numbers on a second SYN, split handshake, simultaneous open (RFC 9293 section
//! 3.5), and connections picked up in the middle. What follows is tcp.rs.

use super::notice::{Notice, Notices};
use super::record::*;
use super::segment::{ACK, FIN, RST, SYN, Segment};
use super::tcp::{Fate, Rules, Track, WINDOW_UNKNOWN, note_flags};
use crate::packet::Direction;
use crate::reason::Reason;

impl Alternate {
    fn of(segment: &Segment) -> Alternate {
        Alternate {
            seq: segment.seq,
            timestamp: segment.timestamp.map_or(0, |(value, _)| value),
            window: segment.window,
            scale: segment.scale.unwrap_or(SCALE_NONE),
            has_timestamp: segment.timestamp.is_some(),
        }
    }
}

impl Tcp {
    fn push_alternate(&mut self, alternate: Alternate) -> bool {
        let count = usize::from(self.alternate_count);
        let known = self
            .alternates
            .iter()
            .take(count)
            .any(|a| a.seq == alternate.seq);
        if known {
            return true;
        }
        match self.alternates.get_mut(count) {
            Some(place) => {
                *place = alternate;
                self.alternate_count += 1;
                true
            }
            None => false,
        }
    }

    fn find_alternate(&self, mut wanted: impl FnMut(&Alternate) -> bool) -> Option<Alternate> {
        let count = usize::from(self.alternate_count);
        self.alternates
            .iter()
            .take(count)
            .find(|a| wanted(a))
            .copied()
    }
}

/// What becomes of a flow's first segment if it opens no connection; `None` if it opens one.
pub fn unopened(segment: &Segment, rules: Rules, notices: &mut Notices) -> Option<Fate> {
    note_flags(segment, notices);
    let mut refuse = |notice, reason| {
        notices.note(notice);
        Some(Fate::Invalid(reason))
    };
    if segment.has(RST) {
        return refuse(Notice::RstNoSession, Reason::TcpRstInvalid);
    }
    if segment.has(SYN | FIN) {
        return refuse(Notice::FinNoSession, Reason::TcpFlagsInvalid);
    }
    if segment.has(FIN) && (!rules.midstream || segment.length == 0) {
        return refuse(Notice::FinNoSession, Reason::TcpFinInvalid);
    }
    let opens = if segment.is_syn_ack() {
        rules.midstream || rules.async_oneside
    } else {
        segment.is_syn() || (segment.has(ACK) && rules.midstream)
    };
    (!opens).then_some(Fate::Untracked)
}

impl Track<'_> {
    /// The first segment of a flow, or of one that has no connection yet. The second value says
    /// that its sender is the server although it spoke first.
    pub fn open(&mut self) -> (Fate, bool) {
        if let Some(fate) = unopened(self.segment, self.rules, self.notices) {
            return (fate, false);
        }
        let segment = *self.segment;
        if segment.is_syn_ack() {
            let swap = self.direction == Direction::ToServer;
            self.direction = Direction::ToClient;
            self.pick_up_syn_ack();
            return (Fate::Stream, swap);
        }
        if segment.is_syn() {
            self.begin();
            return (Fate::Stream, false);
        }
        self.pick_up();
        (Fate::Stream, false)
    }

    fn begin(&mut self) {
        let segment = *self.segment;
        let first = segment.seq.plus(1);
        let (is_async, seconds) = (self.rules.async_oneside, self.seconds);
        if self.tcp.phase == TcpPhase::None {
            self.tcp.phase = TcpPhase::SynSent;
        }
        self.tcp.flags |= if is_async { TCP_ASYNC } else { 0 };
        self.tcp.flags |= if segment.has_fast_open {
            TCP_FAST_OPEN
        } else {
            0
        };
        self.tcp.flags |= if segment.is_signed { TCP_SIGNED } else { 0 };
        let (sender, receiver) = self.sides();
        sender.isn = segment.seq;
        sender.next = segment.end();
        sender.acked = first;
        sender.edge = first.plus(WINDOW_UNKNOWN);
        sender.scale = segment.scale.unwrap_or(SCALE_NONE);
        sender.flags = if segment.length != 0 {
            SIDE_SYN_DATA
        } else {
            0
        };
        if let Some((value, _)) = segment.timestamp {
            sender.flags |= SIDE_TIMESTAMPS;
            (sender.ts_recent, sender.ts_seconds) = (value, seconds);
        } else {
            sender.ts_recent = 0;
        }
        sender.stream.open(first);
        receiver.window = u32::from(segment.window);
    }

    fn pick_up(&mut self) {
        let segment = *self.segment;
        let (is_async, seconds) = (self.rules.async_oneside, self.seconds);
        self.tcp.phase = TcpPhase::Established;
        self.tcp.flags |= TCP_MIDSTREAM | TCP_CONFIRMED | if is_async { TCP_ASYNC } else { 0 };
        let (sender, receiver) = self.sides();
        sender.isn = segment.seq.minus(1);
        sender.next = segment.seq;
        sender.acked = segment.seq;
        sender.edge = segment.seq.plus(WINDOW_UNKNOWN);
        sender.scale = super::segment::SCALE_MAX;
        sender.stream.open(segment.seq);
        receiver.isn = segment.ack.minus(1);
        receiver.next = segment.ack;
        receiver.acked = segment.ack;
        receiver.edge = segment.ack.plus(WINDOW_UNKNOWN);
        receiver.scale = super::segment::SCALE_MAX;
        receiver.stream.open(segment.ack);
        if let Some((value, echo)) = segment.timestamp {
            (sender.ts_recent, sender.ts_seconds) = (value, seconds);
            (receiver.ts_recent, receiver.ts_seconds) = (echo, seconds);
            self.tcp.flags |= TCP_TIMESTAMPS;
        }
        self.advance();
    }

    fn pick_up_syn_ack(&mut self) {
        let segment = *self.segment;
        let (is_async, seconds) = (self.rules.async_oneside, self.seconds);
        self.tcp.phase = TcpPhase::SynReceived;
        self.tcp.flags |= TCP_MIDSTREAM | TCP_FROM_SYN_ACK;
        self.tcp.flags |= if is_async { TCP_ASYNC } else { 0 };
        let (server, client) = self.sides();
        server.isn = segment.seq;
        server.next = segment.end();
        server.acked = segment.seq.plus(1);
        server.edge = server.acked.plus(WINDOW_UNKNOWN);
        server.scale = segment.scale.unwrap_or(SCALE_NONE);
        server.flags = if segment.length != 0 {
            SIDE_SYN_DATA
        } else {
            0
        };
        server.stream.open(segment.seq.plus(1));
        client.isn = segment.ack.minus(1);
        client.next = segment.ack;
        client.acked = segment.ack;
        client.window = u32::from(segment.window);
        client.edge = segment.ack.plus(client.window);
        client.scale = segment
            .scale
            .map_or(SCALE_NONE, |_| super::segment::SCALE_MAX);
        client.stream.open(segment.ack);
        if let Some((value, echo)) = segment.timestamp {
            (server.ts_recent, server.ts_seconds) = (value, seconds);
            (client.ts_recent, client.ts_seconds) = (echo, seconds);
            self.tcp.flags |= TCP_TIMESTAMPS;
        }
    }

    // --- SYN seen ---

    /// A segment while the SYN waits for its answer.
    pub fn syn_sent(&mut self) -> Fate {
        let segment = *self.segment;
        if segment.is_syn_ack() && !segment.has(RST) && !segment.has(FIN) {
            return match self.direction {
                Direction::ToClient => self.syn_ack(),
                Direction::ToServer => self.split_syn_ack(),
            };
        }
        if self.direction == Direction::ToClient && !self.is_echo_valid() {
            return self.refuse(Notice::InvalidTimestamp, Reason::TcpPawsOld);
        }
        if segment.has(RST) {
            return self.refused();
        }
        if segment.has(FIN) {
            return self.too_early();
        }
        if segment.is_syn() {
            return match self.direction {
                Direction::ToClient => self.syn_from_server(),
                Direction::ToServer => self.syn_repeated(),
            };
        }
        if !segment.has(ACK) || !self.rules.async_oneside {
            return self.too_early();
        }
        self.one_sided()
    }

    /// A segment that no receiver takes before the handshake. Where the SYN took the ports of a
    /// connection that we knew, the server may still have that one: nothing must reach it. Where
    /// the answer went another way, bytes would pass that no stream holds.
    fn too_early(&self) -> Fate {
        if self.rules.strict {
            Fate::Invalid(Reason::TcpMidstream)
        } else if self.rules.inline && self.tcp.has(TCP_REUSE) {
            Fate::Invalid(Reason::TcpHandshakeInvalid)
        } else {
            Fate::Untracked
        }
    }

    /// The other SYN (simultaneous open, split handshake) echoes nothing; the SYN+ACK echoes ours.
    fn is_echo_valid(&mut self) -> bool {
        let Some((_, echo)) = self.segment.timestamp else {
            return true;
        };
        let (_, client) = self.sides();
        echo == 0
            || (client.has(SIDE_TIMESTAMPS) && echo == client.ts_recent)
            || (client.has(SIDE_TIMESTAMPS) && client.ts_recent == 0)
    }

    fn syn_ack(&mut self) -> Fate {
        let segment = *self.segment;
        let echo_valid = self.is_echo_valid();
        let (_, client) = self.sides();
        let first = client.isn.plus(1);
        let within = segment.ack == first
            || (client.has(SIDE_SYN_DATA)
                && segment.ack.after(first)
                && !segment.ack.after(client.next));
        if !(within && echo_valid) {
            let echo = segment.timestamp.map(|(_, echo)| echo);
            let found = self.tcp.find_alternate(|syn| {
                syn.seq.plus(1) == segment.ack
                    && (!syn.has_timestamp || echo.is_none_or(|echo| echo == syn.timestamp))
            });
            match found {
                Some(syn) => self.apply_syn(&syn),
                None if !within => {
                    return self.refuse(Notice::SynAckWrongAck, Reason::TcpHandshakeInvalid);
                }
                None => return self.refuse(Notice::InvalidTimestamp, Reason::TcpPawsOld),
            }
        } else if segment.ack == first && client.has(SIDE_SYN_DATA) {
            self.tcp.flags |= TCP_SYN_DATA_IGNORED;
            if self.tcp.has(TCP_FAST_OPEN) {
                self.notices.note(Notice::SynAckDataIgnored);
            }
        }
        self.tcp.alternate_count = 0;
        self.tcp.flags &= !TCP_SPLIT;
        self.apply_syn_ack(&Alternate::of(&segment), segment.length);
        self.acknowledge();
        Fate::Stream
    }

    /// The client's SYN was another than we took.
    fn apply_syn(&mut self, syn: &Alternate) {
        let [client, server] = &mut self.tcp.sides;
        let first = syn.seq.plus(1);
        client.isn = syn.seq;
        client.next = first;
        client.acked = first;
        client.edge = first.plus(WINDOW_UNKNOWN);
        client.scale = syn.scale;
        client.flags = if syn.has_timestamp {
            SIDE_TIMESTAMPS
        } else {
            0
        };
        client.ts_recent = syn.timestamp;
        client.stream.restart(self.pool, first);
        server.window = u32::from(syn.window);
    }

    /// The server's answer: its numbers, and which options both have.
    fn apply_syn_ack(&mut self, answer: &Alternate, length: u32) {
        let seconds = self.seconds;
        let [client, server] = &mut self.tcp.sides;
        let first = answer.seq.plus(1);
        server.isn = answer.seq;
        server.next = first.plus(length);
        server.acked = first;
        server.edge = first.plus(server.window);
        server.scale = answer.scale;
        server.flags = if length != 0 { SIDE_SYN_DATA } else { 0 };
        server.stream.restart(self.pool, first);
        client.window = u32::from(answer.window);
        client.edge = client.next.plus(client.window);
        if client.scale != SCALE_NONE && server.scale != SCALE_NONE {
            self.tcp.flags |= TCP_SCALED;
        } else {
            self.tcp.flags &= !TCP_SCALED;
        }
        if answer.has_timestamp && client.has(SIDE_TIMESTAMPS) {
            (server.ts_recent, server.ts_seconds) = (answer.timestamp, seconds);
            self.tcp.flags |= TCP_TIMESTAMPS;
        } else {
            (client.ts_recent, server.ts_recent) = (0, 0);
            self.tcp.flags &= !TCP_TIMESTAMPS;
        }
        self.tcp.phase = TcpPhase::SynReceived;
    }

    /// The client answers the server's SYN with a SYN+ACK.
    fn split_syn_ack(&mut self) -> Fate {
        let (segment, is_split) = (*self.segment, self.tcp.has(TCP_SPLIT));
        let [client, server] = &mut self.tcp.sides;
        let refusal = if !is_split {
            Some(Notice::SynAckWrongDirection)
        } else if segment.ack != server.isn.plus(1) {
            Some(Notice::SplitSynAckWrongAck)
        } else if segment.seq != client.isn {
            Some(Notice::SplitSynAckWrongSyn)
        } else {
            None
        };
        if let Some(notice) = refusal {
            return self.refuse(notice, Reason::TcpHandshakeInvalid);
        }
        client.next = segment.end();
        client.scale = segment.scale.unwrap_or(SCALE_NONE);
        client.edge = client.acked.plus(client.window);
        server.acked = segment.ack;
        server.window = u32::from(segment.window);
        server.edge = server.acked.plus(server.window);
        if client.scale != SCALE_NONE && server.scale != SCALE_NONE {
            self.tcp.flags |= TCP_SCALED;
        }
        if let Some((value, _)) = segment.timestamp.filter(|_| server.has(SIDE_TIMESTAMPS)) {
            (client.ts_recent, client.ts_seconds) = (value, self.seconds);
            self.tcp.flags |= TCP_TIMESTAMPS;
        }
        self.tcp.phase = TcpPhase::SynReceived;
        Fate::Stream
    }

    /// A RST in answer to the SYN, or the client thinking better of it.
    fn refused(&mut self) -> Fate {
        let (segment, to_server) = (*self.segment, self.direction == Direction::ToServer);
        let [client, _] = &self.tcp.sides;
        let first = client.isn.plus(1);
        let valid = if to_server {
            segment.seq == client.isn || segment.seq == first || segment.seq == client.next
        } else {
            segment.has(ACK) && !segment.ack.before(first) && !segment.ack.after(client.next)
        };
        if !valid {
            return self.refuse(Notice::RstInvalidAck, Reason::TcpRstInvalid);
        }
        self.close_by_reset();
        let (sender, _) = self.sides();
        sender.flags |= SIDE_RST_DOUBTFUL;
        Fate::Passed
    }

    /// The server answers with a SYN of its own.
    fn syn_from_server(&mut self) -> Fate {
        let flags = self.tcp.flags;
        self.tcp.flags |= TCP_SPLIT;
        self.begin();
        // One-sided it is not, if both speak.
        self.tcp.flags = (self.tcp.flags & !TCP_ASYNC) | (flags & !TCP_ASYNC);
        Fate::Stream
    }

    /// The client's SYN again; with another number it is remembered which ones there were.
    fn syn_repeated(&mut self) -> Fate {
        let (segment, seconds) = (*self.segment, self.seconds);
        let [client, server] = &self.tcp.sides;
        let again = segment.seq == client.isn;
        let newer = segment
            .timestamp
            .map(|(value, _)| value)
            .filter(|value| client.has(SIDE_TIMESTAMPS) && *value != client.ts_recent);
        if again && newer.is_none() {
            return Fate::Stream;
        }
        let before = Alternate {
            seq: client.isn,
            timestamp: client.ts_recent,
            window: server.window.min(u32::from(u16::MAX)) as u16,
            scale: client.scale,
            has_timestamp: client.has(SIDE_TIMESTAMPS),
        };
        if !self.tcp.push_alternate(before) {
            self.notices.note(Notice::SynFlood);
            if let Some(place) = self.tcp.alternates.first_mut() {
                *place = before;
            }
            self.tcp.alternates.rotate_left(1);
        }
        if let (true, Some(value)) = (again, newer) {
            // Sent again, with the clock of now: the answer echoes either.
            let [client, _] = &mut self.tcp.sides;
            (client.ts_recent, client.ts_seconds) = (value, seconds);
            return Fate::Stream;
        }
        let first = segment.seq.plus(1);
        let [client, _] = &mut self.tcp.sides;
        client.stream.restart(self.pool, first);
        self.begin();
        Fate::Stream
    }

    /// Only the client is seen: its ACK stands for the whole handshake.
    fn one_sided(&mut self) -> Fate {
        let segment = *self.segment;
        let (sender, receiver) = self.sides();
        if segment.seq != sender.next {
            return self.refuse(Notice::AsyncWrongSeq, Reason::TcpHandshakeInvalid);
        }
        receiver.isn = segment.ack.minus(1);
        receiver.next = segment.ack;
        receiver.acked = segment.ack;
        receiver.edge = segment.ack.plus(WINDOW_UNKNOWN);
        receiver.stream.open(segment.ack);
        if sender.scale != SCALE_NONE {
            receiver.scale = super::segment::SCALE_MAX;
        }
        self.tcp.flags |= TCP_ASYNC | TCP_SCALED;
        if segment.timestamp.is_some() {
            self.tcp.flags |= TCP_TIMESTAMPS;
        }
        self.tcp.alternate_count = 0;
        self.tcp.phase = TcpPhase::Established;
        self.take_timestamp();
        self.advance();
        Fate::Stream
    }

    // --- SYN+ACK seen ---

    /// A segment while the handshake lacks its last ACK.
    pub fn syn_received(&mut self) -> Fate {
        let segment = *self.segment;
        if segment.has(SYN | FIN) {
            return self.refuse(Notice::FinSyn, Reason::TcpFlagsInvalid);
        }
        if segment.has(RST) {
            return self.reset();
        }
        if segment.is_syn_ack() {
            return self.syn_ack_repeated();
        }
        if segment.is_syn() {
            return self.syn_too_late();
        }
        if !segment.has(ACK) {
            return Fate::Invalid(Reason::TcpNoAck);
        }
        if !self.is_timestamp_valid() {
            return self.refuse(Notice::InvalidTimestamp, Reason::TcpPawsOld);
        }
        if segment.has(FIN) && self.direction == Direction::ToClient {
            // The server may close before the client has said a word.
            return match self.check_and_advance() {
                Ok(()) => self.establish(),
                Err(fate) => fate,
            };
        }
        if self.tcp.has(TCP_SPLIT) && self.direction == Direction::ToClient {
            return self.split_ack();
        }
        self.choose_alternate();
        let verdict = match self.direction {
            Direction::ToServer => self.ack_from_client(),
            Direction::ToClient => self.ack_from_server(),
        };
        match verdict {
            Ok(()) => {
                self.take_timestamp();
                self.advance();
                self.establish()
            }
            Err(fate) => fate,
        }
    }

    fn establish(&mut self) -> Fate {
        self.tcp.phase = TcpPhase::Established;
        self.tcp.alternate_count = 0;
        Fate::Stream
    }

    fn syn_ack_repeated(&mut self) -> Fate {
        let segment = *self.segment;
        let is_split = self.tcp.has(TCP_SPLIT);
        let [client, server] = &self.tcp.sides;
        if self.direction == Direction::ToServer {
            if is_split && segment.seq == client.isn {
                return Fate::Passed;
            }
            return self.refuse(Notice::SynAckToServer, Reason::TcpHandshakeInvalid);
        }
        if segment.ack != client.acked {
            return self.refuse(Notice::SynAckOtherAck, Reason::TcpHandshakeInvalid);
        }
        if segment.seq == server.isn {
            return Fate::Stream;
        }
        if !self.tcp.push_alternate(Alternate::of(&segment)) {
            return self.refuse(Notice::SynAckFlood, Reason::TcpHandshakeInvalid);
        }
        Fate::Passed
    }

    fn syn_too_late(&mut self) -> Fate {
        let [client, server] = &self.tcp.sides;
        let (seq, is_split) = (self.segment.seq, self.tcp.has(TCP_SPLIT));
        match self.direction {
            Direction::ToClient if is_split && seq == server.isn => Fate::Passed,
            Direction::ToClient => self.refuse(Notice::SynToClient, Reason::TcpHandshakeInvalid),
            Direction::ToServer if seq != client.isn => {
                self.refuse(Notice::SynResendOtherSeq, Reason::TcpHandshakeInvalid)
            }
            Direction::ToServer => Fate::Stream,
        }
    }

    /// If the client acknowledges another SYN+ACK than the first, that one counts.
    fn choose_alternate(&mut self) {
        let ack = self.segment.ack;
        if self.direction != Direction::ToServer || self.tcp.alternate_count == 0 {
            return;
        }
        let [_, server] = &self.tcp.sides;
        if ack == server.next {
            return;
        }
        if let Some(answer) = self.tcp.find_alternate(|a| a.seq.plus(1) == ack) {
            self.apply_syn_ack(&answer, 0);
        }
    }

    fn split_ack(&mut self) -> Fate {
        let segment = *self.segment;
        let (server, _) = self.sides();
        if segment.seq != server.next {
            return self.refuse(Notice::SplitWrongSeq, Reason::TcpHandshakeInvalid);
        }
        if !self.is_ack_valid() {
            return self.refuse(Notice::SplitInvalidAck, Reason::TcpAckInvalid);
        }
        self.take_timestamp();
        self.advance();
        self.establish()
    }

    fn ack_from_client(&mut self) -> Result<(), Fate> {
        let segment = *self.segment;
        let (client, server) = self.sides();
        let first = server.isn.plus(1);
        let answers = !segment.ack.before(first) && !segment.ack.after(server.next);
        let from = client.acked;
        let within = !segment.seq.before(from) && !segment.seq.after(client.edge);
        if answers && within {
            return Ok(());
        }
        if segment.seq == client.next || segment.seq == from {
            return Err(self.refuse(Notice::RightSeqWrongAck, Reason::TcpAckInvalid));
        }
        Err(self.refuse(Notice::WrongSeqWrongAck, Reason::TcpHandshakeInvalid))
    }

    /// The server speaks first: the client's ACK was lost by the capture, or is still to come.
    fn ack_from_server(&mut self) -> Result<(), Fate> {
        let (segment, rules) = (*self.segment, self.rules);
        let early = self.tcp.has(TCP_FROM_SYN_ACK) || self.tcp.has(TCP_FAST_OPEN);
        let one_sided = rules.async_oneside;
        let (server, client) = self.sides();
        let from = server.acked;
        let answers = !segment.ack.before(client.acked) && !segment.ack.after(client.next);
        if rules.inline && !early && !one_sided {
            let injects = segment.length > 0 && segment.ack == client.acked && segment.seq == from;
            let notice = if injects {
                Notice::AckDataInject
            } else {
                Notice::AckInWrongDirection
            };
            return Err(self.refuse(notice, Reason::TcpHandshakeInvalid));
        }
        if one_sided && segment.seq == from {
            self.tcp.flags |= TCP_ASYNC;
            return Ok(());
        }
        if answers && segment.seq == from {
            return Ok(());
        }
        if segment.seq.after(from) && segment.ack.after(client.acked) {
            return Ok(());
        }
        Err(self.refuse(Notice::WrongSeqWrongAck, Reason::TcpHandshakeInvalid))
    }
}
