//! Bencoding (BEP 3): values cut out of a message, checked whole before they are looked at. Keys of a
//! dictionary rise, numbers have no leading zeros, and lists and dictionaries stand within each other
//! to a depth.

/// A value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// A number.
    Number(i64),
    /// Bytes.
    Text(&'a [u8]),
    /// The values of a list, one behind the other.
    List(&'a [u8]),
    /// Keys and values of a dictionary by turns.
    Dictionary(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Its bytes, if it is a text.
    pub fn text(self) -> Option<&'a [u8]> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Its number, if it is one.
    pub fn number(self) -> Option<i64> {
        match self {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// Values of a list; of anything else none.
    pub fn items(self) -> impl Iterator<Item = Value<'a>> + Clone {
        let mut rest = match self {
            Value::List(inner) => inner,
            _ => &[],
        };
        std::iter::from_fn(move || cut(&mut rest))
    }

    /// Keys and values of a dictionary; of anything else none.
    pub fn pairs(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> + Clone {
        let mut rest = match self {
            Value::Dictionary(inner) => inner,
            _ => &[],
        };
        std::iter::from_fn(move || {
            let key = cut(&mut rest)?.text()?;
            Some((key, cut(&mut rest)?))
        })
    }

    /// The value of a key.
    pub fn get(self, key: &[u8]) -> Option<Value<'a>> {
        let mut pairs = self.pairs();
        pairs
            .find(|(known, _)| *known == key)
            .map(|(_, value)| value)
    }
}

/// One token: a number, a text, or the begin (`l`, `d`) or end (`e`) of what holds others.
enum Token<'a> {
    Number(i64),
    Text(&'a [u8]),
    Mark(u8),
}

fn token<'a>(rest: &mut &'a [u8]) -> Option<Token<'a>> {
    let (first, after) = rest.split_first()?;
    match first {
        b'l' | b'd' | b'e' => {
            *rest = after;
            Some(Token::Mark(*first))
        }
        b'i' => {
            let end = memchr::memchr(b'e', after)?;
            let number = whole_number(after.get(..end)?)?;
            *rest = after.get(end + 1..)?;
            Some(Token::Number(number))
        }
        b'0'..=b'9' => {
            let end = memchr::memchr(b':', rest)?;
            let length = usize::try_from(whole_number(rest.get(..end)?)?).ok()?;
            let (text, after) = rest.get(end + 1..)?.split_at_checked(length)?;
            *rest = after;
            Some(Token::Text(text))
        }
        _ => None,
    }
}

/// Digits without leading zeros, with a sign or without.
fn whole_number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = !digits.is_empty()
        && digits.iter().all(u8::is_ascii_digit)
        && (digits[0] != b'0' || text == b"0");
    let text = std::str::from_utf8(text).ok().filter(|_| plain)?;
    text.parse().ok()
}

/// The next value of bytes that were checked; the end of a list or dictionary is none.
fn cut<'a>(rest: &mut &'a [u8]) -> Option<Value<'a>> {
    let whole = *rest;
    let mark = match token(rest)? {
        Token::Number(number) => return Some(Value::Number(number)),
        Token::Text(text) => return Some(Value::Text(text)),
        Token::Mark(b'e') => return None,
        Token::Mark(mark) => mark,
    };
    let mut depth = 1;
    // Each turn takes a byte at least.
    while depth > 0 {
        match token(rest)? {
            Token::Mark(b'e') => depth -= 1,
            Token::Mark(_) => depth += 1,
            _ => {}
        }
    }
    let inner = whole.get(1..whole.len() - rest.len() - 1)?;
    Some(match mark {
        b'l' => Value::List(inner),
        _ => Value::Dictionary(inner),
    })
}

/// Lists and dictionaries within each other at most.
const DEPTH_MAX: usize = 3;

/// A list or dictionary that is open: whether a key comes next, if it is a dictionary, and the last.
#[derive(Clone, Copy, Default)]
struct Open<'a> {
    dictionary: bool,
    at_key: bool,
    key: Option<&'a [u8]>,
}

/// The value that a message begins with; `None` if it is malformed.
pub fn read(bytes: &[u8]) -> Option<Value<'_>> {
    let mut open = [Open::default(); DEPTH_MAX];
    let mut depth = 0_usize;
    let mut rest = bytes;
    // Each turn takes a byte at least.
    loop {
        let token = token(&mut rest)?;
        let holder = depth.checked_sub(1).and_then(|at| open.get_mut(at));
        if let Some(holder) = holder.filter(|holder| holder.dictionary) {
            match (&token, holder.at_key) {
                (Token::Text(key), true) if holder.key.is_none_or(|before| before < *key) => {
                    holder.key = Some(key);
                }
                (Token::Mark(b'e'), true) => {}
                (_, true) | (Token::Mark(b'e'), false) => return None,
                _ => {}
            }
            holder.at_key = !holder.at_key;
        }
        match token {
            Token::Mark(b'e') => depth = depth.checked_sub(1)?,
            Token::Mark(mark) => {
                let dictionary = mark == b'd';
                *open.get_mut(depth)? = Open {
                    dictionary,
                    at_key: dictionary,
                    key: None,
                };
                depth += 1;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    let mut whole = bytes;
    cut(&mut whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_malformed_ones_are_not() {
        let value = read(b"d1:ai-7e1:bl2:xy0:e1:cd1:z1:yeetail").unwrap();
        assert_eq!(value.get(b"a"), Some(Value::Number(-7)));
        let items: Vec<_> = value.get(b"b").unwrap().items().collect();
        assert_eq!(items, [Value::Text(b"xy"), Value::Text(b"")]);
        assert_eq!(
            value.get(b"c").unwrap().get(b"z").unwrap().text(),
            Some(&b"y"[..])
        );
        assert_eq!(value.pairs().count(), 3);
        assert_eq!(read(b"i0e"), Some(Value::Number(0)));
        for odd in [
            &b"d1:b0:1:a0:e"[..],
            b"d1:a0:1:a0:e",
            b"d1:ae",
            b"di1e1:ae",
            b"i01e",
            b"i-0e",
            b"01:a",
            b"3:ab",
            b"l",
            b"e",
            b"llllee",
            b"",
            b"x",
        ] {
            assert_eq!(read(odd), None, "{:?}", String::from_utf8_lossy(odd));
        }
        assert!(read(b"llleee").is_some());
    }
}
