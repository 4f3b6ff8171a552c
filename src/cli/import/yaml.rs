//! Suricata's file as it reads it: what is said twice stands as it was said last, an included file
//! stands where its `include` stands, a name with dots is a way of names, and `_` in a name is `-`.
//! Facts are from its user guide ("Suricata.yaml", "Includes"); YAML itself is the parser's.
//!
//! What the values mean is import.rs's.

use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::super::{Failure, exit};

/// Files that include each other end here.
const INCLUDES_MAX: usize = 32;
/// Lists and tables within each other.
const NESTED_MAX: usize = 128;

/// One value of the file: a scalar, or a list of scalars.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    /// Names from the top, dotted; places in lists by number.
    pub path: String,
    pub values: Vec<String>,
    pub place: String,
}

impl Leaf {
    pub fn text(&self) -> String {
        self.values.join(", ")
    }
}

/// A value, or what others stand in.
struct Node {
    place: String,
    value: Value,
}

enum Value {
    One(String),
    List(Vec<Node>),
    Table(Table),
}

type Table = Vec<(String, Node)>;

/// All values of a file and of those that it includes, in order.
///
/// # Errors
/// A file that cannot be read (6) or is no YAML (3).
pub(super) fn leaves(path: &Path) -> Result<Vec<Leaf>, Failure> {
    let mut leaves = Vec::new();
    for node in file(path, 0)? {
        flatten("", node, &mut leaves);
    }
    Ok(leaves)
}

/// The documents of a file.
fn file(path: &Path, depth: usize) -> Result<Vec<Node>, Failure> {
    let name = path.display().to_string();
    if depth > INCLUDES_MAX {
        let text = format!("{name}: files include each other\n [hint] take one include out");
        return Err(Failure::new(exit::CONFIG, text));
    }
    let text = std::fs::read_to_string(path).map_err(|error| {
        let hint = "name a suricata.yaml that can be read";
        Failure::new(exit::INPUT, format!("{name}: {error}\n [hint] {hint}"))
    })?;
    let mut reading = Reading {
        parser: Parser::new_from_str(&text),
        name,
        folder: path.parent().unwrap_or(Path::new("")),
        depth,
    };
    let mut documents = Vec::new();
    while let Some((event, span)) = reading.next()? {
        match event {
            Event::StreamStart | Event::StreamEnd | Event::Nothing => {}
            Event::DocumentStart(_) | Event::DocumentEnd => {}
            event => documents.push(reading.node(event, span, "", 0)?),
        }
    }
    Ok(documents)
}

/// A file being read.
struct Reading<'a> {
    parser: Parser<'a, StrInput<'a>>,
    name: String,
    folder: &'a Path,
    /// Files that include this one.
    depth: usize,
}

impl<'a> Reading<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Failure> {
        self.parser.next_event().transpose().map_err(|error| {
            let hint = "is this a file that Suricata reads?";
            Failure::new(
                exit::CONFIG,
                format!("{}: {error}\n [hint] {hint}", self.name),
            )
        })
    }

    /// What begins with `event`; `parent` is the name that it stands under.
    fn node(
        &mut self,
        event: Event<'a>,
        span: Span,
        parent: &str,
        nested: usize,
    ) -> Result<Node, Failure> {
        let place = format!("{}:{}", self.name, span.start.line());
        if nested > NESTED_MAX {
            let text = format!("{place}: too deep\n [hint] is this a file that Suricata reads?");
            return Err(Failure::new(exit::CONFIG, text));
        }
        let value = match event {
            Event::Scalar(text, style, _, tag) => {
                if tag.is_some_and(|tag| tag.suffix == "include") {
                    return self.included(&text, place);
                }
                let null = ["", "~", "null", "Null", "NULL"].contains(&&*text);
                match null && style == ScalarStyle::Plain {
                    true => Value::One(String::new()),
                    false => Value::One(text.into_owned()),
                }
            }
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                while let Some((event, span)) = self.next()? {
                    if event == Event::SequenceEnd {
                        break;
                    }
                    list.push(self.node(event, span, parent, nested + 1)?);
                }
                Value::List(list)
            }
            Event::MappingStart(..) => Value::Table(self.table(parent, nested)?),
            _ => Value::One(String::new()),
        };
        Ok(Node { place, value })
    }

    fn table(&mut self, parent: &str, nested: usize) -> Result<Table, Failure> {
        // Variables and sets have names of the operator's own.
        let own = ["address-groups", "port-groups", "datasets"].contains(&parent);
        let mut table = Table::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            let name = match self.node(event, span, "", nested + 1)?.value {
                Value::One(name) if own => name,
                Value::One(name) => name.replace('_', "-"),
                _ => String::new(),
            };
            let Some((event, span)) = self.next()? else {
                break;
            };
            let node = self.node(event, span, &name, nested + 1)?;
            match name.as_str() {
                "include" => self.include(node, &mut table)?,
                name => put(&mut table, name, node),
            }
        }
        Ok(table)
    }

    /// What stands in the file that a value names.
    fn included(&self, name: &str, place: String) -> Result<Node, Failure> {
        let documents = file(&self.folder.join(name), self.depth + 1)?;
        let first = documents.into_iter().next();
        Ok(first.unwrap_or(Node {
            place,
            value: Value::One(String::new()),
        }))
    }

    /// Files that stand in the place of their names.
    fn include(&self, node: Node, table: &mut Table) -> Result<(), Failure> {
        let place = node.place.clone();
        let names = match node.value {
            Value::One(name) => vec![name],
            Value::List(list) => list
                .into_iter()
                .filter_map(|node| match node.value {
                    Value::One(name) => Some(name),
                    _ => None,
                })
                .collect(),
            Value::Table(_) => Vec::new(),
        };
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            if let Value::Table(entries) = self.included(&name, place.clone())?.value {
                for (name, node) in entries {
                    put(table, &name, node);
                }
            }
        }
        Ok(())
    }
}

/// Puts a value under a name: in the place of one that was there.
fn put(table: &mut Table, name: &str, node: Node) {
    let (first, rest) = match name.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (name, None),
    };
    let known = table.iter().position(|(known, _)| known == first);
    match (known, rest) {
        (Some(at), None) => {
            table.remove(at);
            table.push((first.to_string(), node));
        }
        (None, None) => table.push((first.to_string(), node)),
        (known, Some(rest)) => {
            let at = known.unwrap_or_else(|| {
                let place = node.place.clone();
                let value = Value::Table(Table::new());
                table.push((first.to_string(), Node { place, value }));
                table.len() - 1
            });
            if let Some((_, below)) = table.get_mut(at) {
                if !matches!(below.value, Value::Table(_)) {
                    below.value = Value::Table(Table::new());
                }
                if let Value::Table(below) = &mut below.value {
                    put(below, rest, node);
                }
            }
        }
    }
}

fn flatten(path: &str, node: Node, leaves: &mut Vec<Leaf>) {
    let below = |name: &str| match path {
        "" => name.to_string(),
        path => format!("{path}.{name}"),
    };
    let is_one = |node: &Node| matches!(node.value, Value::One(_));
    let one = |node: Node| match node.value {
        Value::One(text) => text,
        _ => String::new(),
    };
    match node.value {
        Value::Table(table) => {
            for (name, node) in table {
                flatten(&below(&name), node, leaves);
            }
        }
        Value::List(list) if !list.iter().all(is_one) => {
            for (number, item) in list.into_iter().enumerate() {
                flatten(&below(&number.to_string()), item, leaves);
            }
        }
        Value::List(list) => leaves.push(Leaf {
            path: path.to_string(),
            values: list.into_iter().map(one).collect(),
            place: node.place,
        }),
        Value::One(text) => leaves.push(Leaf {
            path: path.to_string(),
            values: vec![text],
            place: node.place,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Vec<(String, String, String)> {
        let name = format!("sluice-yaml-{}-{}", std::process::id(), files.len());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let leaves = leaves(&folder.join(files[0].0)).map_err(|failure| failure.text);
        std::fs::remove_dir_all(&folder).unwrap();
        let own = |leaf: Leaf| {
            let place = leaf.place.rsplit('/').next().unwrap_or("").to_string();
            (leaf.path.clone(), leaf.text(), place)
        };
        leaves.unwrap().into_iter().map(own).collect()
    }

    #[test]
    fn what_is_said_last_stands_and_files_stand_where_they_are_named() {
        let main = "%YAML 1.1\n---\nvars:\n  address-groups:\n    HOME_NET: a\n\
                    include: first.yaml\ninclude: [ second.yaml ]\n\
                    rule-files: [x, y]\nrule_files: [z]\n\
                    outputs: !include outputs.yaml\nstream.midstream: yes\nempty: ~\n";
        let found = read(&[
            ("main.yaml", main),
            (
                "first.yaml",
                "rule-files: [early]\nvars:\n  address-groups:\n    HOME_NET: b\n",
            ),
            ("second.yaml", "af-packet:\n  - interface: eth7\n"),
            ("outputs.yaml", "- eve-log:\n    enabled: no\n- stats\n"),
        ]);
        let told: Vec<(&str, &str, &str)> = found
            .iter()
            .map(|(path, text, place)| (path.as_str(), text.as_str(), place.as_str()))
            .collect();
        let expected = [
            ("vars.address-groups.HOME_NET", "b", "first.yaml:4"),
            ("af-packet.0.interface", "eth7", "second.yaml:2"),
            ("rule-files", "z", "main.yaml:9"),
            ("outputs.0.eve-log.enabled", "no", "outputs.yaml:2"),
            ("outputs.1", "stats", "outputs.yaml:3"),
            ("stream.midstream", "yes", "main.yaml:11"),
            ("empty", "", "main.yaml:12"),
        ];
        assert_eq!(told, expected);
    }
}
