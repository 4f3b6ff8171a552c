//! Detection on one packet: who is proposed, who is checked, what a match sets.
//!
//! Stream bytes take the same way in streams.rs; what hits mean is arbiter.rs's.

use super::check::{Check, ask};
use super::feed::{Speech, TCP};
use super::gate::Facts;
use super::group::Group;
use super::header::{self, Packet};
use super::prefilter::{Extent, Prefilter, Scan};
use super::program::{Program, Rule};
use super::state::{self, Seal, int_holds};
use super::variables::holds;
use super::verify::{Outcome, View};
use super::{CANDIDATES_MAX, DetectionAccess, FlowMark, HITS_MAX, Hit, MatchStage, profile};
use crate::app::{AppProtocol, Field};
use crate::counters::Counter;
use crate::event::Emit;
use crate::packet::{Context, Direction, Kind, flag};
use crate::rules::signature::{BitCommand, Capture, Signature, StateTest};

/// Bit of a candidate that is to be looked for in the packet (else in the stream).
pub(super) const IN_PACKET: u64 = 1;

/// Where candidates of a stream look.
#[derive(Clone, Copy)]
pub(super) struct Reach {
    /// The stream's window.
    pub window: u32,
    /// The direction ends with it.
    pub end: bool,
    /// More bytes of the packet follow: candidates that look at the packet wait until all were
    /// seen.
    pub more: bool,
}

/// Adds a candidate. False: there is no room.
pub(super) fn push(candidates: &mut Vec<u64>, candidate: u64) -> bool {
    let room = candidates.len() < CANDIDATES_MAX;
    if room {
        candidates.push(candidate);
    }
    room
}

impl<D: DetectionAccess> MatchStage<D> {
    /// Finds all hits of a packet; `hits` holds them afterwards. Gives the flow among the parsers'
    /// flows, if the packet brought bytes for its parser.
    pub(super) fn inspect(
        &mut self,
        program: &Program,
        context: &Context,
        bytes: &[u8],
        mark: &mut FlowMark,
        emit: &Emit,
    ) -> Option<u32> {
        if program.ruleset().signatures().is_empty() {
            return self.follow(program, context, bytes, mark, emit);
        }
        self.speech = self.speech(mark);
        let seal = self.slabs.seal(mark.slab);
        let beyond = !context.has(flag::DECIDED) && self.begin_in_tap(context, bytes, mark);
        let fed = if context.has(flag::DECIDED) {
            None
        } else {
            self.hear(context, bytes, mark, emit)
        };
        if fed.is_some() {
            let before = self.speech.now;
            self.speech = Speech {
                before,
                ..self.speech(mark)
            };
        }
        // What the policy for errors drops is not looked at by rules.
        if self.broken && self.inline && !self.app_policy.forwards() {
            return fed;
        }
        for code in context.noted() {
            for signature in program.for_anomaly(*code) {
                self.propose(*signature, IN_PACKET);
            }
        }
        // A packet that decode or flow dropped is told by its anomalies only.
        if context.has(flag::DECIDED) {
            self.evaluate(program, context, bytes, mark, None, emit);
            return None;
        }
        let group = program.group(context);
        let packet = self.speech.packet(context, bytes, false);
        let mut facts = Facts::of(&packet, self.speech.before);
        if seal == Seal::Closed {
            facts = facts.without_payload();
        }
        self.note_encrypted(fed, seal, context, mark);
        let streams = seal == Seal::Open
            && (group.is_some_and(|group| group.wants_stream()) || program.app.wants_streams())
            && (context.has(flag::STREAM) || context.kind == Kind::Stream);
        if let Some(group) = group.filter(|_| context.kind != Kind::Stream) {
            let shared = streams && is_all_stream(context);
            self.propose_packet(program, (&group, &facts), shared, context, bytes, emit);
        }
        match group {
            _ if beyond && !streams => self.ask_beyond(program, context, bytes, mark, emit),
            Some(group) if streams => {
                let facts = facts.of_stream();
                self.stream(program, (&group, &facts), context, bytes, mark, emit);
            }
            _ => self.evaluate(program, context, bytes, mark, None, emit),
        }
        if let Some(app) = fed {
            self.inspect_transactions(program, app, context, bytes, mark, emit);
        }
        self.turn_seal(context, mark);
        fed
    }

    /// Without a rule a packet is shown to its flow's parser alone, for the log.
    fn follow(
        &mut self,
        program: &Program,
        context: &Context,
        bytes: &[u8],
        mark: &mut FlowMark,
        emit: &Emit,
    ) -> Option<u32> {
        if context.has(flag::DECIDED) {
            return None;
        }
        let seal = self.slabs.seal(mark.slab);
        // Rules that come later find the stream's chunks where they are.
        self.begin_in_tap(context, bytes, mark);
        let fed = self.hear(context, bytes, mark, emit);
        self.note_encrypted(fed, seal, context, mark);
        if let Some(app) = fed {
            self.speech = self.speech(mark);
            self.inspect_transactions(program, app, context, bytes, mark, emit);
        }
        self.turn_seal(context, mark);
        fed
    }

    /// Shows the packet to its flow's parser; a flow is counted once it is known what it speaks.
    fn hear(
        &mut self,
        context: &Context,
        bytes: &[u8],
        mark: &mut FlowMark,
        emit: &Emit,
    ) -> Option<u32> {
        let before = mark.app;
        let fed = self.feed(context, bytes, mark);
        if mark.app != before && mark.app != AppProtocol::Unknown as u8 {
            emit.counters.app_flow(mark.app, context.protocol == TCP);
        }
        fed
    }

    #[inline(never)]
    pub(super) fn propose(&mut self, signature: u32, view: u64) {
        let candidate = u64::from(signature) << 1 | view;
        self.over += u64::from(!push(&mut self.candidates, candidate));
    }

    /// Proposes for the packet whose fast pattern a prefilter finds.
    pub(super) fn propose_by(
        &mut self,
        prefilter: &Prefilter,
        facts: &Facts,
        (bytes, extent): (&[u8], Extent),
        emit: &Emit,
    ) {
        if prefilter.is_empty() {
            return;
        }
        let (mut looks, candidates) = (self.looks, &mut self.candidates);
        let mut over = 0;
        let since = self.profile.begin_scan();
        let scan = prefilter.scan_for_any(bytes, extent, facts, &mut looks, |signature| {
            over += u64::from(!push(candidates, u64::from(signature) << 1 | IN_PACKET));
        });
        profile::end_scan(&prefilter.cost, since, bytes.len(), self.looks - looks);
        self.looks = looks;
        self.over += over + u64::from(scan == Scan::Spent);
        emit.counters
            .add(Counter::PrefilterBytes, bytes.len() as u64);
    }

    /// Proposes what names addresses alone: once for each direction of a flow.
    #[cold]
    #[inline(never)]
    fn propose_by_address(&mut self, program: &Program, context: &Context) {
        program
            .ip_only
            .propose(context.src_addr(), context.dst_addr(), |signature| {
                self.propose(signature, IN_PACKET);
            });
    }

    /// Proposes what looks at the packet; if its bytes are `shared` with the stream, what the
    /// automata of streams hold is left to `stream`.
    fn propose_packet(
        &mut self,
        program: &Program,
        (group, facts): (&Group, &Facts),
        shared: bool,
        context: &Context,
        bytes: &[u8],
        emit: &Emit,
    ) {
        let is_ip = context.flags & (flag::IPV4 | flag::IPV6) != 0;
        let once = context.has(flag::FIRST_OF_DIRECTION) || !context.flow.is_some();
        if is_ip && once && !program.ip_only.is_empty() {
            self.propose_by_address(program, context);
        }
        let payload = match facts.has_payload() {
            true => context.payload_of(bytes),
            false => &[],
        };
        // Bytes that the stream did not take are looked at by stream signatures as well.
        let alone = context.has(flag::STREAM_NONE) || !context.flow.is_some();
        if !payload.is_empty() {
            let prefilters = if shared || alone {
                group.alone(payload.len())
            } else {
                group.packet()
            };
            for prefilter in prefilters {
                self.propose_by(prefilter, facts, (payload, Extent::WHOLE), emit);
            }
            for prefilter in group.stream().into_iter().filter(|_| alone) {
                self.propose_by(prefilter, facts, (payload, Extent::WHOLE), emit);
            }
        }
        group
            .packet_always()
            .each(facts, &mut |signature| self.propose(signature, IN_PACKET));
        if alone {
            group
                .stream_always()
                .each(facts, &mut |signature| self.propose(signature, IN_PACKET));
        }
    }

    /// Checks the candidates in the order of evaluation. `reach` is where candidates of the stream
    /// look.
    pub(super) fn evaluate(
        &mut self,
        program: &Program,
        context: &Context,
        bytes: &[u8],
        mark: &mut FlowMark,
        reach: Option<Reach>,
        emit: &Emit,
    ) {
        let app_told = self.speech.now != AppProtocol::Unknown && self.app_told(mark, context);
        if self.candidates.is_empty() {
            return;
        }
        self.candidates.sort_unstable();
        self.candidates.dedup();
        for candidate in &self.candidates {
            program.checks.prefetch((*candidate >> 1) as u32);
        }
        let waits = reach.is_some_and(|reach| reach.more);
        let kept = if waits { IN_PACKET } else { 0 };
        let asked = self.candidates.iter().filter(|c| *c & kept == 0).count();
        emit.counters.add(Counter::Candidates, asked as u64);
        let packet = self.speech.packet(context, bytes, app_told);
        for at in 0..self.candidates.len() {
            let candidate = self.candidates.get(at).copied().unwrap_or(0);
            let index = (candidate >> 1) as u32;
            let in_stream = candidate & IN_PACKET == 0;
            if !in_stream && waits {
                continue;
            }
            self.profile.next(program.costs(), index);
            let Some((signature, rule)) = self.due(program, index, in_stream, &packet) else {
                continue;
            };
            if !header::tests_hold(&signature.packet, &packet)
                || !self.state_holds(signature, context, mark)
                || !self.headers_hold(rule, &packet)
            {
                continue;
            }
            self.profile.checked();
            let holds = match reach {
                Some(reach) if in_stream => self.holds_in(reach.window, index, rule, reach.end),
                _ if in_stream => false,
                _ => self.holds_in_packet(rule, &packet),
            };
            if holds {
                self.profile.matched();
                let window = reach.map_or(state::NONE, |reach| reach.window);
                let hit = Hit {
                    signature: index,
                    stream: in_stream,
                    window: if in_stream { window } else { state::NONE },
                    transaction: state::NONE,
                    direction: context.direction,
                };
                self.hit(hit, signature, context, mark);
            }
        }
        self.profile.done(program.costs());
        self.candidates
            .retain(|candidate| waits && candidate & IN_PACKET != 0);
    }

    /// The rule of a candidate, if its header and flow keyword fit and it is to be asked now.
    fn due<'a>(
        &self,
        program: &'a Program,
        index: u32,
        in_stream: bool,
        packet: &Packet,
    ) -> Option<(&'a Signature, &'a Rule)> {
        let check = program.checks.get(index)?;
        let again = !in_stream && packet.context.has(flag::RETRANSMIT);
        let as_known = (packet, self.app_for(check, packet, in_stream));
        if !check.has(ask::RUNS)
            || (again && check.has(ask::STREAM_ALONE))
            || !program.fits(index, check, as_known, packet.context.direction)
            || self.has_hit(index, in_stream)
        {
            return None;
        }
        let (signature, rule) = program.rule(index)?;
        let due = !check.has(ask::DETECTION) || packet.app_told;
        due.then_some((signature, rule))
    }

    /// What the flow speaks, for a rule. A tap knows it once bytes are acknowledged, not with them.
    fn app_for(&self, check: &Check, packet: &Packet, in_stream: bool) -> AppProtocol {
        let early = !self.inline
            && !in_stream
            && packet.context.protocol == super::feed::TCP
            && check.has(ask::BOTH_VIEWS);
        if early {
            self.speech.before
        } else {
            packet.app
        }
    }

    /// Whether the signature hit already. A tap tells of packet and stream apart, as Suricata does
    /// when it does not sit in the path, unless this packet closes the chunk that it hit in; inline
    /// one hit decides.
    fn has_hit(&self, signature: u32, in_stream: bool) -> bool {
        let known =
            |hit: &Hit| hit.signature == signature && (self.inline || hit.stream == in_stream);
        self.hits.iter().any(known) || !in_stream && self.told.contains(&signature)
    }

    fn holds_in_packet(&mut self, rule: &Rule, packet: &Packet) -> bool {
        if rule.payload.is_empty() {
            return true;
        }
        // Bytes of a stream that has no window are looked at as they come.
        let payload = match packet.context.kind {
            Kind::Stream => packet.bytes,
            _ => packet.payload(),
        };
        !payload.is_empty()
            && self.scratch.verify(&rule.payload, &View::whole(payload)) == Outcome::Match
    }

    /// The first question about bytes: what groups took of those of earlier signatures is forgotten.
    fn headers_hold(&mut self, rule: &Rule, packet: &Packet) -> bool {
        self.scratch.captured.clear();
        rule.headers.iter().all(|(buffer, steps)| {
            header::any_instance(buffer, packet, |data| {
                self.scratch.verify(steps, &View::whole(data)) == Outcome::Match
            })
        })
    }

    /// Whether the state that a signature reads is as it wants. Most read none.
    #[inline(always)]
    pub(super) fn state_holds(
        &mut self,
        signature: &Signature,
        context: &Context,
        mark: &FlowMark,
    ) -> bool {
        signature.state.is_empty() || self.states_hold(signature, context, mark)
    }

    #[inline(never)]
    fn states_hold(&mut self, signature: &Signature, context: &Context, mark: &FlowMark) -> bool {
        signature.state.iter().all(|test| match test {
            StateTest::Flowbit { command, bits } => {
                // Several are alternatives, of those that are not set as well.
                let mut each = bits.iter().map(|bit| self.slabs.bit(mark.slab, *bit));
                let reads = matches!(command, BitCommand::IsSet | BitCommand::IsNotSet);
                !reads || context.flow.is_some() && each.any(|set| read_holds(*command, set))
            }
            StateTest::Flowint {
                name,
                operator,
                value,
            } => {
                let value = self.operand(*value, mark);
                context.flow.is_some()
                    && int_holds(*operator, self.slabs.int(mark.slab, *name), value)
            }
            StateTest::HostBit {
                command: command @ (BitCommand::IsSet | BitCommand::IsNotSet),
                bit,
                track,
                ..
            } => {
                self.wait(context);
                let set = self.shared.bit(*bit, *track, context);
                read_holds(*command, set)
            }
            StateTest::FlowVariable { name, bytes } => {
                holds(self.slabs.variables.get(mark.slab, *name), bytes)
            }
            StateTest::PacketVariable { name, bytes } => {
                holds(self.variables.get(Capture::Packet(*name)), bytes)
            }
            StateTest::HostBit { .. } | StateTest::TransactionBit { .. } => true,
        })
    }

    /// A number, or what a variable holds: 0 where it was never set.
    fn operand(&self, value: Result<u32, u32>, mark: &FlowMark) -> u32 {
        match value {
            Ok(literal) => literal,
            Err(name) => self.slabs.int(mark.slab, name).unwrap_or(0),
        }
    }

    pub(super) fn wait(&mut self, context: &Context) {
        if !self.waited {
            self.turn.wait_turn(context.order);
            self.waited = true;
        }
    }

    /// Notes a hit and sets what the signature sets; later signatures of the packet see it.
    pub(super) fn hit(
        &mut self,
        hit: Hit,
        signature: &Signature,
        context: &Context,
        mark: &mut FlowMark,
    ) {
        if self.hits.len() >= HITS_MAX {
            self.over += 1;
            return;
        }
        self.hits.push(hit);
        self.keep_variables(context, mark);
        for test in &signature.state {
            match test {
                StateTest::TransactionBit { bit } => self.set_in_transaction(*bit, hit.transaction),
                _ => self.write_state(test, hit.direction, context, mark),
            }
        }
    }

    /// Keeps what groups of the signature's expressions took.
    fn keep_variables(&mut self, context: &Context, mark: &mut FlowMark) {
        if self.scratch.captured.is_empty() {
            return;
        }
        let flows = |(what, _): (Capture, &[u8])| matches!(what, Capture::Flow(_));
        let of_flow = self.scratch.captured.iter().any(flows);
        let slab = match of_flow {
            true => self.slab(mark, context).unwrap_or(state::NONE),
            false => state::NONE,
        };
        for (what, value) in self.scratch.captured.iter() {
            let kept = match what {
                Capture::Flow(name) => self.slabs.variables.set(slab, name, value),
                what => self.variables.set(what, value),
            };
            self.lost += u64::from(!kept);
        }
    }

    /// Notes a bit in a transaction, for the rules about either direction that ask for it.
    fn set_in_transaction(&mut self, bit: u32, transaction: u32) {
        let apps = self.apps.as_mut();
        let Some((transaction, heap)) = apps.and_then(|apps| apps.transaction_mut(transaction))
        else {
            return;
        };
        let number = u64::from(bit);
        if transaction
            .instances(heap)
            .any(|i| i.field == Field::TxBit && i.number() == number)
        {
            return;
        }
        let kept = [Direction::ToServer, Direction::ToClient]
            .map(|way| transaction.add_number(heap, Field::TxBit, way, number));
        self.lost += kept.iter().filter(|kept| !**kept).count() as u64;
    }

    fn write_state(
        &mut self,
        test: &StateTest,
        direction: Direction,
        context: &Context,
        mark: &mut FlowMark,
    ) {
        match test {
            StateTest::Flowbit {
                command: command @ (BitCommand::Set | BitCommand::Unset | BitCommand::Toggle),
                bits,
            } => {
                let Some(slab) = self.slab(mark, context) else {
                    return;
                };
                for bit in bits {
                    let value = written(*command, self.slabs.bit(slab, *bit));
                    self.slabs.set_bit(slab, *bit, value);
                }
            }
            StateTest::Flowint {
                name,
                operator,
                value,
            } => {
                let value = self.operand(*value, mark);
                if let Some(slab) = self.slab(mark, context) {
                    self.slabs.update_int(slab, *name, *operator, value);
                }
            }
            StateTest::HostBit {
                command: command @ (BitCommand::Set | BitCommand::Unset | BitCommand::Toggle),
                bit,
                track,
                expire,
            } => {
                self.wait(context);
                let track = turned(*track, direction != context.direction);
                let value = written(*command, self.shared.bit(*bit, track, context));
                let done = self.shared.set_bit(*bit, track, context, *expire, value);
                self.lost += u64::from(done.is_err());
            }
            _ => {}
        }
    }
}

/// Whether all of a packet's payload is new to its stream, in order.
pub(super) fn is_all_stream(context: &Context) -> bool {
    context.has(flag::STREAM)
        && !context.has(flag::STREAM_NONE)
        && context.stream_skip == 0
        && context.stream_length == context.payload_length
}

/// A track as seen from a packet of the opposite direction.
pub(super) fn turned(
    track: crate::rules::signature::Track,
    opposite: bool,
) -> crate::rules::signature::Track {
    use crate::rules::signature::Track;
    match track {
        Track::Source if opposite => Track::Destination,
        Track::Destination if opposite => Track::Source,
        other => other,
    }
}

fn read_holds(command: BitCommand, set: bool) -> bool {
    match command {
        BitCommand::IsSet => set,
        BitCommand::IsNotSet => !set,
        _ => true,
    }
}

fn written(command: BitCommand, old: bool) -> bool {
    match command {
        BitCommand::Set => true,
        BitCommand::Toggle => !old,
        _ => false,
    }
}
