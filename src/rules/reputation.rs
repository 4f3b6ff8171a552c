//! Reputations of addresses: the files that `iprep` asks, and the keyword.
//!
//! A category file has lines `NUMBER,NAME,DESCRIPTION`, a reputation file `ADDRESS[/BITS],CATEGORY,
//! SCORE`. All is read before the lanes start and never changes; a reload reads it anew. The longest
//! prefix that holds an address says its score.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;

use super::argument::Argument;
use super::diagnostic::Problem;
use super::lex::shorten;
use super::parse::Builder;
use super::signature::{Compare, PacketTest};

/// Categories at most (the format's numbers are 1 to 59).
const CATEGORIES_MAX: u8 = 60;
/// Largest score.
const SCORE_MAX: u64 = 127;

/// Not a score.
const NO_SCORE: u8 = u8::MAX;

/// Prefixes of one length, or hosts: address to scores by category.
type Scores = HashMap<[u8; 16], [u8; CATEGORIES_MAX as usize]>;

/// All that the files say.
#[derive(Debug, Default)]
pub struct Reputations {
    categories: Vec<(Box<str>, u8)>,
    /// Hosts by themselves. One that is listed has a score in each category, 0 where none is given,
    /// and no prefix says anything of it.
    hosts: Scores,
    /// By length of the prefix, the longest first; `NO_SCORE` where one says nothing.
    prefixes: Vec<(u8, Scores)>,
}

/// What is wrong with a line of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// Lines that say something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(place, line)| (place + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// The bits of an address that a prefix of this length keeps.
fn network(mut address: [u8; 16], length: u8) -> [u8; 16] {
    for (place, byte) in address.iter_mut().enumerate() {
        let kept = usize::from(length).saturating_sub(place * 8).min(8);
        *byte &= !(0xffu16 >> kept) as u8;
    }
    address
}

impl Reputations {
    /// Takes a category file in.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn read_categories(&mut self, text: &str) -> Result<(), BadLine> {
        for (line, text) in lines(text) {
            let mut parts = text.split(',').map(str::trim);
            let number: Option<u8> = parts.next().and_then(|number| number.parse().ok());
            let number = number.filter(|number| (1..CATEGORIES_MAX).contains(number));
            match (number, parts.next().filter(|name| !name.is_empty())) {
                (Some(number), Some(name)) => self.categories.push((name.into(), number)),
                _ => {
                    let what = format!(
                        "no category: NUMBER,NAME,DESCRIPTION, up to {}",
                        CATEGORIES_MAX - 1
                    );
                    return Err(BadLine { line, what });
                }
            }
        }
        Ok(())
    }

    /// Takes a reputation file in.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn read(&mut self, text: &str) -> Result<(), BadLine> {
        for (line, text) in lines(text) {
            self.take(text).ok_or_else(|| BadLine {
                line,
                what: "no reputation: ADDRESS[/BITS],CATEGORY,SCORE with a known category and a \
                       score up to 127"
                    .to_string(),
            })?;
        }
        self.prefixes
            .sort_by_key(|(length, _)| std::cmp::Reverse(*length));
        Ok(())
    }

    fn take(&mut self, text: &str) -> Option<()> {
        let mut parts = text.split(',').map(str::trim);
        let place = parts.next()?;
        let category: u8 = parts.next()?.parse().ok()?;
        let score: u8 = parts.next()?.parse().ok()?;
        let known = self
            .categories
            .iter()
            .any(|(_, number)| *number == category);
        if !known || u64::from(score) > SCORE_MAX {
            return None;
        }
        let (address, bits) = match place.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (place, None),
        };
        let (address, skip) = match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(address) => (address.to_ipv6_mapped().octets(), 96),
            IpAddr::V6(address) => (address.octets(), 0),
        };
        let Some(bits) = bits else {
            let scores = self.hosts.entry(address);
            let scores = scores.or_insert([0; CATEGORIES_MAX as usize]);
            *scores.get_mut(usize::from(category))? = score;
            return Some(());
        };
        let length = bits.checked_add(skip).filter(|length| *length <= 128)?;
        let place = self.prefixes.iter().position(|(known, _)| *known == length);
        let place = place.unwrap_or_else(|| {
            self.prefixes.push((length, Scores::new()));
            self.prefixes.len() - 1
        });
        let (_, prefixes) = self.prefixes.get_mut(place)?;
        let scores = prefixes.entry(network(address, length));
        let scores = scores.or_insert([NO_SCORE; CATEGORIES_MAX as usize]);
        let known = scores.get_mut(usize::from(category))?;
        // The first line about a prefix holds, of a host the last.
        if *known == NO_SCORE {
            *known = score;
        }
        Some(())
    }

    /// The number of a category.
    fn category(&self, name: &str) -> Option<u8> {
        let mut known = self.categories.iter();
        known
            .find(|(known, _)| **known == *name)
            .map(|(_, number)| *number)
    }

    /// The score of an address (IPv4 mapped into IPv6) in a category.
    pub fn score(&self, address: &[u8; 16], category: u8) -> Option<u8> {
        if let Some(scores) = self.hosts.get(address) {
            return scores.get(usize::from(category)).copied();
        }
        self.prefixes.iter().find_map(|(length, prefixes)| {
            let scores = prefixes.get(&network(*address, *length))?;
            let score = scores.get(usize::from(category)).copied()?;
            (score != NO_SCORE).then_some(score)
        })
    }
}

/// Whose address is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The sender's or the receiver's.
    Any,
    /// The sender's.
    Source,
    /// The receiver's.
    Destination,
    /// Both.
    Both,
}

impl Side {
    /// The side of this name.
    pub fn of(name: &str) -> Option<Side> {
        Some(match name {
            "any" => Side::Any,
            "src" => Side::Source,
            "dst" => Side::Destination,
            "both" => Side::Both,
            _ => return None,
        })
    }

    /// Whether the addresses of this side are as a test wants them.
    pub fn holds<'a>(
        self,
        one: impl Fn(&'a [u8; 16]) -> bool,
        source: &'a [u8; 16],
        destination: &'a [u8; 16],
    ) -> bool {
        match self {
            Side::Any => one(source) || one(destination),
            Side::Source => one(source),
            Side::Destination => one(destination),
            Side::Both => one(source) && one(destination),
        }
    }
}

/// What its score must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Score(Compare),
    Some,
    None,
}

/// `iprep`.
#[derive(Clone, Debug)]
pub struct Reputation {
    side: Side,
    category: u8,
    wanted: Wanted,
    all: Arc<Reputations>,
}

impl PartialEq for Reputation {
    fn eq(&self, other: &Reputation) -> bool {
        (self.side, self.category, self.wanted) == (other.side, other.category, other.wanted)
    }
}

impl Eq for Reputation {}

impl Reputation {
    /// Whether the addresses are of the reputation that the rule wants.
    pub fn holds(&self, source: &[u8; 16], destination: &[u8; 16]) -> bool {
        let one = |address| match (self.wanted, self.all.score(address, self.category)) {
            (Wanted::Score(compare), Some(score)) => compare.test(u64::from(score)),
            (Wanted::Score(_), None) => false,
            (Wanted::Some, score) => score.is_some(),
            (Wanted::None, score) => score.is_none(),
        };
        self.side.holds(one, source, destination)
    }
}

/// What the operator asks of a score; one that is always true is no mistake.
fn compared(operator: &str, score: u64) -> Option<Wanted> {
    Some(Wanted::Score(match operator {
        "<" => Compare::Less(score),
        "<=" => Compare::LessEqual(score),
        ">" => Compare::Greater(score),
        ">=" => Compare::GreaterEqual(score),
        "=" => Compare::Equal(score),
        "!" | "!=" => Compare::NotEqual(score),
        _ => return None,
    }))
}

/// `iprep:side,category,operator,score`, or `isset` or `isnotset` for the last two.
pub fn parse<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let mut parts = argument.text.split(',').map(str::trim);
    let word = parts.next().unwrap_or("");
    let Some(side) = Side::of(word) else {
        return Err(argument
            .bad(format!("`{}` is not a side", shorten(word)))
            .help("sides are any, src, dst, both"));
    };
    let name = parts.next().unwrap_or("");
    let wanted = match (parts.next().unwrap_or(""), parts.next()) {
        ("isset", None) => Some(Wanted::Some),
        ("isnotset", None) => Some(Wanted::None),
        (operator, Some(score)) => {
            let score: Option<u8> = score.parse().ok();
            score.and_then(|score| compared(operator, score.into()))
        }
        _ => None,
    };
    let Some(wanted) = wanted.filter(|_| parts.next().is_none()) else {
        return Err(argument
            .bad(format!(
                "`{}` is no test of a reputation",
                shorten(argument.text)
            ))
            .help("write iprep:any,CATEGORY,>,30 (scores are 0 to 127), or isset or isnotset"));
    };
    let Some(all) = builder.context.reputations.clone() else {
        builder.executable("iprep without reputation-categories-file", false);
        return Ok(());
    };
    let Some(category) = all.category(name) else {
        return Err(argument
            .bad(format!("`{}` is not a category", shorten(name)))
            .help("categories are those of reputation-categories-file"));
    };
    let test = Reputation {
        side,
        category,
        wanted,
        all,
    };
    builder.facts.other_event = true;
    builder.signature.packet.push(PacketTest::Reputation(test));
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An address, IPv4 mapped into IPv6.
    pub fn mapped(text: &str) -> [u8; 16] {
        match text.parse().unwrap() {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        }
    }

    #[test]
    fn the_longest_prefix_says_the_score() {
        let mut all = Reputations::default();
        all.read_categories("1,CnC,Command\n# c\n2, Spam, Unwanted\n")
            .unwrap();
        let text = "10.0.0.0/8,1,20\n10.1.0.0/16,1,60\n10.1.1.1,2,7\n2001:db8::/32,2,99\n\
                    10.1.0.0/16,1,99\n12.0.0.0/8,2,0\n";
        all.read(text).unwrap();
        let score = |address, name| all.score(&mapped(address), all.category(name).unwrap());
        assert_eq!(score("10.9.9.9", "CnC"), Some(20));
        assert_eq!(score("10.1.1.3", "CnC"), Some(60));
        assert_eq!(score("10.1.1.1", "Spam"), Some(7));
        assert_eq!(score("10.1.1.1", "CnC"), Some(0), "it is listed by itself");
        assert_eq!(score("10.1.1.2", "Spam"), None);
        assert_eq!(score("2001:db8::7", "Spam"), Some(99));
        assert_eq!(score("11.0.0.1", "CnC"), None);
        assert_eq!(score("12.0.0.1", "Spam"), Some(0), "a score, too");
        assert_eq!(all.category("Other"), None);
    }

    #[test]
    fn a_rule_about_a_reputation_alone_is_one_about_addresses() {
        use crate::rules::class::{Facts, of};
        use crate::rules::signature::{Class, FlowKeyword};
        let mut signature = crate::rules::ruleset::blank(1);
        let test = Reputation {
            side: Side::Source,
            category: 1,
            wanted: Wanted::Some,
            all: Arc::default(),
        };
        signature.packet.push(PacketTest::Reputation(test));
        assert_eq!(of(&signature, &Facts::default()), Class::IpOnly);
        signature.header.src_addr.negated = true;
        assert_eq!(of(&signature, &Facts::default()), Class::LikeIpOnly);
        signature.flow = Some(FlowKeyword {
            to_server: true,
            ..FlowKeyword::default()
        });
        assert_eq!(of(&signature, &Facts::default()), Class::Packet);
    }

    #[test]
    fn lines_that_say_nothing_are_named() {
        let mut all = Reputations::default();
        assert_eq!(all.read_categories("1,A,B\n99,C,D\n").unwrap_err().line, 2);
        for text in [
            "1.2.3.4,2,1",
            "1.2.3.4,1,200",
            "1.2.3/8,1,1",
            "1.2.3.4/33,1,1",
            "x",
        ] {
            assert_eq!(all.read(text).unwrap_err().line, 1, "{text}");
        }
    }
}
