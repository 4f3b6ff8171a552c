//! `entropy`: how evenly the bytes of a buffer are spread (Shannon 1948, section 6), in bits a byte,
//! compared with a number.
//!
//! Reading and asking stand here; what the buffer is, the rest of the rule says.

use super::argument::Argument;
use super::diagnostic::Problem;
use super::lex::shorten;
use super::parse::Builder;
use super::signature::Test;

/// Largest offset.
const OFFSET_MAX: u32 = 65_535;

/// A comparison with numbers that have fractions.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Compare {
    Equal(f64),
    NotEqual(f64),
    Less(f64),
    LessEqual(f64),
    Greater(f64),
    GreaterEqual(f64),
    /// Both ends excluded.
    Between(f64, f64),
    NotBetween(f64, f64),
}

/// `entropy`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Entropy {
    /// Bytes that are looked at; 0: all.
    bytes: u32,
    /// Where they begin.
    offset: u32,
    compare: Compare,
}

// No number of a rule is NaN: the reader takes digits and a point alone.
impl Eq for Entropy {}

impl Entropy {
    /// Whether the bytes are spread as the rule says. Fewer bytes than it names are never.
    pub fn holds(&self, data: &[u8]) -> bool {
        let Some(data) = data.get(self.offset as usize..) else {
            return false;
        };
        let data = match self.bytes {
            0 => Some(data),
            bytes => data.get(..bytes as usize),
        };
        data.is_some_and(|data| self.compare.test(of(data)))
    }
}

/// Bits a byte.
fn of(data: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in data {
        counts[usize::from(*byte)] += 1;
    }
    let length = data.len() as f64;
    let share = |count: &u32| f64::from(*count) / length;
    let present = counts.iter().filter(|count| **count > 0);
    present.map(share).fold(0.0, |sum, p| sum - p * p.log2())
}

impl Compare {
    fn test(self, x: f64) -> bool {
        match self {
            Compare::Equal(n) => x == n,
            Compare::NotEqual(n) => x != n,
            Compare::Less(n) => x < n,
            Compare::LessEqual(n) => x <= n,
            Compare::Greater(n) => x > n,
            Compare::GreaterEqual(n) => x >= n,
            Compare::Between(low, high) => low < x && x < high,
            Compare::NotBetween(low, high) => x <= low || high <= x,
        }
    }

    /// `4`, `=4`, `!=4`, `>= 4.5`, `1-2`, `!1<>2`.
    fn read(text: &str) -> Option<Compare> {
        let text = text.trim();
        let number = |text: &str| -> Option<f64> {
            let text = text.trim();
            let plain = |c: char| c.is_ascii_digit() || c == '.';
            text.chars().all(plain).then(|| text.parse().ok())?
        };
        let bare = text.strip_prefix('!').unwrap_or(text);
        if let Some((low, high)) = bare.split_once("<>").or_else(|| bare.split_once('-')) {
            let (low, high) = (number(low)?, number(high)?);
            let between = if bare.len() == text.len() {
                Compare::Between(low, high)
            } else {
                Compare::NotBetween(low, high)
            };
            return (low < high).then_some(between);
        }
        type Make = fn(f64) -> Compare;
        const SYMBOLS: [(&str, Make); 7] = [
            (">=", Compare::GreaterEqual),
            ("<=", Compare::LessEqual),
            ("!=", Compare::NotEqual),
            (">", Compare::Greater),
            ("<", Compare::Less),
            ("=", Compare::Equal),
            ("", Compare::Equal),
        ];
        SYMBOLS.iter().find_map(|(symbol, make)| {
            let rest = text.strip_prefix(symbol)?;
            number(rest).map(make)
        })
    }
}

/// `entropy:[bytes N,][offset N,]value COMPARISON`.
pub fn parse<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let (mut bytes, mut offset, mut compare) = (None, None, None);
    for part in argument.text.split(',').map(str::trim) {
        let (key, value) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
        let value = value.trim();
        let bad = || argument.bad(format!("`{}` is no word of `entropy`", shorten(part)));
        match key {
            "bytes" if bytes.is_none() => bytes = Some(value.parse().map_err(|_| bad())?),
            "offset" if offset.is_none() => {
                let number: u32 = value.parse().map_err(|_| bad())?;
                offset = Some(number).filter(|number| *number <= OFFSET_MAX);
                offset.ok_or_else(bad)?;
            }
            "value" if compare.is_none() => {
                compare = Some(Compare::read(value).ok_or_else(bad)?);
            }
            _ => return Err(bad().help("words are bytes N, offset N, value COMPARISON, each once")),
        }
    }
    let Some(compare) = compare else {
        return Err(argument
            .bad("`entropy` needs a value")
            .help("write entropy:value > 7"));
    };
    let test = Entropy {
        bytes: bytes.unwrap_or(0),
        offset: offset.unwrap_or(0),
        compare,
    };
    builder.push(Test::Entropy(test), false, argument.span);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_read_and_hold() {
        let all: Vec<u8> = (0..=255).collect();
        let holds = |text: &str, data: &[u8]| {
            let compare = Compare::read(text).unwrap_or_else(|| panic!("{text}"));
            let (bytes, offset) = (0, 0);
            Entropy {
                bytes,
                offset,
                compare,
            }
            .holds(data)
        };
        for text in [
            "8", "=8", ">= 8", "> 7.5", "<9", "<=8.0", "7-9", "!=7", "!6<>8",
        ] {
            assert!(holds(text, &all), "{text}");
        }
        for text in ["0", "<8", "> 8", "7<>8", "!7-9", "!=8"] {
            assert!(!holds(text, &all), "{text}");
        }
        assert!(holds("=0", b"aaaa") && holds("=1", b"abab"));
        for text in ["", "x", ">", "9-7", "-1", "NaN"] {
            assert!(Compare::read(text).is_none(), "{text}");
        }
        let compare = Compare::Equal(1.0);
        let (bytes, offset) = (4, 2);
        let part = Entropy {
            bytes,
            offset,
            compare,
        };
        assert!(part.holds(b"xxababxx") && !part.holds(b"xxaba") && !part.holds(b"x"));
    }
}
