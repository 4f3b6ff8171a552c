//! The fast pattern: the one content of a signature that the prefilter searches for.
//!
//! The language says which (RULES.md 6.3): the one marked `fast_pattern`, perhaps a piece of it;
//! else the longest, then the strongest, of the buffers with the best priority; negated contents
//! only where nothing else stands. Searching is the matcher's.

use std::ops::Range;

use crate::rules::signature::*;

/// Where in its buffer the piece can stand, as far as its content says so. Bytes from the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Window {
    /// It starts here at the earliest.
    pub start_min: u32,
    /// It ends here at the latest; `None`: anywhere.
    pub end_max: Option<u32>,
    /// It ends where the buffer ends.
    pub at_end: bool,
}

/// The fast pattern of a signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// Index in `Signature::inspect`.
    pub inspect: usize,
    /// Index in its `tests`.
    pub test: usize,
    /// Bytes of the content that are searched for.
    pub range: Range<usize>,
    /// The content is negated: finding it makes nobody a candidate.
    pub negated: bool,
    /// Where the piece can stand.
    pub window: Window,
}

/// A content of a signature and where it stands.
struct Candidate<'a> {
    inspect: usize,
    test: usize,
    priority: u8,
    content: &'a Content,
}

/// Lower is better.
fn priority(buffer: &Buffer) -> u8 {
    match buffer {
        Buffer::Payload => 3,
        Buffer::App(name) => match &**name {
            "http.method" | "http.stat_code" => 4,
            "http.stat_msg" => 3,
            "ike.init_spi" | "ike.resp_spi" | "ike.nonce_payload" | "ike.key_exchange_payload" => 1,
            _ => 2,
        },
        _ => 2,
    }
}

/// How rare the bytes are: letters 3, other printable bytes and 00 01 ff 4, the rest 6, and 1 for
/// each repetition.
pub fn strength(bytes: &[u8]) -> u32 {
    let mut seen = [false; 256];
    let mut sum = 0;
    for byte in bytes {
        let known = std::mem::replace(&mut seen[usize::from(*byte)], true);
        sum += match byte {
            _ if known => 1,
            byte if byte.is_ascii_alphabetic() => 3,
            b' '..=b'~' | 0x00 | 0x01 | 0xff => 4,
            _ => 6,
        };
    }
    sum
}

/// The fast pattern of a signature, if it has a content.
pub fn fast_pattern(signature: &Signature) -> Option<Choice> {
    let mut candidates = candidates(signature);
    // The payload is looked at first for a written `fast_pattern`.
    let payload = |c: &&Candidate<'_>| signature.inspect[c.inspect].buffer == Buffer::Payload;
    let written = |c: &&Candidate<'_>| c.content.fast_pattern != FastPattern::No;
    let marked = candidates
        .iter()
        .filter(payload)
        .find(written)
        .or_else(|| candidates.iter().find(written));
    if let Some(marked) = marked {
        return Some(choice(marked));
    }
    if candidates.iter().any(|c| !c.content.negated) {
        candidates.retain(|c| !c.content.negated);
    }
    let best = candidates.iter().map(|c| c.priority).min()?;
    candidates.retain(|c| c.priority == best);
    let longest = candidates.iter().map(|c| c.content.bytes.len()).max()?;
    candidates.retain(|c| c.content.bytes.len() == longest);
    // Of equal ones the first stays.
    let strongest = candidates
        .iter()
        .rev()
        .max_by_key(|c| strength(&c.content.bytes))?;
    Some(choice(strongest))
}

/// All contents that can be searched for.
fn candidates(signature: &Signature) -> Vec<Candidate<'_>> {
    let mut found = Vec::new();
    for (inspect, view) in signature.inspect.iter().enumerate() {
        if view.absent.is_some() {
            continue;
        }
        for (test, content) in view.tests.iter().enumerate() {
            if let Test::Content(content) = content {
                found.push(Candidate {
                    inspect,
                    test,
                    priority: priority(&view.buffer),
                    content,
                });
            }
        }
    }
    found
}

fn choice(candidate: &Candidate<'_>) -> Choice {
    let content = candidate.content;
    let length = content.bytes.len();
    let range = match content.fast_pattern {
        FastPattern::Chop(offset, piece) => {
            let start = usize::from(offset).min(length);
            start..(start + usize::from(piece)).min(length)
        }
        _ => 0..length,
    };
    Choice {
        inspect: candidate.inspect,
        test: candidate.test,
        window: window(content, &range),
        range,
        negated: content.negated,
    }
}

/// The window of a piece of a content.
pub fn window(content: &Content, piece: &Range<usize>) -> Window {
    let length = content.bytes.len() as u32;
    let (before, after) = (piece.start as u32, length - piece.end as u32);
    let fixed = |number: Option<Number>| match number {
        Some(Number::Literal(value)) => u32::try_from(value).ok(),
        _ => None,
    };
    let offset = match content.offset {
        None => Some(0),
        written => fixed(written),
    };
    let end = match (content.startswith, offset, fixed(content.depth)) {
        (true, _, _) => Some(length),
        (false, Some(offset), Some(depth)) => offset.checked_add(depth),
        _ => None,
    };
    Window {
        start_min: offset.unwrap_or(0).saturating_add(before),
        end_max: end.map(|end| end.saturating_sub(after)),
        at_end: content.endswith && after == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::parse::{self, Context, Outcome};
    use crate::rules::{Classification, Variables};

    fn chosen(options: &str) -> Option<(Choice, Vec<u8>)> {
        let text = format!("alert tcp any any -> any any ({options} sid:1;)");
        let (variables, classes) = (Variables::default(), Classification::default());
        let mut context = Context::new(&variables, &classes, &|_| None);
        let Outcome::Signature(signature, ..) =
            parse::parse(&text, Source::default(), &mut context)
        else {
            panic!("{text} does not parse");
        };
        let choice = fast_pattern(&signature)?;
        let Test::Content(content) = &signature.inspect[choice.inspect].tests[choice.test] else {
            panic!("not a content");
        };
        let bytes = content.bytes[choice.range.clone()].to_vec();
        Some((choice, bytes))
    }

    fn bytes(options: &str) -> Vec<u8> {
        chosen(options).unwrap().1
    }

    #[test]
    fn the_marked_content_wins_then_length_then_strength() {
        assert_eq!(
            bytes(r#"content:"abc"; fast_pattern; content:"abcdef";"#),
            b"abc"
        );
        assert_eq!(bytes(r#"content:"abc"; content:"abcdef";"#), b"abcdef");
        assert_eq!(bytes(r#"content:"aaaa"; content:"abcd";"#), b"abcd");
        assert_eq!(bytes(r#"content:"abcd"; content:"efgh";"#), b"abcd");
        assert_eq!(bytes(r#"content:"abcdef"; fast_pattern:1,3;"#), b"bcd");
    }

    #[test]
    fn buffers_come_before_the_payload_and_negation_last() {
        let options = r#"content:"abcdef"; http.uri; content:"xyz";"#;
        assert_eq!(bytes(options), b"xyz");
        let options = r#"content:"abcdef"; http.method; content:"POST";"#;
        assert_eq!(bytes(options), b"abcdef");
        assert_eq!(bytes(r#"content:!"abcdef"; content:"xy";"#), b"xy");
        assert!(chosen(r#"content:!"abcdef";"#).unwrap().0.negated);
        assert!(chosen("dsize:3;").is_none());
    }

    #[test]
    fn the_window_is_kept() {
        let window = |options: &str| chosen(options).unwrap().0.window;
        let made = window(r#"content:"abcdef"; offset:4; depth:10; fast_pattern:2,3;"#);
        assert_eq!((made.start_min, made.end_max), (6, Some(13)));
        let made = window(r#"content:"abc"; startswith; endswith;"#);
        assert_eq!(
            (made.start_min, made.end_max, made.at_end),
            (0, Some(3), true)
        );
        let made = window(r#"content:"abc"; distance:4;"#);
        assert_eq!(
            (made.start_min, made.end_max, made.at_end),
            (0, None, false)
        );
    }
}
