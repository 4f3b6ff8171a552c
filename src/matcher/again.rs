//! Rules that hit more than once in a direction of a transaction: those on a state alone, and those
//! with keywords about files, which Suricata asks again for each file.
//!
//! All others hit once (app.rs).

use super::app::Place;
use super::app_program::state_alone;
use super::program::Rule;
use super::seen::{Seen, Wait};
use super::verify::{Outcome, View};
use super::{DetectionAccess, MatchStage};
use crate::app::{Field, Instance, Progress};
use crate::rules::signature::Signature;

/// What follows on a hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Repeat {
    /// The rule is done with the transaction.
    Never,
    /// It is asked again although it holds.
    Stays,
    /// So many files match; it is asked again for further ones.
    Files(usize),
}

impl Repeat {
    /// Notes a hit, the signature having hit `hits` times before. False: no room.
    pub(super) fn note(self, seen: &mut Seen, signature: u32, hits: usize) -> bool {
        match self {
            Repeat::Never => seen.note_match(signature),
            Repeat::Stays => seen.wait(Wait::of(signature)),
            Repeat::Files(count) => {
                let noted = (hits..count).all(|_| seen.note_match(signature));
                noted && seen.wait(Wait::of(signature))
            }
        }
    }
}

impl<D: DetectionAccess> MatchStage<D> {
    /// Whether a rule that holds is asked again.
    pub(super) fn repeat(&mut self, place: Place, signature: &Signature, rule: &Rule) -> Repeat {
        if signature.per_file {
            Repeat::Files(self.files_that_match(place, signature, rule))
        } else if self.stays(place, signature, rule) {
            Repeat::Stays
        } else {
            Repeat::Never
        }
    }

    /// Whether a rule on a state alone is asked again although it holds: until the direction has
    /// come further, and with the piece that brings it there.
    fn stays(&self, place: Place, signature: &Signature, rule: &Rule) -> bool {
        let Some(state) = state_alone(signature, rule) else {
            return false;
        };
        let apps = self.apps.as_ref();
        let transaction = apps.and_then(|apps| Some((apps.transaction(place.index)?, apps)));
        let Some((transaction, apps)) = transaction else {
            return false;
        };
        let side = place.direction;
        let mut told = transaction.instances_of(&apps.shared.heap, Field::Hook, side);
        transaction.progress[side.index()] != Progress::Complete
            && !told.any(|i| i.number() > state)
    }

    /// How many of a direction's files the rule's first test about files holds for.
    fn files_that_match(&mut self, place: Place, signature: &Signature, rule: &Rule) -> usize {
        let Some(apps) = self.apps.as_ref() else {
            return 1;
        };
        let Some(transaction) = apps.transaction(place.index) else {
            return 1;
        };
        let heap = &apps.shared.heap;
        let sizes = signature.app.iter().find(|t| t.field == Field::Filesize);
        if let Some(view) = rule.app.iter().find(|view| is_about_files(view.field)) {
            let way = view.side.unwrap_or(place.direction);
            let mut count = 0;
            for file in transaction.instances_of(heap, view.field, way) {
                let (data, end) = (transaction.bytes(heap, &file), file.ended());
                let view_of_file = View { data, base: 0, end };
                let outcome = self.scratch.verify(&view.steps, &view_of_file);
                count += usize::from(outcome == Outcome::Match);
            }
            count
        } else if let Some(test) = sizes {
            let way = test.side.unwrap_or(place.direction);
            let sizes = transaction.instances_of(heap, Field::Filesize, way);
            let fits = |i: &Instance| test.any_of.iter().any(|c| c.test(i.number()));
            sizes.filter(fits).count()
        } else {
            1
        }
    }
}

fn is_about_files(field: Field) -> bool {
    matches!(
        field,
        Field::FileName | Field::FileMagic | Field::Filemd5 | Field::Filesha1 | Field::Filesha256
    )
}
