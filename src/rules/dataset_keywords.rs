//! `dataset`, `datarep`, and the lists of hashes of `filemd5`, `filesha1` and `filesha256`: keywords
//! that ask a set. The sets are dataset.rs's.

use std::sync::Arc;

use super::argument::Argument;
use super::dataset::{Dataset, Format, Kind, Plan, ROOM, VALUES_MAX, room_of};
use super::diagnostic::{Code, Problem};
use super::keyword_table;
use super::lex::shorten;
use super::number;
use super::parse::Builder;
use super::signature::{Buffer, DatasetCommand, DatasetTest, Test};
use crate::app::{Field, registry};

/// Largest reputation.
const RANK_MAX: u64 = u16::MAX as u64;

/// What the words of an option say.
#[derive(Default)]
struct Words<'a> {
    kind: Option<Kind>,
    load: Option<&'a str>,
    save: Option<&'a str>,
    room: Option<usize>,
    memory: Option<usize>,
    format: Option<&'a str>,
    array: &'a str,
    value: &'a str,
    ranked: bool,
    subdomain: bool,
}

/// `dataset:command,name[,type T][,load FILE][,save FILE][,state FILE][,hashsize N][,memcap N]
/// [,format F][,value_key K][,array_key K][,enrichment_key K][,remove_key]`.
pub fn parse<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let mut parts = argument.text.split(',').map(str::trim);
    let command = match parts.next().unwrap_or("") {
        "set" => DatasetCommand::Set,
        "unset" => DatasetCommand::Unset,
        "isset" => DatasetCommand::IsSet,
        "isnotset" => DatasetCommand::IsNotSet,
        other => {
            let message = format!("`{}` is no command of a dataset", shorten(other));
            return Err(argument
                .bad(message)
                .help("commands are set, unset, isset, isnotset"));
        }
    };
    let name = name(&argument, parts.next())?;
    let words = words(&argument, parts)?;
    ask(builder, &argument, name, &words, command)
}

/// `datarep:name,comparison[,load FILE][,type T][,memcap N][,hashsize N]`.
pub fn parse_ranked<'a>(
    builder: &mut Builder<'a, '_>,
    argument: Argument<'a>,
) -> Result<(), Problem> {
    let mut parts = argument.text.split(',').map(str::trim);
    let name = name(&argument, parts.next())?;
    let (operator, value) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let number = value.parse().ok().filter(|value| *value <= RANK_MAX);
    let compare = number
        .filter(|_| matches!(operator, ">" | "<" | "=" | "=="))
        .and_then(|value| number::by_symbol(operator, value, RANK_MAX));
    let Some(compare) = compare else {
        let shown = format!("{},{}", shorten(operator), shorten(value));
        return Err(argument
            .bad(format!("`{shown}` is no comparison of a reputation"))
            .help("write datarep:NAME,>,100,load FILE,type string"));
    };
    let mut words = words(&argument, parts)?;
    words.ranked = true;
    ask(
        builder,
        &argument,
        name,
        &words,
        DatasetCommand::Ranks(compare),
    )
}

/// The name of a set.
fn name<'a>(argument: &Argument<'a>, part: Option<&'a str>) -> Result<&'a str, Problem> {
    part.filter(|name| !name.is_empty()).ok_or_else(|| {
        let keyword = argument.keyword.name;
        argument.bad(format!("`{keyword}` needs the name of a set"))
    })
}

/// Adds the test to the buffer in force.
fn ask<'a>(
    builder: &mut Builder<'a, '_>,
    argument: &Argument<'a>,
    name: &str,
    words: &Words<'_>,
    command: DatasetCommand,
) -> Result<(), Problem> {
    if builder.sticky.is_none() {
        let keyword = argument.keyword.name;
        let message = format!("`{keyword}` needs a sticky buffer before it");
        return Err(argument.problem(Code::NoBuffer, message));
    }
    let asks = matches!(command, DatasetCommand::IsSet | DatasetCommand::IsNotSet);
    if words.subdomain && !asks {
        return Err(argument.bad("`match subdomain` goes with isset and isnotset"));
    }
    let set = declared(builder, argument, name, words)?;
    let test = Test::Dataset(DatasetTest {
        command,
        subdomain: words.subdomain,
        set,
    });
    builder.push(test, false, argument.span);
    Ok(())
}

/// `filemd5:[!]FILE` and its kin: the hash of the transaction's file is in the list, or not.
pub fn hash_list<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let keyword = argument.keyword.name;
    let kind = match keyword {
        "filemd5" => Kind::Md5,
        "filesha1" => Kind::Sha1,
        _ => Kind::Sha256,
    };
    let field = Field::by_name(keyword);
    builder.executable(keyword, field.is_some_and(registry::fills));
    let file = argument.text.trim_matches('"');
    let words = Words {
        kind: Some(kind),
        load: Some(file),
        room: Some(1),
        ..Words::default()
    };
    let set = declared(builder, &argument, &format!("{keyword}:{file}"), &words)?;
    let command = match argument.negated {
        true => DatasetCommand::IsNotSet,
        false => DatasetCommand::IsSet,
    };
    let list = builder.new_list(&keyword_table::FILE_HASH, argument.name);
    builder.lists[list].buffer = Buffer::App(keyword.into());
    let test = Test::Dataset(DatasetTest {
        command,
        subdomain: false,
        set,
    });
    builder.push_to(list, test, argument.span);
    Ok(())
}

fn words<'a>(
    argument: &Argument<'a>,
    parts: impl Iterator<Item = &'a str>,
) -> Result<Words<'a>, Problem> {
    let mut words = Words::default();
    for part in parts {
        let (key, value) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
        let value = value.trim();
        match key {
            "type" => {
                let Some(kind) = Kind::by_name(value) else {
                    let message = format!("`{}` is no type of a dataset", shorten(value));
                    return Err(argument
                        .bad(message)
                        .help("types are string, md5, sha256, ipv4, ip"));
                };
                words.kind = Some(kind);
            }
            "load" => words.load = Some(value),
            "save" => words.save = Some(written(argument, value)?),
            "state" => {
                let path = written(argument, value)?;
                (words.load, words.save) = (Some(path), Some(path));
            }
            "match" if value == "subdomain" => words.subdomain = true,
            "hashsize" => words.room = value.parse().ok(),
            "format" if matches!(value, "csv" | "json" | "jsonline" | "ndjson") => {
                words.format = Some(value);
            }
            "value_key" => words.value = value,
            "array_key" => words.array = value,
            "memcap" => words.memory = room_of(value),
            // What stands beside a value in JSON is not told.
            "enrichment_key" | "context_key" | "remove_key" => {}
            other => {
                return Err(argument.bad(format!("`{}` is not known here", shorten(other))));
            }
        }
    }
    Ok(words)
}

/// A path that a rule may have written: below the folder of the rules.
fn written<'a>(argument: &Argument<'a>, path: &'a str) -> Result<&'a str, Problem> {
    let outside = |part: std::path::Component<'_>| {
        !matches!(
            part,
            std::path::Component::Normal(_) | std::path::Component::CurDir
        )
    };
    if path.is_empty() || std::path::Path::new(path).components().any(outside) {
        return Err(argument
            .bad(format!("`{}` is no path below the rules", shorten(path)))
            .help("what a rule writes lies beside it: a relative path without `..`"));
    }
    Ok(path)
}

/// How the set's file is written.
fn format(argument: &Argument<'_>, words: &Words<'_>) -> Result<Format, Problem> {
    let value: Box<str> = words.value.into();
    let format = match words.format {
        None | Some("csv") => return Ok(Format::Lines),
        Some("json") => Format::Json {
            array: words.array.into(),
            value,
        },
        Some(_) => Format::JsonLines { value },
    };
    if words.value.is_empty() {
        return Err(argument
            .bad("a set of JSON needs `value_key`")
            .help("value_key names what holds the value in each object"));
    }
    if words.save.is_some() {
        return Err(argument.bad("a set of JSON is read, never written"));
    }
    Ok(format)
}

/// The set of that name: the one that a rule before told of, or a new one.
fn declared(
    builder: &mut Builder<'_, '_>,
    argument: &Argument<'_>,
    name: &str,
    words: &Words<'_>,
) -> Result<Arc<Dataset>, Problem> {
    let format = format(argument, words)?;
    if let Some(set) = builder.context.names.datasets.get(name) {
        if words.kind.is_some_and(|kind| kind != set.kind()) {
            let message = format!("the set `{name}` has another type in a rule before");
            return Err(argument.bad(message));
        }
        if words.ranked && !set.is_ranked() {
            let message = format!("the set `{name}` has no reputations in a rule before");
            return Err(argument.bad(message));
        }
        let set = Arc::clone(set);
        fill(builder, argument, &set)?;
        return Ok(set);
    }
    let Some(kind) = words.kind else {
        return Err(argument.bad(format!("the set `{name}` has no type")).help(
            "write `type string` (or md5, sha256, ipv4, ip) where it is first used, or set \
                 datasets.NAME.type",
        ));
    };
    let room = words
        .room
        .map_or(ROOM, |buckets| buckets.clamp(ROOM, VALUES_MAX));
    let set = Arc::new(Dataset::new(Plan {
        name: name.into(),
        kind,
        load: words.load.map(Into::into),
        save: words.save.map(Into::into),
        format,
        room: words.memory.unwrap_or(room),
        ranked: words.ranked,
    }));
    fill(builder, argument, &set)?;
    builder.context.names.datasets.add(Arc::clone(&set));
    Ok(set)
}

/// Fills a set from its file, where files are read.
fn fill(builder: &Builder<'_, '_>, argument: &Argument<'_>, set: &Dataset) -> Result<(), Problem> {
    let Some(folder) = &builder.context.folder else {
        return Ok(());
    };
    set.read(folder)
        .map_err(|unread| argument.bad(unread.to_string()).help(unread.hint()))
}
