//! Rules replaced between two bursts: what a flow holds goes over.

use std::sync::Arc;

use super::{Rig, Shot, piece, tcp, udp};
use crate::config::Config;
use crate::matcher::{Mailbox, Program, Renewal};
use crate::rules::load::{File, Options, load};
use crate::rules::ruleset::RuleSet;
use crate::rules::{Classification, Variables};

/// Puts `rules` in force, with the names' numbers of the set before.
fn reload(rig: &mut Rig, mailbox: &Mailbox, rules: &str) {
    let file = File {
        path: "test.rules",
        text: rules.as_bytes(),
    };
    let options = Options {
        names: Some(rig.ruleset.names()),
        ..Options::default()
    };
    let loaded = load(
        &[file],
        &Variables::default(),
        &Classification::default(),
        &options,
    );
    assert_eq!(loaded.counts.failed, 0, "{:#?}", loaded.diagnostics);
    let generation = rig.ruleset.generation() + 1;
    let new = Arc::new(RuleSet::build(loaded.signatures, loaded.names, generation));
    let program = Arc::new(Program::compile(Arc::clone(&new)).unwrap());
    let renewal = Renewal::between(&rig.ruleset, &new);
    mailbox.publish(&program, &renewal, &Config::default());
    rig.stage.take_rules();
    assert!(mailbox.is_taken());
    mailbox.sweep();
    rig.ruleset = new;
}

fn rig(rules: &str) -> (Rig, Arc<Mailbox>) {
    let mut rig = Rig::with(rules, |config| config.reloads = true);
    let mailbox = Arc::new(Mailbox::default());
    rig.stage.set_mailbox(Arc::clone(&mailbox));
    (rig, mailbox)
}

const OLD: &str = r#"
alert tcp any any -> any any (msg:"a"; content:"alpha"; flowbits:set,seen; flow:established; sid:20;)
alert udp any any -> any any (msg:"t"; content:"tick"; threshold:type limit,track by_src,count 2,seconds 600; sid:30;)
alert tcp any any -> any any (msg:"gone"; content:"gamma"; flow:established; sid:40;)
"#;

const NEW: &str = r#"
alert tcp any any -> any any (msg:"first"; content:"beta"; flow:established; sid:5;)
alert tcp any any -> any any (msg:"reads"; content:"delta"; flowbits:isset,other; flow:established; sid:6;)
alert tcp any any -> any any (msg:"reads"; content:"delta"; flowbits:isset,seen; flow:established; sid:7;)
alert tcp any any -> any any (msg:"a"; content:"alpha"; flowbits:set,seen; flow:established; sid:20;)
alert udp any any -> any any (msg:"t"; content:"tick"; threshold:type limit,track by_src,count 2,seconds 600; sid:30;)
"#;

#[test]
fn a_rule_that_a_reload_added_fires_on_a_flow_of_before() {
    let (mut rig, mailbox) = rig(OLD);
    assert_eq!(rig.sids(piece(b"alpha gamma ", 0)), [20, 40]);
    reload(&mut rig, &mailbox, NEW);
    let found = rig.sids(piece(b"beta delta gamma ", 12));
    assert_eq!(
        found,
        [7, 5],
        "bits are kept by name, the rule that is gone is silent"
    );
    assert!(rig.end(1).sids.is_empty());
}

#[test]
fn what_a_rule_matched_before_is_not_told_again() {
    let (mut rig, mailbox) = rig(OLD);
    assert_eq!(rig.sids(piece(b"alpha ", 0)), [20]);
    reload(&mut rig, &mailbox, NEW);
    assert!(rig.sids(piece(b"more ", 6)).is_empty());
    assert!(rig.end(1).sids.is_empty());
}

#[test]
fn half_a_word_before_and_half_after_is_found() {
    let (mut rig, mailbox) = rig(OLD);
    assert!(rig.sids(piece(b"alp", 0)).is_empty());
    reload(&mut rig, &mailbox, NEW);
    assert_eq!(rig.sids(piece(b"ha", 3)), [20]);
}

#[test]
fn rules_that_come_where_there_were_none_look_at_flows_of_before() {
    let (mut rig, mailbox) = rig("");
    assert!(rig.sids(piece(b"alpha ", 0)).is_empty());
    assert_eq!(rig.stage.available().0, 8, "nothing is kept of a flow");
    reload(&mut rig, &mailbox, NEW);
    assert_eq!(rig.sids(piece(b"beta alpha ", 6)), [20, 5]);
    assert_eq!(rig.stage.available().0, 7);
    rig.end(1);
    assert_eq!(rig.stage.available().0, 8);
}

#[test]
fn thresholds_count_on() {
    let (mut rig, mailbox) = rig(OLD);
    let shot = || Shot {
        flow: 0,
        ..udp(b"tick")
    };
    assert_eq!(rig.sids(shot()), [30]);
    reload(&mut rig, &mailbox, NEW);
    assert_eq!(rig.sids(shot()), [30]);
    assert!(rig.sids(shot()).is_empty(), "two in ten minutes");
    reload(&mut rig, &mailbox, OLD);
    assert!(rig.sids(shot()).is_empty());
}

#[test]
fn a_set_that_no_lane_took_is_replaced_by_the_next() {
    let (mut rig, mailbox) = rig(OLD);
    let old = Arc::clone(&rig.ruleset);
    let publish = |rules: &str, generation| {
        let set = super::ruleset(rules);
        let set = RuleSet::build(set.signatures().to_vec(), set.names().clone(), generation);
        let set = Arc::new(set);
        let program = Arc::new(Program::compile(Arc::clone(&set)).unwrap());
        mailbox.publish(&program, &Renewal::between(&old, &set), &Config::default());
        set
    };
    publish(OLD, 2);
    let last = publish(NEW, 3);
    assert!(!mailbox.is_taken());
    rig.stage.take_rules();
    assert!(mailbox.is_taken());
    rig.ruleset = last;
    assert_eq!(rig.sids(piece(b"beta ", 0)), [5]);
    assert!(rig.sids(tcp(b"")).is_empty());
}
