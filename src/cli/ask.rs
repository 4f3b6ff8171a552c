//! `sluice ask`: says one command to a running engine by its control socket, and prints the answer.
//! The commands are control/commands.rs's.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::{Failure, exit};

/// How long an answer may take: a reload compiles all rules.
pub const ANSWER_TIME: Duration = Duration::from_secs(120);

/// Arguments of `sluice ask`.
#[derive(Args)]
pub struct AskArgs {
    /// Control socket of the engine (`sluice run --socket PATH`).
    #[arg(value_name = "SOCKET")]
    pub socket: PathBuf,
    /// What to ask: uptime, stats, counters, iface-stat eth1, ruleset-stats, dataset-add ...;
    /// `help` names all.
    #[arg(required = true, value_name = "COMMAND")]
    pub words: Vec<String>,
}

/// Runs `sluice ask`.
///
/// # Errors
/// Nobody listens (5), or the answer is no (1).
pub fn run(args: &AskArgs) -> Result<u8, Failure> {
    let said = say(&args.socket, &args.words.join(" "), ANSWER_TIME)?;
    let answer = said.map_err(|error| Failure::new(exit::FINDINGS, error))?;
    println!("{}", shown(&answer));
    Ok(exit::OK)
}

/// Says one line to the engine behind a control socket; gives its answer, or why it says no.
///
/// # Errors
/// Nobody listens there, answers in time, or answers what can be understood (5).
pub fn say(socket: &Path, line: &str, time: Duration) -> Result<Result<Value, String>, Failure> {
    let path = socket.display();
    let fail = |error: std::io::Error| {
        let text = match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                let time = time.as_secs();
                format!(
                    "{path}: no answer in {time} s\n [hint] an engine that starts answers later"
                )
            }
            _ => format!(
                "{path}: {error}\n [hint] the path that `sluice run --socket` was given, as a user \
                 who may open it"
            ),
        };
        Failure::new(exit::DEVICE, text)
    };
    let mut stream = UnixStream::connect(socket).map_err(fail)?;
    stream.set_read_timeout(Some(time)).map_err(fail)?;
    writeln!(stream, "{line}").map_err(fail)?;
    let mut text = String::new();
    BufReader::new(stream).read_line(&mut text).map_err(fail)?;
    let answer: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::new(exit::DEVICE, format!("an answer that is none: {error}")))?;
    Ok(match answer["error"].as_str() {
        Some(error) => Err(error.to_string()),
        None => Ok(answer),
    })
}

/// The answer for a reader: a text as it stands, all else as JSON.
fn shown(answer: &Value) -> String {
    let parts = ["message", "stats", "counters"].into_iter();
    let part = parts.filter_map(|name| answer.get(name)).next();
    match part.unwrap_or(answer) {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_shown_bare_and_the_rest_as_json() {
        let text = |json: &str| shown(&serde_json::from_str(json).unwrap());
        assert_eq!(text(r#"{"ok":true,"message":"done"}"#), "done");
        assert_eq!(text(r#"{"ok":true,"message":7}"#), "7");
        assert_eq!(text(r#"{"ok":true,"stats":{"a":1}}"#), "{\n  \"a\": 1\n}");
    }
}
