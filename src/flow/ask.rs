//! What the flow stage asks the table, and when: for all packets of a burst at once, ahead of their
//! turns, and for one alone where that was not possible.

use super::stage::{FlowStage, has_flow};
use super::table::{Admit, Answer, Class, Request, Visit, Visitor};
use crate::counters::{Counter, Counters};
use crate::packet::{Burst, Context, Tuple, flag};
use crate::time::Tick;

/// Requests that the table answers together.
const ASK_MAX: usize = 64;
/// So many packets before its turn a packet's TCP state is asked for: four lines each, and a core
/// has about twenty under way.
const AHEAD: usize = 5;
/// Lines of it; more would push out what was asked for before.
const AHEAD_LINES: usize = 4;

/// Writes the table's answers down and asks for each flow's record.
struct Asked<'a>(&'a mut [Answer]);

impl Visitor for Asked<'_> {
    const RECORDS: bool = true;

    #[inline(always)]
    fn visit(&mut self, visit: Visit<'_>) {
        if let Some(place) = self.0.get_mut(visit.index()) {
            *place = visit.answer();
        }
    }
}

impl FlowStage {
    /// The table's answer to the next packet.
    pub(super) fn next_answer(&mut self) -> Answer {
        let answer = self.answers.get(self.answered).copied();
        self.answered += 1;
        answer.unwrap_or(Answer::Missing)
    }

    /// Asks the table for the flows of all contexts that have one, in parts of [`ASK_MAX`].
    pub(super) fn ask(&mut self, burst: &Burst, counters: &Counters) {
        self.answers.clear();
        self.answers.resize(burst.len(), Answer::Missing);
        self.answered = 0;
        let before = *self.flows.counters();
        self.closed_before = before.closed;
        let blank = Tuple::default();
        let contexts = &*self.contexts;
        let parts = burst.chunks(ASK_MAX);
        for (part, answers) in parts.zip(self.answers.chunks_mut(ASK_MAX)) {
            let mut requests = [Request {
                tuple: &blank,
                admit: Admit::Never,
            }; ASK_MAX];
            let mut newest = self.clock;
            let mut count = 0;
            for (request, handle) in requests.iter_mut().zip(part) {
                let context = contexts.get(handle);
                newest = newest.max(context.clock());
                if has_flow(context) {
                    request.tuple = &context.tuple;
                    request.admit = admit(context);
                    count += 1;
                }
            }
            // Blank requests admit nothing, and no flow has the blank tuple.
            if let Some(requests) = requests.get(..part.len())
                && count != 0
            {
                let now = Tick::from_nanos(newest);
                self.flows.burst_each(requests, now, &mut Asked(answers));
            }
        }
        let created = self.flows.counters().created - before.created;
        counters.add(Counter::FlowsCreated, created);
    }

    /// Asks for the TCP state of a packet further on, whose record has come by now.
    #[inline]
    pub(super) fn ask_ahead(&self, at: usize) {
        if let Some(Answer::Found(flow)) = self.answers.get(at + AHEAD)
            && let Some(record) = self.records.get(flow.slot)
        {
            self.connections.prefetch(record.tcp, AHEAD_LINES);
        }
    }

    /// Asks the table for the flow of one packet: a view that was made on the way, or one whose flow
    /// has ended meanwhile.
    pub(super) fn ask_alone(&mut self, context: &Context, counters: &Counters) -> Answer {
        if !has_flow(context) {
            return Answer::Missing;
        }
        let now = Tick::from_nanos(self.clock);
        let admit = admit(context);
        let answer = self.flows.find_or_create(&context.tuple, admit, now);
        if matches!(answer, Answer::Created(_)) {
            counters.inc(Counter::FlowsCreated);
        }
        answer
    }
}

/// Errors about a flow do not make one.
fn admit(context: &Context) -> Admit {
    if context.has(flag::ICMP_ERROR) {
        Admit::Never
    } else {
        Admit::As(Class::HalfOpen)
    }
}
