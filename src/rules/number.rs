//! Numbers in option values: comparisons with ranges, units, masks and plain integers.
//!
//! The forms are those of the guide's integer keywords: `5`, `=5`, `!5`, `<5`, `>=5`, `5-9` and
//! `5<>9` (both ends excluded), `!5-9`, `&0xf0=0x20`, with k/m/gb units and hexadecimal.

use crate::rules::signature::Compare;

/// A cursor over the value.
struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn blanks(&mut self) {
        self.0 = self.0.trim_start_matches(' ');
    }

    fn take(&mut self, word: &str) -> bool {
        match self.0.strip_prefix(word) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// A number with its unit, at most `max`.
    fn number(&mut self, max: u64) -> Option<u64> {
        if let Some(rest) = self.0.strip_prefix("0x") {
            let end = rest
                .find(|c: char| !c.is_ascii_hexdigit())
                .unwrap_or(rest.len());
            let value = u64::from_str_radix(&rest[..end], 16).ok()?;
            self.0 = &rest[end..];
            return (value <= max).then_some(value);
        }
        let end = self
            .0
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(self.0.len());
        let value: u64 = self.0[..end].parse().ok()?;
        self.0 = &self.0[end..];
        let value = value.checked_mul(self.unit())?;
        (value <= max).then_some(value)
    }

    fn unit(&mut self) -> u64 {
        for (word, unit) in [
            ("kib", 1 << 10),
            ("kb", 1 << 10),
            ("mib", 1 << 20),
            ("mb", 1 << 20),
            ("gib", 1 << 30),
            ("gb", 1 << 30),
        ] {
            let same = self
                .0
                .get(..word.len())
                .is_some_and(|s| s.eq_ignore_ascii_case(word));
            if same {
                self.0 = &self.0[word.len()..];
                return unit;
            }
        }
        1
    }

    fn done(&self) -> bool {
        self.0.trim_matches(' ').is_empty()
    }
}

/// Reads a comparison of a number of at most `max`; `None` if it is not one or can never match.
pub fn compare(text: &str, max: u64) -> Option<Compare> {
    let mut start = Reader(text);
    start.blanks();
    [mask, range, plain, symbol].iter().find_map(|form| {
        let mut reader = Reader(start.0);
        form(&mut reader, max).filter(|_| reader.done())
    })
}

/// The same, where both ends of a range count.
pub fn compare_inclusive(text: &str, max: u64) -> Option<Compare> {
    let mut reader = Reader(text);
    reader.blanks();
    let both_ends = ends(&mut reader, max).filter(|_| reader.done());
    match both_ends {
        Some((negated, low @ 1.., high)) if low < high && high < max => Some(match negated {
            true => Compare::NotBetween(low - 1, high + 1),
            false => Compare::Between(low - 1, high + 1),
        }),
        Some(_) => None,
        None => compare(text, max),
    }
}

/// `&mask=value`, `&mask!=value`.
fn mask(reader: &mut Reader<'_>, max: u64) -> Option<Compare> {
    if !reader.take("&") {
        return None;
    }
    reader.blanks();
    let mask = reader.number(max)?;
    reader.blanks();
    let negated = reader.take("!");
    if !reader.take("=") {
        return None;
    }
    reader.blanks();
    let value = reader.number(max)?;
    (value & mask == value).then_some(Compare::Mask {
        mask,
        value,
        negated,
    })
}

/// `a-b`, `a<>b`, negated or not; at least one number must lie between.
fn range(reader: &mut Reader<'_>, max: u64) -> Option<Compare> {
    let (negated, low, high) = ends(reader, max)?;
    if high <= low || high - low <= 1 {
        return None;
    }
    Some(if negated {
        Compare::NotBetween(low, high)
    } else {
        Compare::Between(low, high)
    })
}

/// `[!]a-b`, `[!]a<>b`.
fn ends(reader: &mut Reader<'_>, max: u64) -> Option<(bool, u64, u64)> {
    let negated = reader.take("!");
    let low = reader.number(max)?;
    reader.blanks();
    if !reader.take("-") && !reader.take("<>") {
        return None;
    }
    reader.blanks();
    Some((negated, low, reader.number(max)?))
}

/// `n`, `=n`.
fn plain(reader: &mut Reader<'_>, max: u64) -> Option<Compare> {
    reader.take("=");
    reader.blanks();
    reader.number(max).map(Compare::Equal)
}

/// `<n`, `<=n`, `>n`, `>=n`, `!n`, `!=n`.
fn symbol(reader: &mut Reader<'_>, max: u64) -> Option<Compare> {
    let symbol = [">=", "<=", ">", "<", "!=", "!"]
        .into_iter()
        .find(|symbol| reader.take(symbol))?;
    reader.blanks();
    let value = reader.number(max)?;
    by_symbol(symbol, value, max)
}

/// The comparison that a symbol stands for; `None` if it is always true or false.
pub fn by_symbol(symbol: &str, value: u64, max: u64) -> Option<Compare> {
    match symbol {
        "=" | "==" => Some(Compare::Equal(value)),
        "!" | "!=" => Some(Compare::NotEqual(value)),
        "<" => (value > 0).then_some(Compare::Less(value)),
        "<=" => (value < max).then_some(Compare::LessEqual(value)),
        ">" => (value < max).then_some(Compare::Greater(value)),
        ">=" => (value > 0).then_some(Compare::GreaterEqual(value)),
        _ => None,
    }
}

/// The largest value that satisfies the comparison, if it bounds the number from above.
pub fn upper_bound(compare: Compare) -> Option<u64> {
    match compare {
        Compare::Equal(n) | Compare::LessEqual(n) => Some(n),
        Compare::Less(n) => Some(n.saturating_sub(1)),
        Compare::Between(_, high) => Some(high.saturating_sub(1)),
        _ => None,
    }
}

/// A number as C's `strtol` reads it with base 0: decimal, `0x` hexadecimal or `0` octal.
pub fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = if let Some(hex) = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        u64::from_str_radix(hex, 16).ok()?
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(&digits[1..], 8).ok()?
    } else if digits.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse().ok()?
    } else {
        return None;
    };
    // Values beyond i64 keep their 64 bits: byte_test compares unsigned.
    let value = value as i64;
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_guide_is_read() {
        let read = |text| compare(text, 65_535);
        assert_eq!(read("5"), Some(Compare::Equal(5)));
        assert_eq!(read(" = 5 "), Some(Compare::Equal(5)));
        assert_eq!(read("!5"), Some(Compare::NotEqual(5)));
        assert_eq!(read("<5"), Some(Compare::Less(5)));
        assert_eq!(read(">= 5"), Some(Compare::GreaterEqual(5)));
        assert_eq!(read("5<>9"), Some(Compare::Between(5, 9)));
        assert_eq!(read("5 - 9"), Some(Compare::Between(5, 9)));
        assert_eq!(read("!5-9"), Some(Compare::NotBetween(5, 9)));
        assert_eq!(read("1kb"), Some(Compare::Equal(1024)));
        assert_eq!(read("0x10"), Some(Compare::Equal(16)));
        let mask = Compare::Mask {
            mask: 0xf0,
            value: 0x20,
            negated: true,
        };
        assert_eq!(read("&0xf0 != 0x20"), Some(mask));
    }

    #[test]
    fn both_ends_count_where_the_keyword_says_so() {
        let read = |text| compare_inclusive(text, 65_535);
        assert_eq!(read("5-9"), Some(Compare::Between(4, 10)));
        assert_eq!(read("3 <> 4"), Some(Compare::Between(2, 5)));
        assert_eq!(read("!3-4"), Some(Compare::NotBetween(2, 5)));
        assert_eq!(read(">3"), Some(Compare::Greater(3)));
        assert_eq!([read("4-4"), read("0-4")], [None, None]);
    }

    #[test]
    fn what_is_no_comparison_or_never_true_is_refused() {
        for text in [
            "", "x", "5<>6", "9-5", "<0", "70000", ">65535", "5x", "&1=2",
        ] {
            assert_eq!(compare(text, 65_535), None, "{text}");
        }
    }
}
