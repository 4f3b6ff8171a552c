//! An immutable, numbered set of signatures in the order of evaluation, with the names that their
//! state keywords refer to.
//!
//! Building sorts as the language demands (action, state writers before readers, priority, sid:
//! RULES.md 6.3 "Order"); the position is the signature's number everywhere behind. What this
//! build can't execute is kept for the report and never run. Nothing is compiled here: automata
//! and regexes are the matcher's (matcher/program.rs), grouping is group.rs's.

use super::load::{ACTION_RANKS, order};
use super::names::Names;
use super::signature::{Action, Buffer, Class, Limits, Protocol, Signature, Test};

/// All signatures of one load.
#[derive(Debug, Default)]
pub struct RuleSet {
    signatures: Vec<Signature>,
    names: Names,
    generation: u32,
    idle: Vec<(u32, Box<str>)>,
}

impl RuleSet {
    /// Sorts the signatures into the order of evaluation. `generation` numbers the set.
    pub fn build(signatures: Vec<Signature>, names: Names, generation: u32) -> RuleSet {
        RuleSet::build_in_order(signatures, names, generation, ACTION_RANKS)
    }

    /// The same with ranks of pass, drop, reject and alert of the operator's own.
    pub fn build_in_order(
        signatures: Vec<Signature>,
        names: Names,
        generation: u32,
        ranks: [u8; 4],
    ) -> RuleSet {
        let mut signatures: Vec<Signature> = signatures.into_iter().flat_map(both_ways).collect();
        signatures.sort_by_cached_key(|signature| order(signature, ranks));
        let idle = signatures
            .iter()
            .zip(0u32..)
            .filter_map(|(signature, index)| not_run(signature).map(|why| (index, why)))
            .collect();
        RuleSet {
            signatures,
            names,
            generation,
            idle,
        }
    }

    /// All signatures; the index is the order of evaluation.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The signature with that number, for the event writer.
    pub fn signature(&self, index: u32) -> Option<&Signature> {
        self.signatures.get(index as usize)
    }

    /// Names behind state ids.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Number of the set.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Signatures that are loaded and never run, and why.
    pub fn idle(&self) -> &[(u32, Box<str>)] {
        &self.idle
    }

    /// Whether the signature is run.
    pub fn runs(&self, index: u32) -> bool {
        self.idle
            .binary_search_by_key(&index, |(idle, _)| *idle)
            .is_err()
    }
}

/// A rule written with `<>` is two signatures, the second with its ends swapped.
fn both_ways(mut signature: Signature) -> impl Iterator<Item = Signature> {
    let mut second = None;
    if std::mem::take(&mut signature.header.bidirectional) {
        let mut swapped = signature.clone();
        let header = &mut swapped.header;
        std::mem::swap(&mut header.src_addr, &mut header.dst_addr);
        std::mem::swap(&mut header.src_port, &mut header.dst_port);
        second = (swapped.header != signature.header).then_some(swapped);
    }
    std::iter::once(signature).chain(second)
}

/// Keywords that are not run on purpose.
const REFUSED: &[(&str, &str)] = &[
    (
        "lua",
        "a script has no bound on its time in the path of packets",
    ),
    (
        "luaxform",
        "a script has no bound on its time in the path of packets",
    ),
    ("replace", "a frame that is forwarded is never changed"),
    (
        "geoip without geoip-database",
        "settings name no database of countries: geoip-database",
    ),
    (
        "config:tracking packet",
        "every packet of a flow is tracked",
    ),
];

/// Why this build does not run the signature; `None` if it does.
fn not_run(signature: &Signature) -> Option<Box<str>> {
    if let Some(keyword) = signature.unsupported.first() {
        let why = REFUSED.iter().find(|(name, _)| **name == **keyword);
        let why = why.map_or(String::new(), |(_, why)| format!(": {why}"));
        return Some(format!("keyword {keyword}{why}").into());
    }
    for inspect in &signature.inspect {
        let of_app = matches!(inspect.buffer, Buffer::App(_));
        if !of_app && (!inspect.transforms.is_empty() || inspect.absent.is_some()) {
            return Some("transform or absent on a packet buffer".into());
        }
        // The byte order is a call's: only its buffers have one.
        if !of_app && inspect.tests.iter().any(uses_dce) {
            return Some("dce outside of a buffer of DCERPC".into());
        }
    }
    None
}

fn uses_dce(test: &Test) -> bool {
    match test {
        Test::ByteTest(test) => test.format.dce,
        Test::ByteJump(jump) => jump.format.dce,
        Test::ByteExtract(extract) => extract.format.dce,
        Test::ByteMath(math) => math.format.dce,
        _ => false,
    }
}

/// A signature that matches every packet, to build others from (tests, generated rules).
pub fn blank(sid: u32) -> Signature {
    use super::signature::{AddressSet, Header, PortSet, Source};
    let addresses = AddressSet {
        any: true,
        ..AddressSet::default()
    };
    let ports = PortSet {
        any: true,
        ranges: Vec::new(),
    };
    Signature {
        action: Action::Alert,
        scope: None,
        header: Header {
            protocol: Protocol::Ip,
            src_addr: addresses.clone(),
            src_port: ports.clone(),
            dst_addr: addresses,
            dst_port: ports,
            bidirectional: false,
            transactional: false,
        },
        sid,
        gid: 1,
        rev: 1,
        msg: format!("sid {sid}").into(),
        classtype: None,
        priority: 3,
        references: Vec::new(),
        metadata: Vec::new(),
        target: None,
        flow: None,
        packet: Vec::new(),
        state: Vec::new(),
        inspect: Vec::new(),
        app: Vec::new(),
        threshold: None,
        detection_filter: None,
        limits: Limits::default(),
        tags: Vec::new(),
        noalert: false,
        alert: false,
        bypass: false,
        filestore: None,
        quiet: false,
        per_file: false,
        prefilter: false,
        class: Class::Packet,
        variables: 0,
        source: Source::default(),
        unsupported: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::signature::{BitCommand, StateTest};
    use super::*;
    use crate::packet::RejectTo;

    #[test]
    fn pass_comes_before_drop_before_reject_before_alert() {
        let with = |sid, action| Signature {
            action,
            ..blank(sid)
        };
        let set = RuleSet::build(
            vec![
                with(1, Action::Alert),
                with(2, Action::Reject(RejectTo::Source)),
                with(3, Action::Drop),
                with(4, Action::Pass),
            ],
            Names::default(),
            1,
        );
        let sids: Vec<u32> = set.signatures().iter().map(|s| s.sid).collect();
        assert_eq!(sids, [4, 3, 2, 1]);
    }

    #[test]
    fn writers_of_flowbits_come_before_readers_and_priority_counts_last() {
        let with = |sid, command: Option<BitCommand>, priority| Signature {
            state: command
                .map(|command| {
                    vec![StateTest::Flowbit {
                        command,
                        bits: vec![0],
                    }]
                })
                .unwrap_or_default(),
            priority,
            ..blank(sid)
        };
        let set = RuleSet::build(
            vec![
                with(1, None, 1),
                with(2, Some(BitCommand::IsSet), 3),
                with(3, Some(BitCommand::Set), 3),
                with(4, None, 3),
                with(5, Some(BitCommand::IsSet), 1),
            ],
            Names::default(),
            1,
        );
        let sids: Vec<u32> = set.signatures().iter().map(|s| s.sid).collect();
        assert_eq!(sids, [3, 5, 2, 1, 4]);
    }

    #[test]
    fn what_cannot_run_is_kept_and_said() {
        let mut signature = blank(7);
        signature.unsupported.push("no-such-keyword".into());
        let set = RuleSet::build(vec![signature, blank(8)], Names::default(), 1);
        assert_eq!(set.idle().len(), 1);
        assert!(!set.runs(0) && set.runs(1));
    }
}
