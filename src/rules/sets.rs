//! Sets of addresses and ports: interval arithmetic and the list syntax both share.
//!
//! A list nests, negates and names variables. Within a list everything positive is united, then
//! everything negated is taken out; a negated bracket is first worked out by itself (RULES.md 6.3
//! "Header"). IPv4 and IPv6 are worked out apart, so `!10.0.0.0/8` is all other IPv4 and no IPv6.

use crate::rules::diagnostic::{Code, Problem, Span, nearest};
use crate::rules::signature::{AddressSet, PortSet};
use crate::rules::variables::Variables;

/// Deepest nesting of brackets and variables.
pub const NESTING_MAX: usize = 64;
/// First and last address of the IPv4-mapped range.
const MAPPED: (u128, u128) = (0xffff_0000_0000, 0xffff_ffff_ffff);

/// Sorted, disjoint, inclusive intervals.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Intervals(Vec<(u128, u128)>);

impl Intervals {
    /// Adds an interval.
    fn add(&mut self, low: u128, high: u128) {
        self.0.push((low, high));
        self.0.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(self.0.len());
        for (low, high) in self.0.drain(..) {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        self.0 = merged;
    }

    /// Takes all of `other` out.
    fn subtract(&mut self, other: &Intervals) {
        for (low, high) in &other.0 {
            let mut rest = Vec::with_capacity(self.0.len() + 1);
            for (from, to) in self.0.drain(..) {
                if to < *low || *high < from {
                    rest.push((from, to));
                    continue;
                }
                if from < *low {
                    rest.push((from, *low - 1));
                }
                if *high < to {
                    rest.push((*high + 1, to));
                }
            }
            self.0 = rest;
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn is_all(&self, whole: (u128, u128)) -> bool {
        self.0 == [whole]
    }
}

/// What a list holds: two spaces for addresses (IPv4, IPv6), one for ports.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Space([Intervals; 2]);

impl Space {
    fn unite(&mut self, other: &Space) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            for (low, high) in &theirs.0 {
                mine.add(*low, *high);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(Intervals::is_empty)
    }
}

/// Which of the two languages a list is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Addresses,
    Ports,
}

impl Kind {
    /// The whole space `index`.
    fn whole(self, index: usize) -> (u128, u128) {
        match (self, index) {
            (Kind::Addresses, 0) => MAPPED,
            (Kind::Addresses, _) => (0, u128::MAX),
            (Kind::Ports, _) => (0, 65_535),
        }
    }

    fn spaces(self) -> usize {
        match self {
            Kind::Addresses => 2,
            Kind::Ports => 1,
        }
    }

    fn everything(self) -> Space {
        let mut space = Space::default();
        for index in 0..self.spaces() {
            let (low, high) = self.whole(index);
            space.0[index].add(low, high);
        }
        space
    }

    fn bad(self) -> Code {
        match self {
            Kind::Addresses => Code::BadAddress,
            Kind::Ports => Code::BadPort,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Kind::Addresses => "address",
            Kind::Ports => "port",
        }
    }
}

/// Positive and negated members gathered so far.
#[derive(Default)]
struct Gathered {
    positive: Space,
    negative: Space,
    /// A range of IPv6 addresses was written with its ends.
    has_range: bool,
}

/// The reader of one header field.
struct Reader<'a> {
    kind: Kind,
    variables: &'a Variables,
    field: Span,
}

impl Reader<'_> {
    /// The span to blame: inside a variable it is the whole field.
    fn span(&self, at: Option<Span>) -> Span {
        at.unwrap_or(self.field)
    }

    /// Reads a comma-separated list into `into`.
    fn list(
        &self,
        text: &str,
        at: Option<Span>,
        depth: usize,
        into: &mut Gathered,
    ) -> Result<(), Problem> {
        if depth > NESTING_MAX {
            return Err(Problem::new(
                self.kind.bad(),
                self.span(at),
                format!("lists and variables nest deeper than {NESTING_MAX}"),
            )
            .help("does a variable name itself?"));
        }
        for (start, end) in self.commas(text, at)? {
            let part = &text[start..end];
            let trimmed = part.trim();
            let skip = part.len() - part.trim_start().len();
            let place = at.map(|span| span.part(start + skip, start + skip + trimmed.len()));
            self.item(trimmed, place, depth, into)?;
        }
        Ok(())
    }

    /// Where the items of a list stand.
    fn commas(&self, text: &str, at: Option<Span>) -> Result<Vec<(usize, usize)>, Problem> {
        let mut items = Vec::new();
        let (mut depth, mut start) = (0usize, 0);
        for (index, byte) in text.bytes().enumerate() {
            match byte {
                b'[' => depth += 1,
                b']' => {
                    depth = depth.checked_sub(1).ok_or_else(|| {
                        let place = at.map(|s| s.part(index, index + 1));
                        Problem::new(self.kind.bad(), self.span(place), "`]` without `[`")
                    })?;
                }
                b',' if depth == 0 => {
                    items.push((start, index));
                    start = index + 1;
                }
                _ => {}
            }
        }
        if depth > 0 {
            return Err(Problem::new(
                self.kind.bad(),
                self.span(at),
                "`[` is not closed",
            ));
        }
        items.push((start, text.len()));
        Ok(items)
    }

    /// Reads one item.
    fn item(
        &self,
        text: &str,
        at: Option<Span>,
        depth: usize,
        into: &mut Gathered,
    ) -> Result<(), Problem> {
        let bare = text.trim_start_matches(['!', ' ']);
        let skipped = text.len() - bare.len();
        let negated = text[..skipped].matches('!').count() % 2 == 1;
        let place = at.map(|span| span.part(skipped, text.len()));
        if let Some(inner) = bare.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            let place = place.map(|span| span.part(1, 1 + inner.len()));
            return self.bracket(inner, place, negated, depth, into);
        }
        if let Some(name) = bare.strip_prefix('$') {
            let value = self.variable(name, place)?;
            return self.bracket(&value, None, negated, depth, into);
        }
        let atom = self.atom(bare, place)?;
        into.has_range |=
            matches!(self.kind, Kind::Addresses) && bare.contains(':') && bare.contains('-');
        let side = if negated {
            &mut into.negative
        } else {
            &mut into.positive
        };
        side.unite(&atom);
        Ok(())
    }

    /// Reads what stands in brackets or in a variable.
    fn bracket(
        &self,
        text: &str,
        at: Option<Span>,
        negated: bool,
        depth: usize,
        into: &mut Gathered,
    ) -> Result<(), Problem> {
        if !negated {
            return self.list(text, at, depth + 1, into);
        }
        let mut inner = Gathered::default();
        self.list(text, at, depth + 1, &mut inner)?;
        let inner = self.settle(inner, at)?;
        into.negative.unite(&inner);
        Ok(())
    }

    /// Takes the negated members out of the positive ones.
    fn settle(&self, gathered: Gathered, at: Option<Span>) -> Result<Space, Problem> {
        let Gathered {
            mut positive,
            negative,
            ..
        } = gathered;
        if negative.0[0].is_all(self.kind.whole(0)) {
            return Err(Problem::new(
                Code::NegatedAny,
                self.span(at),
                format!("every {} is excluded", self.kind.noun()),
            )
            .help("`!any`, or the negation of a variable that is `any`, matches nothing"));
        }
        for index in 0..self.kind.spaces() {
            if positive.0[index].is_empty() && !negative.0[index].is_empty() {
                let (low, high) = self.kind.whole(index);
                positive.0[index].add(low, high);
            }
            positive.0[index].subtract(&negative.0[index]);
        }
        if positive.is_empty() {
            return Err(Problem::new(
                Code::EmptySet,
                self.span(at),
                format!("no {} is left", self.kind.noun()),
            ));
        }
        Ok(positive)
    }

    /// Value of a variable.
    fn variable(&self, name: &str, at: Option<Span>) -> Result<String, Problem> {
        match self.variables.get(name) {
            Some(value) if !value.trim().is_empty() => Ok(value.to_string()),
            Some(_) => Err(Problem::new(
                Code::EmptySet,
                self.span(at),
                format!("the variable ${name} is empty"),
            )),
            None => {
                let problem = Problem::new(
                    Code::UndefinedVariable,
                    self.span(at),
                    format!("the variable ${name} is not defined"),
                );
                Err(match nearest(name, self.variables.names()) {
                    Some(known) => problem.help(format!("did you mean `${known}`?")),
                    None => problem.help(format!("define it: --var {name}=VALUE")),
                })
            }
        }
    }

    /// A single address, network, range, port or `any`.
    fn atom(&self, text: &str, at: Option<Span>) -> Result<Space, Problem> {
        if text.eq_ignore_ascii_case("any") {
            return Ok(self.kind.everything());
        }
        if text.is_empty() {
            return Err(Problem::new(
                Code::EmptySet,
                self.span(at),
                format!("an empty {} in a list", self.kind.noun()),
            ));
        }
        let range = match self.kind {
            Kind::Addresses => address(text),
            Kind::Ports => port(text).map(|range| (0, range)),
        };
        let Some((index, (low, high))) = range else {
            let message = format!("`{text}` is not a valid {}", self.kind.noun());
            let problem = Problem::new(self.kind.bad(), self.span(at), message);
            return Err(if self.variables.get(text).is_some() {
                problem.help(format!("did you mean `${text}`?"))
            } else {
                problem
            });
        };
        let mut space = Space::default();
        space.0[index].add(low, high);
        Ok(space)
    }
}

/// An address, network or range: which space, first and last.
fn address(text: &str) -> Option<(usize, (u128, u128))> {
    let family = usize::from(text.contains(':'));
    let value = |text: &str| -> Option<u128> {
        if family == 0 {
            let address: std::net::Ipv4Addr = text.parse().ok()?;
            Some(MAPPED.0 | u128::from(u32::from(address)))
        } else {
            let address: std::net::Ipv6Addr = text.parse().ok()?;
            Some(u128::from(address))
        }
    };
    if let Some((base, length)) = text.split_once('/') {
        let bits = if family == 0 { 32 } else { 128 };
        let length: u32 = if family == 0 && length.contains('.') {
            let mask = u32::from(length.parse::<std::net::Ipv4Addr>().ok()?);
            (mask.leading_ones() + mask.trailing_zeros().min(32) == 32)
                .then_some(mask.leading_ones())?
        } else if length.bytes().all(|b| b.is_ascii_digit()) {
            length.parse().ok().filter(|length| *length <= bits)?
        } else {
            return None;
        };
        let host = 1u128
            .checked_shl(bits - length)
            .map_or(u128::MAX, |n| n - 1);
        let base = value(base)?;
        return Some((family, (base & !host, base | host)));
    }
    if let Some((low, high)) = text.split_once('-') {
        let (low, high) = (value(low)?, value(high)?);
        return (low <= high).then_some((family, (low, high)));
    }
    let single = value(text)?;
    Some((family, (single, single)))
}

/// A port or range of ports.
fn port(text: &str) -> Option<(u128, u128)> {
    let number = |text: &str| -> Option<u16> {
        let text = text.trim();
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())?
    };
    let (low, high) = match text.split_once(':') {
        Some((low, high)) => {
            let high = high.trim();
            let low = if low.trim().is_empty() {
                0
            } else {
                number(low)?
            };
            (
                low,
                if high.is_empty() {
                    65_535
                } else {
                    number(high)?
                },
            )
        }
        None => {
            let single = number(text)?;
            (single, single)
        }
    };
    (low <= high).then_some((u128::from(low), u128::from(high)))
}

/// Reads an address field. `field` is where it stands.
pub fn addresses(text: &str, field: Span, variables: &Variables) -> Result<AddressSet, Problem> {
    let reader = Reader {
        kind: Kind::Addresses,
        variables,
        field,
    };
    let mut gathered = Gathered::default();
    reader.list(text, Some(field), 0, &mut gathered)?;
    let negated = !gathered.negative.is_empty() || gathered.has_range;
    let Space([v4, mut v6]) = reader.settle(gathered, Some(field))?;
    let any = v4.is_all(MAPPED) && v6.is_all((0, u128::MAX));
    // An IPv6 set never matches IPv4, whose addresses stand in the mapped range.
    v6.subtract(&Intervals(vec![MAPPED]));
    for (low, high) in &v4.0 {
        v6.add(*low, *high);
    }
    Ok(AddressSet {
        any,
        ranges: v6
            .0
            .iter()
            .map(|(low, high)| (low.to_be_bytes(), high.to_be_bytes()))
            .collect(),
        negated,
    })
}

/// Reads a port field. `field` is where it stands.
pub fn ports(text: &str, field: Span, variables: &Variables) -> Result<PortSet, Problem> {
    let reader = Reader {
        kind: Kind::Ports,
        variables,
        field,
    };
    let mut gathered = Gathered::default();
    reader.list(text, Some(field), 0, &mut gathered)?;
    let Space([set, _]) = reader.settle(gathered, Some(field))?;
    Ok(PortSet {
        any: set.is_all((0, 65_535)),
        ranges: set
            .0
            .iter()
            .map(|(low, high)| (*low as u16, *high as u16))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> AddressSet {
        addresses(text, Span::new(0, text.len()), &Variables::default()).unwrap()
    }

    fn holds(set: &AddressSet, address: &str) -> bool {
        let address = match address.parse().unwrap() {
            std::net::IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
            std::net::IpAddr::V6(a) => a.octets(),
        };
        set.contains(&address)
    }

    fn problem(text: &str) -> Problem {
        addresses(text, Span::new(0, text.len()), &Variables::default()).unwrap_err()
    }

    #[test]
    fn ranges_of_ipv6_are_no_matter_of_addresses_alone() {
        assert!(set("[2001:db8::1-2001:db8::4]").negated);
        assert!(!set("[10.0.0.1-10.0.0.4,2001:db8::/32]").negated);
    }

    #[test]
    fn lists_nest_and_negate() {
        let found = set("[10.0.0.0/8,!10.0.0.5,[192.168.1.1-192.168.1.3]]");
        assert!(found.negated && !found.any);
        assert!(holds(&found, "10.1.1.1") && holds(&found, "192.168.1.2"));
        assert!(!holds(&found, "10.0.0.5") && !holds(&found, "192.168.1.4"));
        let found = set("![10.0.0.0/8,!10.0.0.5]");
        assert!(holds(&found, "10.0.0.5") && holds(&found, "1.1.1.1"));
        assert!(!holds(&found, "10.0.0.6"));
    }

    #[test]
    fn a_negated_ipv4_set_holds_no_ipv6() {
        let found = set("$EXTERNAL_NET");
        assert!(holds(&found, "8.8.8.8") && !holds(&found, "10.2.3.4"));
        assert!(!holds(&found, "2001:db8::1"));
        assert!(holds(&set("[!10.0.0.1,!2001:db8::1]"), "2001:db8::2"));
        assert!(!holds(&set("::/0"), "8.8.8.8"));
        assert!(set("any").any && set("[0.0.0.0/0,::/0]").any);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        assert_eq!(problem("[1.2.3.4,1.2.3]").span, Span::new(9, 14));
        assert_eq!(problem("!any").code, Code::NegatedAny);
        assert_eq!(problem("[10.0.0.1,!10.0.0.1]").code, Code::EmptySet);
        assert_eq!(problem("[]").code, Code::EmptySet);
        assert_eq!(problem("[1.1.1.1").code, Code::BadAddress);
        assert_eq!(problem("$HOME_NTE").code, Code::UndefinedVariable);
        assert_eq!(
            problem("$HOME_NTE").help.as_deref(),
            Some("did you mean `$HOME_NET`?")
        );
        assert_eq!(problem("1.2.3.4/255.0.255.0").code, Code::BadAddress);
    }

    #[test]
    fn a_variable_that_names_itself_ends() {
        let mut variables = Variables::default();
        variables.set("A", "[$B,1.1.1.1]");
        variables.set("B", "$A");
        let problem = addresses("$A", Span::new(0, 2), &variables).unwrap_err();
        assert_eq!(problem.code, Code::BadAddress);
    }

    #[test]
    fn ports_are_ranges_too() {
        let ports = |text: &str| ports(text, Span::new(0, text.len()), &Variables::default());
        assert_eq!(ports("1024:").unwrap().ranges, [(1024, 65_535)]);
        assert_eq!(ports(":80").unwrap().ranges, [(0, 80)]);
        assert_eq!(
            ports("[1:80,![2,4]]").unwrap().ranges,
            [(1, 1), (3, 3), (5, 80)]
        );
        assert!(ports("any").unwrap().any);
        assert_eq!(ports("!80").unwrap().ranges, [(0, 79), (81, 65_535)]);
        assert_eq!(ports("70000").unwrap_err().code, Code::BadPort);
        assert_eq!(ports("9:3").unwrap_err().code, Code::BadPort);
        assert_eq!(ports("[$HTTP_PORTS,1]").unwrap().ranges, [(1, 1), (80, 80)]);
    }
}
