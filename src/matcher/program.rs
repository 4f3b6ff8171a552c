//! A rule set compiled for the matcher: tests with their searchers and regexes, and the automata of
//! the groups. Immutable; all lanes share one. Compiling allocates, running never does.

use std::sync::Arc;

use super::address::AddressIndex;
use super::always::{Always, AlwaysList};
use super::app_program::{self, AppProgram, AppRule};
use super::check::{Check, Checks};
use super::gate::{self, Gate};
use super::group::{ByPort, Group, Side, is_long};
use super::header::Packet;
use super::pcre::{self, Asked, Patterns};
use super::prefilter::{Owner, Prefilter};
use super::profile::RuleCost;
use super::regex::Tables;
use super::transform;
use super::verify::{self, Step};
use crate::app::AppProtocol;
use crate::packet::{Context, Direction, flag};
use crate::rules::group::{self, Groups, Pattern, Place, ProtocolClass};
use crate::rules::ruleset::RuleSet;
use crate::rules::signature::{Buffer, Class, PortSet, Protocol, Signature, TagScope, Test};

/// Looks at the payload of packets.
pub const VIEW_PACKET: u8 = 1;
/// Looks at streams.
pub const VIEW_STREAM: u8 = 2;

/// A signature, compiled.
#[derive(Debug, Default)]
pub struct Rule {
    /// It is run: nothing in it is beyond this build.
    pub runs: bool,
    /// `VIEW_*` bits: where its payload tests look.
    pub views: u8,
    /// The rule insists on the stream (`tcp-stream`, `flow:only_stream`): another reading of bytes
    /// that the stream has already is none of its business.
    pub stream_alone: bool,
    /// Bytes to come may contradict it: it looks at one turn of a stream at a time.
    pub of_turn: bool,
    /// A content of its payload has a place of its own.
    pub is_placed: bool,
    /// Tests on the payload.
    pub payload: Box<[Step]>,
    /// Tests on header buffers.
    pub headers: Box<[(Buffer, Box<[Step]>)]>,
    /// Tests on application buffers.
    pub app: Box<[AppRule]>,
}

/// Patterns of rules about packets that an automaton of streams takes in, at most.
const JOINED_MAX: usize = 32;

/// A rule set, compiled.
#[derive(Debug)]
pub struct Program {
    ruleset: Arc<RuleSet>,
    rules: Box<[Rule]>,
    /// What is asked of candidates first.
    pub checks: Checks,
    map: Groups,
    /// By `Groups::side`.
    sides: Box<[Side]>,
    /// The same without what is about ports of `crowds` alone.
    usual: Box<[Side]>,
    /// By `Groups::side`: ports that most of the signatures there are about.
    crowds: Box<[Vec<u16>]>,
    /// By `Groups::of`.
    ports: Box<[ByPort]>,
    /// Signatures of addresses only.
    pub ip_only: AddressIndex,
    /// Signatures that look at transactions.
    pub app: AppProgram,
    /// Some rule tags hosts.
    pub tags_hosts: bool,
    regexes: Box<[pcre::Pattern]>,
    refused: Vec<(u32, String)>,
    /// What each signature cost in the bursts that were measured.
    costs: Box<[RuleCost]>,
}

impl Program {
    /// Compiles all signatures that run. One that the regex engine refuses is reported, not run.
    ///
    /// # Errors
    /// An automaton that cannot be built.
    pub fn compile(ruleset: Arc<RuleSet>) -> Result<Program, String> {
        Program::compile_with(ruleset, None)
    }

    /// The same, with automata of regexes from `tables` where it has them.
    ///
    /// # Errors
    /// As `compile`.
    pub fn compile_with(ruleset: Arc<RuleSet>, tables: Option<&Tables>) -> Result<Program, String> {
        let mut refused = Vec::new();
        let mut regexes = Patterns::with(tables);
        regexes.prepare(written_patterns(&ruleset));
        let mut rules = Vec::with_capacity(ruleset.signatures().len());
        for (signature, index) in ruleset.signatures().iter().zip(0u32..) {
            let mut rule = Rule::default();
            if ruleset.runs(index) {
                match compile_rule(signature, &mut regexes) {
                    Ok(compiled) => rule = compiled,
                    Err(why) => refused.push((index, why)),
                }
            }
            rules.push(rule);
        }
        let runs = |index: &u32| refused.binary_search_by_key(index, |(i, _)| *i).is_err();
        let map = Groups::build(&ruleset, is_shared);
        let patterns: Vec<Option<Pattern>> = ruleset
            .signatures()
            .iter()
            .map(group::fast_pattern)
            .collect();
        let compiled = Compiled {
            ruleset: &ruleset,
            rules: &rules,
            patterns: &patterns,
        };
        let (sides, usual, crowds, ports) = compiled.reached(&map, runs)?;
        let ip_only = map
            .ip_only()
            .iter()
            .filter(|index| runs(index))
            .filter_map(|index| Some((*index, ruleset.signature(*index)?)));
        let ip_only = AddressIndex::build(ip_only);
        let running = ruleset
            .signatures()
            .iter()
            .zip(0u32..)
            .filter(|(_, index)| ruleset.runs(*index) && runs(index));
        let app = AppProgram::build(
            running.map(|(signature, index)| (index, signature)),
            &mut regexes,
        )?;
        let tags_hosts = ruleset
            .signatures()
            .iter()
            .flat_map(|signature| &signature.tags)
            .any(|tag| tag.scope != TagScope::Flow);
        let checks = Checks::build(ruleset.signatures().iter().zip(&rules));
        Ok(Program {
            checks,
            costs: rules.iter().map(|_| RuleCost::default()).collect(),
            rules: rules.into(),
            sides,
            usual,
            crowds,
            ports,
            map,
            ip_only,
            app,
            tags_hosts,
            regexes: regexes.into_all(),
            refused,
            ruleset,
        })
    }

    /// The rule set behind.
    pub fn ruleset(&self) -> &Arc<RuleSet> {
        &self.ruleset
    }

    /// Signatures that the regex engine refuses, and why.
    pub fn refused(&self) -> &[(u32, String)] {
        &self.refused
    }

    /// All compiled regexes: a lane makes room for them before it starts.
    pub fn patterns(&self) -> &[pcre::Pattern] {
        &self.regexes
    }

    /// A hash of all regexes' tables, the same for sets that find the same.
    pub fn fingerprint(&self) -> u64 {
        let tables = self.regexes.iter().map(pcre::Pattern::fingerprint);
        tables.fold(0, u64::wrapping_add)
    }

    /// A signature and its compiled form.
    pub fn rule(&self, index: u32) -> Option<(&Signature, &Rule)> {
        Some((
            self.ruleset.signature(index)?,
            self.rules.get(index as usize)?,
        ))
    }

    /// Whether the header of a signature and its flow keyword fit the packet, for bytes of its flow
    /// that went in `direction`, in a flow that speaks `app`.
    #[inline]
    pub fn fits(
        &self,
        index: u32,
        check: &Check,
        (packet, app): (&Packet, AppProtocol),
        direction: Direction,
    ) -> bool {
        let signature = || self.ruleset.signature(index);
        self.checks.fits(check, signature, packet, direction, app)
    }

    /// The group of a packet.
    pub fn group(&self, context: &Context) -> Option<Group<'_>> {
        let class = if context.flags & (flag::IPV4 | flag::IPV6) == 0 {
            ProtocolClass::NonIp
        } else {
            ProtocolClass::of(context.protocol)
        };
        let known = context.has(flag::TRANSPORT) || context.kind == crate::packet::Kind::Stream;
        let port = match context.direction {
            Direction::ToServer => context.dst_port(),
            Direction::ToClient => context.src_port(),
        };
        let group = self.map.of(class, context.direction, known.then_some(port));
        let number = Groups::side(class, context.direction);
        let crowds = self.crowds.get(number)?;
        let ports = [context.src_port(), context.dst_port()];
        let is_usual = known && !ports.iter().any(|port| crowds.contains(port));
        let sides = if is_usual { &self.usual } else { &self.sides };
        let side = sides.get(number)?;
        let by_port = self.ports.get(group as usize)?;
        Some(Group { side, by_port })
    }

    /// Signatures that wait for this anomaly.
    pub fn for_anomaly(&self, code: u8) -> &[u32] {
        self.map.for_anomaly(code)
    }

    /// What each signature cost in the bursts that were measured, by its number.
    pub fn costs(&self) -> &[RuleCost] {
        &self.costs
    }

    /// Shows every prefilter once, with what it is for.
    pub fn each_prefilter(&self, mut show: impl FnMut(String, &Prefilter)) {
        let mut seen = hashbrown::HashSet::new();
        let mut once = |name: String, prefilter: &Prefilter| {
            if seen.insert(std::ptr::from_ref(prefilter)) {
                show(name, prefilter);
            }
        };
        let of_side = self.map.shared().zip(&self.sides);
        let sides = of_side.map(|((about, _), side)| (about, "all ports".to_string(), side));
        let of_port = self.map.iter().zip(&self.ports).zip(0..);
        let ports = of_port.map(|(((about, _), by_port), number)| {
            (about, format!("group {number} of ports"), &by_port.short)
        });
        let of_usual = self.map.shared().zip(&self.usual);
        let usual = of_usual.map(|((about, _), side)| (about, "usual ports".to_string(), side));
        for ((class, direction), what, side) in sides.chain(usual).chain(ports) {
            let name = format!("{class:?} {direction:?}, {what}");
            once(format!("{name}, packets"), &side.packet);
            once(format!("{name}, packets alone"), &side.alone[0]);
            once(format!("{name}, long packets alone"), &side.alone[1]);
            once(format!("{name}, streams"), &side.stream);
        }
        self.app.each_table(|field, direction, table| {
            let transformed = match table.transforms.is_empty() {
                true => "",
                false => ", transformed",
            };
            once(
                format!("{} {direction:?}{transformed}", field.name()),
                &table.prefilter,
            );
        });
    }

    /// Number of groups and bytes of their automata.
    pub fn footprint(&self) -> (usize, usize) {
        let sides = self.ports.iter().map(|by_port| &by_port.short);
        let bytes = sides
            .chain(&self.sides)
            .chain(&self.usual)
            .flat_map(|side| [&side.packet, &side.alone[0], &side.alone[1], &side.stream])
            .map(|prefilter| prefilter.memory())
            .sum();
        (self.ports.len(), bytes)
    }
}

/// The patterns of all signatures that run.
fn written_patterns(ruleset: &RuleSet) -> impl Iterator<Item = (&[u8], &str, Asked)> {
    let running = ruleset.signatures().iter().zip(0u32..);
    running
        .filter(|(_, index)| ruleset.runs(*index))
        .flat_map(|(signature, _)| &signature.inspect)
        .flat_map(|inspect| &inspect.tests)
        .filter_map(|test| match test {
            Test::Pcre(pcre) => Some((&*pcre.pattern, &*pcre.flags, verify::asked(pcre))),
            _ => None,
        })
}

fn compile_rule(signature: &Signature, regexes: &mut Patterns<'_>) -> Result<Rule, String> {
    let mut payload: Vec<Test> = Vec::new();
    let (mut headers, mut app) = (Vec::new(), Vec::new());
    for inspect in &signature.inspect {
        if inspect.buffer == Buffer::Payload {
            payload.extend(inspect.tests.iter().cloned());
        } else if let Some(field) = app_program::field_of(inspect) {
            app.push(AppRule {
                field,
                side: inspect.side,
                transforms: transform::compile(&inspect.transforms, regexes)?,
                absent: inspect.absent,
                steps: verify::compile(&inspect.tests, regexes)?,
            });
        } else {
            let steps = verify::compile(&inspect.tests, regexes)?;
            headers.push((inspect.buffer.clone(), steps));
        }
    }
    let payload_steps = verify::compile(&payload, regexes)?;
    Ok(Rule {
        runs: true,
        of_turn: payload_steps.iter().any(Step::can_be_contradicted),
        is_placed: payload.iter().any(is_placed),
        views: views(signature),
        stream_alone: insists_on_stream(signature),
        payload: payload_steps,
        headers: headers.into(),
        app: app.into(),
    })
}

fn is_placed(test: &Test) -> bool {
    matches!(test, Test::Content(content)
        if content.startswith || content.depth.is_some() || content.offset.is_some())
}

/// Where the payload tests of a signature look: the class decides, then what the rule insists on.
fn views(signature: &Signature) -> u8 {
    let has_payload = signature
        .inspect
        .iter()
        .any(|inspect| inspect.buffer == Buffer::Payload && !inspect.tests.is_empty());
    let is_tcp = matches!(
        signature.header.protocol,
        Protocol::Tcp
            | Protocol::TcpStream
            | Protocol::Ip
            | Protocol::Ipv4
            | Protocol::Ipv6
            | Protocol::App(_)
    ) || signature.header.protocol == Protocol::Number(6);
    if !has_payload || !is_tcp {
        return VIEW_PACKET;
    }
    if insists_on_stream(signature) {
        return VIEW_STREAM;
    }
    if signature.flow.as_ref().is_some_and(|flow| flow.no_stream) {
        return VIEW_PACKET;
    }
    match signature.class {
        Class::Stream => VIEW_STREAM,
        Class::PacketStream => VIEW_PACKET | VIEW_STREAM,
        _ => VIEW_PACKET,
    }
}

fn insists_on_stream(signature: &Signature) -> bool {
    let only_stream = signature.flow.as_ref().is_some_and(|flow| flow.only_stream);
    only_stream || signature.header.protocol == Protocol::TcpStream
}

/// What packets reach.
type Reached = (Box<[Side]>, Box<[Side]>, Box<[Vec<u16>]>, Box<[ByPort]>);
/// Patterns and their owners.
type Patterned = Vec<(Pattern, Owner)>;

/// What a side is compiled of.
#[derive(Default)]
struct Lists {
    packet: Patterned,
    alone: [Patterned; 2],
    stream: Patterned,
    packet_always: Vec<Always>,
    stream_always: Vec<Always>,
    wants_stream: bool,
}

/// Signatures and what is known of them, on the way to a program.
struct Compiled<'a> {
    ruleset: &'a RuleSet,
    rules: &'a [Rule],
    patterns: &'a [Option<Pattern>],
}

impl Compiled<'_> {
    /// Members with what they are and where they look. Only TCP has streams; elsewhere what looks
    /// at streams looks at packets.
    fn views(&self, class: ProtocolClass, members: &[u32]) -> Vec<(u32, &Signature, &Rule, u8)> {
        let known = |index: &u32| {
            let rule = self.rules.get(*index as usize)?;
            let views = match class {
                ProtocolClass::Tcp => rule.views,
                _ => VIEW_PACKET,
            };
            Some((*index, self.ruleset.signature(*index)?, rule, views))
        };
        members.iter().filter_map(known).collect()
    }

    /// What packets reach: by `Groups::side`, the same on usual ports, the ports that are not, and
    /// by `Groups::of`.
    fn reached(&self, map: &Groups, runs: impl Fn(&u32) -> bool) -> Result<Reached, String> {
        let of_sides = map.shared();
        let lists: Vec<Lists> = of_sides
            .chain(map.iter())
            .map(|(side, members)| {
                let members: Vec<u32> = members.iter().copied().filter(&runs).collect();
                self.lists(side, &members)
            })
            .collect();
        let shared = map.shared().count();
        let crowds: Box<[Vec<u16>]> = map
            .shared()
            .map(|(_, members)| self.crowds(members))
            .collect();
        let of_usual = map.shared().zip(&crowds).map(|((side, members), crowd)| {
            let members = members.iter().copied().filter(&runs);
            let members = members.filter(|index| !self.is_about(*index, crowd));
            self.lists(side, &members.collect::<Vec<u32>>())
        });
        let lists: Vec<Lists> = lists.into_iter().chain(of_usual).collect();
        let mut sides = compile_sides(&lists)?;
        let usual = sides.split_off(sides.len() - shared);
        let (of_sides, of_ports) = lists.split_at(shared);
        let wants = |(class, direction)| {
            let lists = of_sides.get(Groups::side(class, direction));
            lists.is_some_and(|lists| lists.wants_stream)
        };
        let ports = sides
            .drain(shared..)
            .zip(of_ports)
            .zip(map.iter())
            .map(|((short, lists), (side, _))| ByPort {
                short,
                packet_always: AlwaysList::new(lists.packet_always.clone()),
                stream_always: AlwaysList::new(lists.stream_always.clone()),
                wants_stream: lists.wants_stream || wants(side),
            })
            .collect();
        Ok((sides.into(), usual.into(), crowds, ports))
    }

    /// The ports that at least half of these signatures are about, each with many of them; none
    /// where there are no such.
    fn crowds(&self, members: &[u32]) -> Vec<u16> {
        let mut counts: hashbrown::HashMap<u16, usize> = hashbrown::HashMap::new();
        for signature in members.iter().filter_map(|i| self.ruleset.signature(*i)) {
            let ports = [&signature.header.src_port, &signature.header.dst_port];
            for port in ports.into_iter().filter_map(only_port) {
                *counts.entry(port).or_default() += 1;
            }
        }
        let mut crowds: Vec<u16> = counts
            .into_iter()
            .filter_map(|(port, count)| (count >= CROWD_MIN).then_some(port))
            .collect();
        crowds.sort_unstable();
        let about = members.iter().filter(|i| self.is_about(**i, &crowds));
        if about.count() * 2 < members.len() {
            crowds.clear();
        }
        crowds
    }

    /// Whether only packets with one of these ports on one side can fit a signature.
    fn is_about(&self, index: u32, crowds: &[u16]) -> bool {
        let header = self
            .ruleset
            .signature(index)
            .map(|signature| &signature.header);
        header.is_some_and(|header| {
            let ports = [&header.src_port, &header.dst_port];
            let mut only = ports.into_iter().filter_map(only_port);
            only.any(|port| crowds.contains(&port))
        })
    }

    fn lists(&self, (class, direction): (ProtocolClass, Direction), members: &[u32]) -> Lists {
        let mut lists = Lists::default();
        for (index, signature, rule, views) in self.views(class, members) {
            let pattern = self.patterns.get(index as usize).and_then(Option::as_ref);
            let pattern = pattern.filter(|pattern| !(is_short(pattern) && is_sized(signature)));
            lists.wants_stream |= views & VIEW_STREAM != 0;
            let Some(pattern) = pattern else {
                let always = Always::of(index, signature, rule, direction);
                for (view, list) in [
                    (VIEW_PACKET, &mut lists.packet_always),
                    (VIEW_STREAM, &mut lists.stream_always),
                ] {
                    if views & view != 0 {
                        list.push(always);
                    }
                }
                continue;
            };
            let gate = Gate::of(signature, rule, direction);
            let owner = Owner {
                signature: index,
                gate,
            };
            if views & VIEW_PACKET != 0 {
                lists.packet.push((pattern.clone(), owner));
            }
            if views == VIEW_PACKET {
                let [all, long] = &mut lists.alone;
                all.push((pattern.clone(), owner));
                if class != ProtocolClass::Tcp || is_long(usize::from(gate.longest)) == 1 {
                    long.push((pattern.clone(), owner));
                }
            }
            if views & VIEW_STREAM != 0 {
                // What is scanned of a stream begins and ends anywhere.
                let place = Place::Anywhere;
                let pattern = Pattern {
                    place,
                    ..pattern.clone()
                };
                lists.stream.push((pattern, owner));
            }
        }
        lists.join();
        lists
    }
}

impl Lists {
    /// Lets streams find what looks at long packets, if that is little.
    fn join(&mut self) {
        let floats = |(pattern, _): &(Pattern, Owner)| pattern.place == Place::Anywhere;
        let [_, long] = &mut self.alone;
        if self.stream.is_empty() || long.iter().filter(|one| floats(one)).count() > JOINED_MAX {
            return;
        }
        let (joined, apart) = std::mem::take(long).into_iter().partition(floats);
        *long = apart;
        self.stream.extend::<Patterned>(joined);
    }
}

/// Fast patterns of so few bytes stand everywhere: finding them all costs more than asking their
/// signatures where port or length lets them be asked at all.
const SHORT_MAX: usize = 4;
/// Different lengths of payload that a `dsize` allows, at most, for its signature to be asked
/// without a prefilter.
const SIZES_MAX: u16 = 64;

fn is_short(pattern: &Pattern) -> bool {
    pattern.bytes.len() <= SHORT_MAX
}

/// Whether only payloads of few lengths are asked.
fn is_sized(signature: &Signature) -> bool {
    let (shortest, longest) = gate::lengths(signature);
    longest.saturating_sub(shortest) < SIZES_MAX
}

/// Ports that decide, at most, for a signature with a short pattern to be looked for there alone.
const PORTS_MAX: usize = 64;

/// So many signatures about one port are a crowd: packets of other ports are spared it.
const CROWD_MIN: usize = 64;

/// The port of a set of one.
fn only_port(ports: &PortSet) -> Option<u16> {
    match ports.ranges.as_slice() {
        [(low, high)] if low == high && !ports.any => Some(*low),
        _ => None,
    }
}

/// Whether a signature's fast pattern is looked for on all ports.
fn is_shared(signature: &Signature, direction: Direction) -> bool {
    let ports = match direction {
        Direction::ToServer => &signature.header.dst_port,
        Direction::ToClient => &signature.header.src_port,
    };
    let count = ports
        .ranges
        .iter()
        .map(|(low, high)| usize::from(high - low) + 1)
        .sum::<usize>();
    let few_ports = !ports.any && count <= PORTS_MAX;
    group::fast_pattern(signature)
        .is_some_and(|pattern| !is_short(&pattern) || !few_ports && !is_sized(signature))
}

/// Compiles the prefilters of all sides, equal ones once, on as many threads as there are cores.
fn compile_sides(lists: &[Lists]) -> Result<Vec<Side>, String> {
    let mut known = hashbrown::HashMap::new();
    let mut distinct: Vec<&[(Pattern, Owner)]> = Vec::new();
    let mut number = |patterns| {
        *known.entry(patterns).or_insert_with(|| {
            distinct.push(patterns);
            distinct.len() - 1
        })
    };
    let numbers: Vec<[usize; 4]> = lists
        .iter()
        .map(|list| [&list.packet, &list.alone[0], &list.alone[1], &list.stream])
        .map(|lists| lists.map(|list| number(list)))
        .collect();
    let compiled = super::threads::each(&distinct, |patterns| {
        Prefilter::build(patterns).map(Arc::new)
    });
    let compiled: Result<Vec<Arc<Prefilter>>, String> = compiled
        .into_iter()
        .map(|(_, prefilter)| prefilter)
        .collect();
    let compiled = compiled?;
    let of = |number: usize| {
        let prefilter = compiled.get(number).map(Arc::clone);
        prefilter.ok_or_else(|| "a thread that compiled prefilters died".to_string())
    };
    numbers
        .into_iter()
        .map(|[packet, all, long, stream]| {
            Ok(Side {
                packet: of(packet)?,
                alone: [of(all)?, of(long)?],
                stream: of(stream)?,
            })
        })
        .collect()
}
