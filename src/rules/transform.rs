//! Transforms: what happens to a sticky buffer before its tests.
//!
//! They stand between the buffer and its first test. A transformed buffer is another buffer.

use crate::rules::argument::Argument;
use crate::rules::diagnostic::{Code, Problem};
use crate::rules::lex::shorten;
use crate::rules::parse::{Builder, List};
use crate::rules::signature::Transform;

/// Bytes that come out of `gunzip` and `zlib_deflate` where the rule does not say.
const INFLATED_DEFAULT: u32 = 1024;
/// Longest key of `xor`, bytes.
const KEY_MAX: usize = 255;

/// Reads a transform.
pub fn parse<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let name = argument.keyword.name;
    let Some(mut list) = builder.sticky.filter(|_| builder.decoded.is_none()) else {
        let message = format!("`{name}` needs a sticky buffer before it");
        return Err(argument.problem(Code::NoBuffer, message));
    };
    if builder.lists[list].used {
        // The buffer has its tests; with one more transform it is another buffer.
        let fresh = List {
            span: argument.name,
            absent: None,
            used: false,
            ..builder.lists[list].clone()
        };
        list = builder.lists.len();
        builder.lists.push(fresh);
        builder.sticky = Some(list);
    }
    let Some(transform) = read(&argument)? else {
        // Known and not executable: the rule is reported as unsupported.
        return Ok(());
    };
    builder.lists[list].transforms.push(transform);
    Ok(())
}

/// The typed transform; `None` for those that no build executes yet.
fn read(argument: &Argument<'_>) -> Result<Option<Transform>, Problem> {
    Ok(Some(match argument.keyword.name {
        "dotprefix" => Transform::DotPrefix,
        "to_lowercase" => Transform::ToLowercase,
        "to_uppercase" => Transform::ToUppercase,
        "strip_whitespace" => Transform::StripWhitespace,
        "compress_whitespace" => Transform::CompressWhitespace,
        "url_decode" => Transform::UrlDecode,
        "to_md5" => Transform::ToMd5,
        "to_sha1" => Transform::ToSha1,
        "to_sha256" => Transform::ToSha256,
        "header_lowercase" => Transform::HeaderLowercase,
        "strip_pseudo_headers" => Transform::StripPseudoHeaders,
        "domain" => Transform::Domain { tld: false },
        "tld" => Transform::Domain { tld: true },
        "xor" => xor(argument)?,
        "from_base64" => from_base64(argument)?,
        "subslice" => subslice(argument)?,
        "pcrexform" => Transform::Pcre {
            pattern: argument.text.as_bytes().into(),
        },
        "gunzip" => inflate(argument, true)?,
        "zlib_deflate" => inflate(argument, false)?,
        _ => return Ok(None),
    }))
}

/// `xor:"0d0a"`, `xor:[offset n,]extract length at`.
fn xor(argument: &Argument<'_>) -> Result<Transform, Problem> {
    let text = argument.text.trim();
    let bad = || {
        argument
            .bad(format!("`{}` is not a key for xor", shorten(text)))
            .help("write xor:\"0d0ac8ff\" or xor:offset 1,extract 1 0")
    };
    let (skip, rest) = match text.strip_prefix("offset ") {
        Some(rest) => {
            let (skip, rest) = rest.split_once(',').ok_or_else(bad)?;
            (skip.trim().parse().map_err(|_| bad())?, rest.trim())
        }
        None => (0, text),
    };
    if let Some(place) = rest.strip_prefix("extract ") {
        let mut words = place.split_whitespace();
        let length: Option<u8> = words.next().and_then(|word| word.parse().ok());
        let offset: Option<u16> = words.next().and_then(|word| word.parse().ok());
        let (Some(key_length), Some(key_offset), None) = (length, offset, words.next()) else {
            return Err(bad());
        };
        return Ok(Transform::XorExtracted {
            skip,
            key_length,
            key_offset,
        });
    }
    let key = key(rest.trim_matches('"')).ok_or_else(bad)?;
    match skip {
        0 => Ok(Transform::Xor(key)),
        _ => Err(bad()),
    }
}

/// A key of hexadecimal digits.
fn key(text: &str) -> Option<Box<[u8]>> {
    let pairs = text.as_bytes().chunks(2).map(|pair| {
        std::str::from_utf8(pair)
            .ok()
            .filter(|pair| pair.len() == 2)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
    });
    let key: Option<Box<[u8]>> = pairs.collect();
    key.filter(|key| !key.is_empty() && key.len() <= KEY_MAX)
}

/// `from_base64:bytes n, offset n, mode rfc4648`.
fn from_base64(argument: &Argument<'_>) -> Result<Transform, Problem> {
    let (mut mode, mut offset, mut bytes) = (1, 0, 0);
    for part in argument.text.split(',').map(str::trim) {
        let (key, value) = part.split_once(' ').unwrap_or((part, ""));
        let value = value.trim();
        let number = || {
            let number: Option<u32> = value.parse().ok().filter(|n| *n <= 65_535);
            number.ok_or_else(|| argument.bad(format!("`{}` is not a number", shorten(value))))
        };
        match key {
            "" => {}
            "bytes" => bytes = number()?,
            "offset" => offset = number()?,
            "mode" => {
                mode = match value.to_ascii_lowercase().as_str() {
                    "strict" => 0,
                    "rfc4648" => 1,
                    "rfc2045" => 2,
                    _ => return Err(argument.bad(format!("`{}` is not a mode", shorten(value)))),
                }
            }
            _ => {
                let message = format!("`{}` is not a word of from_base64", shorten(key));
                return Err(argument.bad(message));
            }
        }
    }
    Ok(Transform::FromBase64 {
        mode,
        offset,
        bytes,
    })
}

/// `gunzip[:max-size n]`, `zlib_deflate[:max-size n]`.
fn inflate(argument: &Argument<'_>, gzip: bool) -> Result<Transform, Problem> {
    let max_size = match argument.text.trim() {
        "" => INFLATED_DEFAULT,
        text => text
            .strip_prefix("max-size")
            .and_then(|size| size.trim().parse().ok())
            .ok_or_else(|| {
                argument
                    .bad(format!("`{}` is not a size", shorten(text)))
                    .help("write max-size 1024")
            })?,
    };
    Ok(Transform::Inflate { gzip, max_size })
}

/// `subslice:offset[,count][,truncate]`.
fn subslice(argument: &Argument<'_>) -> Result<Transform, Problem> {
    let mut parts: Vec<&str> = argument.text.split(',').map(str::trim).collect();
    let truncate = parts.len() > 1
        && parts
            .pop_if(|word| word.eq_ignore_ascii_case("truncate"))
            .is_some();
    let number = |text: &str| {
        let number: Option<i32> = text.parse().ok();
        number.ok_or_else(|| argument.bad(format!("`{}` is not a number", shorten(text))))
    };
    let (offset, count) = match parts[..] {
        [offset] => (number(offset)?, None),
        [offset, count] => (number(offset)?, Some(number(count)?)),
        _ => {
            return Err(argument
                .bad("`subslice` takes an offset and a number of bytes")
                .help("write subslice:2,10 or subslice:2,10,truncate"));
        }
    };
    if count == Some(0) {
        return Err(argument.bad("no bytes are left"));
    }
    Ok(Transform::Subslice {
        offset,
        count,
        truncate,
    })
}
