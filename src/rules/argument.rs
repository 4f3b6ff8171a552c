//! The value of an option: negation and quotes taken off, swallowed options found.
//!
//! What the value means is the keyword's business.

use crate::rules::diagnostic::{Code, Problem, Span};
use crate::rules::keyword::{self, Form, Keyword, Quotes};
use crate::rules::lex::{self, RawOption};

/// Value of an option, without quotes and negation.
#[derive(Clone, Copy, Debug)]
pub struct Argument<'a> {
    /// The value; empty if there is none.
    pub text: &'a str,
    /// Where it stands.
    pub span: Span,
    /// `!` stood before it.
    pub negated: bool,
    /// Where the keyword stands.
    pub name: Span,
    /// The keyword.
    pub keyword: &'static Keyword,
}

impl Argument<'_> {
    /// The value does not have the form that the keyword takes.
    pub fn bad(&self, message: impl Into<String>) -> Problem {
        Problem::new(Code::BadValue, self.span, message)
    }

    /// A problem at the keyword.
    pub fn problem(&self, code: Code, message: impl Into<String>) -> Problem {
        Problem::new(code, self.name, message)
    }
}

/// Takes negation and quotes off the value of an option.
pub fn argument<'a>(
    text: &'a str,
    option: &RawOption,
    keyword: &'static Keyword,
) -> Result<Argument<'a>, Problem> {
    let name = keyword.name;
    let value = option.value.unwrap_or(Span {
        start: option.name.end,
        end: option.name.end,
    });
    let made = |span: Span, negated| Argument {
        text: span.of(text),
        span,
        negated,
        name: option.name,
        keyword,
    };
    let problem = |code, message: String| Err(Problem::new(code, option.whole, message));
    if value.of(text).is_empty() {
        return match keyword.form {
            Form::Value => problem(Code::MissingValue, format!("`{name}` needs a value")),
            _ => Ok(made(value, false)),
        };
    }
    if keyword.form == Form::Nothing {
        let shown = lex::shorten(value.of(text));
        return problem(
            Code::UnexpectedValue,
            format!("`{name}` takes no value, found `{shown}`"),
        );
    }
    let (value, negated) = match value.of(text).strip_prefix('!') {
        Some(rest) if keyword.negatable => {
            let skip = value.of(text).len() - rest.trim_start().len();
            (value.part(skip, value.of(text).len()), true)
        }
        _ => (value, false),
    };
    if value.of(text).is_empty() {
        return problem(Code::MissingValue, format!("`{name}` needs a value"));
    }
    if !value.of(text).starts_with('"') {
        if keyword.quotes == Quotes::Must {
            let problem = Problem::new(
                Code::QuotesNeeded,
                value,
                format!("the value of `{name}` is not in double quotes"),
            );
            return Err(problem.help(format!("{name}:\"{}\"", lex::shorten(value.of(text)))));
        }
        return Ok(made(value, negated));
    }
    if keyword.quotes == Quotes::No && !matches!(name, "reference" | "priority" | "id") {
        let message = format!("the value of `{name}` is not quoted");
        return problem(Code::QuotesRefused, message);
    }
    if keyword.quotes == Quotes::No {
        return Ok(made(value, negated));
    }
    quoted(text, value, name).map(|inner| made(inner, negated))
}

/// What stands between the quotes of a value.
fn quoted(text: &str, value: Span, name: &str) -> Result<Span, Problem> {
    let raw = value.of(text);
    if raw.len() < 2 || !raw.ends_with('"') {
        return Err(Problem::new(
            Code::BadQuotes,
            value,
            format!("the value of `{name}` starts with a quote and does not end with one"),
        )
        .help("write `\\;` for a semicolon inside quotes; quotes do not protect it"));
    }
    let inner = value.part(1, raw.len() - 1);
    let bytes = raw.as_bytes();
    let stray = (1..raw.len() - 1).find(|i| bytes[*i] == b'"' && bytes[*i - 1] != b'\\');
    let Some(stray) = stray else {
        return Ok(inner);
    };
    let after = raw[stray + 1..].trim_start();
    let word: String = after
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || "._-".contains(*c))
        .collect();
    let place = value.part(stray, stray + 1);
    if keyword::lookup(&word).is_some() && after[word.len()..].trim_start().starts_with([':', ';'])
    {
        let start = stray + 1 + (raw[stray + 1..].len() - after.len());
        return Err(Problem::new(
            Code::SwallowedOption,
            value.part(start, start + word.len()),
            format!("the option `{word}` became part of the value of `{name}`"),
        )
        .help(format!("put a `;` before `{word}`")));
    }
    // In an expression a bare quote is an ordinary character.
    if name == "pcre" || name == "pcrexform" {
        return Ok(inner);
    }
    Err(Problem::new(
        Code::SwallowedOption,
        place,
        format!("an unescaped quote inside the value of `{name}`"),
    )
    .help("write it as `\\\"`, in a content also as |22|"))
}

/// The problem of a keyword that does not exist.
pub fn unknown(name: &str, option: &RawOption) -> Problem {
    if name.is_empty() {
        return Problem::new(
            Code::UnknownKeyword,
            option.whole,
            "an option without a keyword",
        )
        .help("remove the extra `;`");
    }
    let problem = Problem::new(
        Code::UnknownKeyword,
        option.name,
        format!("unknown keyword `{}`", lex::shorten(name)),
    );
    match keyword::suggest(name) {
        Some(known) => problem.help(format!("did you mean `{known}`?")),
        None if name.contains('"') => problem.help("is a `;` inside quotes not escaped as `\\;`?"),
        None => problem,
    }
}
