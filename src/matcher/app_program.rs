//! Rules on transactions, compiled: automata by field, transforms and direction, the rules without
//! a fast pattern by protocol, and who waits for which event.

use super::gate::Gate;
use super::pcre::Patterns as Regexes;
use super::prefilter::{Owner, Prefilter};
use super::program::Rule;
use super::transform::{self, Compiled};
use super::verify::Step;
use crate::app::registry::DESCRIPTIONS;
use crate::app::{AppProtocol, Field};
use crate::packet::Direction;
use crate::rules::fast_pattern::{self, Choice};
use crate::rules::group::{self, Pattern};
use crate::rules::signature::{
    Buffer, Compare, PacketTest, Protocol, Signature, Spoken, Test, Transform, Which,
};

/// A buffer of a rule and the tests on it.
#[derive(Debug)]
pub struct AppRule {
    /// Which.
    pub field: Field,
    /// Direction whose instances are meant, where it is not that of the evaluation.
    pub side: Option<Direction>,
    /// Transforms, in order.
    pub transforms: Box<[Compiled]>,
    /// `absent`, `absent:or_else`.
    pub absent: Option<bool>,
    /// Tests.
    pub steps: Box<[Step]>,
}

/// The automaton of a buffer.
#[derive(Debug)]
pub struct Table {
    /// Transforms of the buffer.
    pub transforms: Box<[Compiled]>,
    /// Fast patterns of the rules that look at it.
    pub prefilter: Prefilter,
}

/// All rules on transactions.
#[derive(Debug, Default)]
pub struct AppProgram {
    tables: [Vec<Vec<Table>>; 2],
    always: [Vec<Vec<u32>>; 2],
    frames: [Vec<u32>; 2],
    events: Vec<(u16, Vec<u32>)>,
    wanted: Vec<bool>,
    any: bool,
    any_payload: bool,
    any_transactional: bool,
}

/// Whether a signature needs to know what a flow speaks.
fn asks_protocol(signature: &Signature) -> bool {
    let asks = |test: &PacketTest| matches!(test, PacketTest::AppProtocol { .. });
    matches!(signature.header.protocol, Protocol::App(_)) || signature.packet.iter().any(asks)
}

/// Whether a signature asks what a direction tells, not the flow.
fn asks_sides(signature: &Signature) -> bool {
    signature.packet.iter().any(|test| {
        let PacketTest::AppProtocol { of, .. } = test else {
            return false;
        };
        !matches!(of, Spoken::Final | Spoken::Original)
    })
}

type Patterns = Vec<(Pattern, Owner)>;
/// Patterns of a field, by the transforms before them.
type ByTransforms = Vec<(Box<[Transform]>, Patterns)>;

impl AppProgram {
    /// Shows every table with its field and direction.
    pub fn each_table(&self, mut show: impl FnMut(Field, Direction, &Table)) {
        for (tables, direction) in self
            .tables
            .iter()
            .zip([Direction::ToServer, Direction::ToClient])
        {
            for (field, tables) in Field::ALL.iter().zip(tables) {
                tables
                    .iter()
                    .for_each(|table| show(*field, direction, table));
            }
        }
    }

    /// Lays out those of `signatures` that look at transactions.
    ///
    /// # Errors
    /// An automaton that cannot be built.
    pub fn build<'a>(
        signatures: impl Iterator<Item = (u32, &'a Signature)>,
        regexes: &mut Regexes<'_>,
    ) -> Result<AppProgram, String> {
        let fields = Field::ALL.len();
        let protocols = AppProtocol::ALL.len() + 2;
        let mut program = AppProgram {
            always: [vec![Vec::new(); protocols], vec![Vec::new(); protocols]],
            wanted: vec![false; fields],
            ..AppProgram::default()
        };
        let mut patterns: [Vec<ByTransforms>; 2] =
            [vec![Vec::new(); fields], vec![Vec::new(); fields]];
        for (index, signature) in signatures {
            program.any |= asks_protocol(signature);
            if !group::looks_at_transactions(signature) {
                continue;
            }
            program.any = true;
            program.note_wanted(signature);
            program.any_transactional |= signature.header.transactional;
            if program.note_event(index, signature) {
                continue;
            }
            let chosen = choose(signature);
            for direction in [Direction::ToServer, Direction::ToClient] {
                if !reaches(signature, direction) {
                    continue;
                }
                let way = direction.index();
                let Some((field, transforms, side, pattern)) = &chosen else {
                    if signature
                        .inspect
                        .iter()
                        .filter_map(field_of)
                        .any(Field::is_frame)
                    {
                        program.frames[way].push(index);
                        continue;
                    }
                    for protocol in protocols_of(signature) {
                        program.always[way][protocol as usize].push(index);
                    }
                    continue;
                };
                if side.is_some_and(|side| side != direction) {
                    continue;
                }
                let tables = &mut patterns[way][*field as usize];
                let place = match tables.iter().position(|(known, _)| known == transforms) {
                    Some(place) => place,
                    None => {
                        tables.push((transforms.clone(), Vec::new()));
                        tables.len() - 1
                    }
                };
                tables[place].1.push((
                    pattern.clone(),
                    Owner {
                        signature: index,
                        gate: Gate::OPEN,
                    },
                ));
            }
        }
        program.build_tables(patterns, regexes)?;
        Ok(program)
    }

    /// Builds the automata of all fields.
    fn build_tables(
        &mut self,
        patterns: [Vec<ByTransforms>; 2],
        regexes: &mut Regexes<'_>,
    ) -> Result<(), String> {
        for (way, fields) in patterns.into_iter().enumerate() {
            for tables in fields {
                let tables: Result<Vec<Table>, String> = tables
                    .into_iter()
                    .map(|(transforms, patterns)| {
                        Ok(Table {
                            transforms: transform::compile(&transforms, regexes)?,
                            prefilter: Prefilter::build(&patterns)?,
                        })
                    })
                    .collect();
                self.tables[way].push(tables?);
            }
        }
        Ok(())
    }

    fn note_wanted(&mut self, signature: &Signature) {
        self.any_payload |= signature
            .inspect
            .iter()
            .any(|view| view.buffer == Buffer::Payload && !view.tests.is_empty());
        let buffers = signature.inspect.iter().filter_map(field_of);
        let numbers = signature.app.iter().map(|test| test.field);
        // The two directions of a flow are compared where events are wanted.
        let sides = asks_sides(signature).then_some(Field::AppLayerEvent);
        for field in buffers.chain(numbers).chain(sides) {
            if let Some(wanted) = self.wanted.get_mut(field as usize) {
                *wanted = true;
            }
        }
    }

    /// A rule about an event waits for the event.
    fn note_event(&mut self, index: u32, signature: &Signature) -> bool {
        let mut found = false;
        for test in &signature.app {
            if test.field != Field::AppLayerEvent {
                continue;
            }
            for compare in &test.any_of {
                if let crate::rules::signature::Compare::Equal(event) = compare {
                    let event = *event as u16;
                    found = true;
                    match self.events.iter_mut().find(|(known, _)| *known == event) {
                        Some((_, list)) => list.push(index),
                        None => self.events.push((event, vec![index])),
                    }
                }
            }
        }
        found
    }

    /// Whether some rule needs the application layer at all.
    pub fn is_wanted(&self) -> bool {
        self.any
    }

    /// Whether some rule looks at a transaction and at the stream.
    pub fn wants_streams(&self) -> bool {
        self.any_payload
    }

    /// Whether some rule is about both directions of a transaction (`=>`).
    pub fn has_transactional(&self) -> bool {
        self.any_transactional
    }

    /// Fields that rules ask for, by number.
    pub fn wanted(&self) -> Box<[bool]> {
        self.wanted.as_slice().into()
    }

    /// The automata of a field.
    pub fn tables(&self, field: Field, direction: Direction) -> &[Table] {
        self.tables[direction.index()]
            .get(field as usize)
            .map_or(&[], Vec::as_slice)
    }

    /// Rules without a fast pattern that a transaction of this protocol can satisfy.
    pub fn always(&self, protocol: AppProtocol, direction: Direction) -> &[u32] {
        self.always[direction.index()]
            .get(protocol as usize)
            .map_or(&[], Vec::as_slice)
    }

    /// Rules about frames without a fast pattern.
    pub fn always_frames(&self, direction: Direction) -> &[u32] {
        &self.frames[direction.index()]
    }

    /// Rules that wait for an event.
    pub fn for_event(&self, event: u16) -> &[u32] {
        self.events
            .iter()
            .find(|(known, _)| *known == event)
            .map_or(&[], |(_, list)| list.as_slice())
    }
}

/// The state that a rule asks for, of those that a parser tells of (`tls:NAME`), if it asks for
/// nothing else. As in Suricata it then holds with every piece while the direction is in that state,
/// and with the piece that brings it further: the one kind of rule whose hits the cut of the bytes
/// decides.
pub fn state_alone(signature: &Signature, rule: &Rule) -> Option<u64> {
    let [test] = &signature.app[..] else {
        return None;
    };
    let [Compare::Equal(state)] = test.any_of[..] else {
        return None;
    };
    let told = test.field == Field::Hook && matches!(test.which, Which::Any);
    (told && rule.app.is_empty() && rule.payload.is_empty()).then_some(state)
}

fn reaches(signature: &Signature, direction: Direction) -> bool {
    signature.header.transactional || group::in_direction(signature, direction)
}

/// The field behind a buffer of a rule.
pub fn field_of(view: &crate::rules::signature::Inspect) -> Option<Field> {
    match &view.buffer {
        // The body of a response is its file data.
        Buffer::App(name) if &**name == "http.response_body" => Some(Field::FileData),
        Buffer::App(name) => Field::by_name(name),
        _ => None,
    }
}

/// The fast pattern: the language's choice if it stands in an application buffer and is positive,
/// else the best of the positive contents there.
#[allow(clippy::type_complexity)]
fn choose(signature: &Signature) -> Option<(Field, Box<[Transform]>, Option<Direction>, Pattern)> {
    let made = |choice: &Choice| {
        let view = signature.inspect.get(choice.inspect)?;
        let Test::Content(content) = view.tests.get(choice.test)? else {
            return None;
        };
        if content.negated {
            return None;
        }
        let field = field_of(view)?;
        if choice.range.is_empty() {
            return None;
        }
        let pattern = group::pattern_of_piece(content, choice.range.clone());
        Some((field, view.transforms.as_slice().into(), view.side, pattern))
    };
    if let Some(found) = fast_pattern::fast_pattern(signature).and_then(|choice| made(&choice)) {
        return Some(found);
    }
    let mut without_payload = signature.clone();
    for view in &mut without_payload.inspect {
        let of_app = matches!(view.buffer, Buffer::App(_));
        if !of_app {
            view.tests.clear();
        }
    }
    fast_pattern::fast_pattern(&without_payload).and_then(|choice| made(&choice))
}

/// Protocols whose transactions a rule without a fast pattern has to look at.
fn protocols_of(signature: &Signature) -> Vec<AppProtocol> {
    let fields: Vec<Field> = signature
        .inspect
        .iter()
        .filter_map(field_of)
        .chain(signature.app.iter().map(|test| test.field))
        .collect();
    let filled = |protocol: AppProtocol, field: Field| {
        DESCRIPTIONS
            .iter()
            .any(|d| d.protocol == protocol && d.fields.contains(&field))
    };
    let all = AppProtocol::ALL.iter().copied();
    all.filter(|protocol| match &signature.header.protocol {
        Protocol::App(word) => {
            protocol.is(word) || fields.iter().any(|field| filled(*protocol, *field))
        }
        _ => fields.iter().any(|field| filled(*protocol, *field)),
    })
    .collect()
}
