//! Values of a dataset's file that is JSON: where they stand in it, the rule says.

use serde_json::Value;

use super::dataset::{Format, Kind};

/// The values of a text; the number of the line that is not as the rule says.
pub fn values(format: &Format, kind: Kind, text: &str) -> Result<Vec<Vec<u8>>, usize> {
    match format {
        Format::Lines => Ok(Vec::new()),
        Format::Json { array, value } => {
            let whole: Value = serde_json::from_str(text).map_err(|error| error.line())?;
            let found = under(&whole, array)
                .and_then(Value::as_array)
                .ok_or(1usize)?;
            let values = found.iter().map(|one| read(one, value, kind));
            values.collect::<Option<_>>().ok_or(1)
        }
        Format::JsonLines { value } => text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(number, line)| {
                let one: Option<Value> = serde_json::from_str(line).ok();
                one.and_then(|one| read(&one, value, kind))
                    .ok_or(number + 1)
            })
            .collect(),
    }
}

/// What stands under a name, `a.b` being `b` within `a`.
fn under<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.').filter(|name| !name.is_empty());
    names.try_fold(value, |value, name| value.get(name))
}

/// The value of an object; a text stands there as it is.
fn read(one: &Value, path: &str, kind: Kind) -> Option<Vec<u8>> {
    let found = under(one, path)?;
    match (kind, found) {
        (Kind::Text, Value::String(text)) => Some(text.as_bytes().to_vec()),
        (Kind::Text, Value::Number(number)) => Some(number.to_string().into_bytes()),
        (kind, Value::String(text)) => kind.read(text),
        _ => None,
    }
    .filter(|value| kind.takes(value))
}
