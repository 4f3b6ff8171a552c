//! Files in EVE: `fileinfo`, the event of a file that ended, and `files`, the files of the transaction
//! that an alert is about, which may go on.

use serde::{Serialize, Serializer};

use super::http;
use super::text::{Bytes, Digest, Text};
use crate::app::record::{Record, Value};
use crate::app::{Field, FileState};
use crate::event::Event;
use crate::packet::Direction;

/// A file: what is known of it, and where it was stored.
#[derive(Serialize)]
pub struct FileInfo<'a> {
    pub(super) filename: Text<Bytes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<Sids<'a>>,
    pub(super) gaps: bool,
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) md5: Option<Text<Digest<16>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sha1: Option<Text<Digest<20>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<Text<Digest<32>>>,
    pub(super) stored: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    storing: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_id: Option<u64>,
    pub(super) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<u64>,
    pub(super) tx_id: u32,
}

impl<'a> FileInfo<'a> {
    /// What the record of its transaction says of a file that went this way.
    pub(super) fn set_record(&mut self, record: Record<'a>, direction: Direction) {
        self.tx_id = record.number();
        self.sid = Some(Sids(record, direction)).filter(|sids| sids.iter().next().is_some());
        if direction == Direction::ToClient {
            self.set_range(record);
        }
    }

    /// Where the file stands in the one that it is a part of, if the answer of HTTP says so.
    fn set_range(&mut self, record: Record<'_>) {
        let range = record.bytes(Field::HttpContentRange);
        let range = range.and_then(http::part_of);
        (self.start, self.end) = range.unzip();
    }
}

/// Rules that had the files of a direction stored.
struct Sids<'a>(Record<'a>, Direction);

impl<'a> Sids<'a> {
    fn iter(&self) -> impl Iterator<Item = u64> + use<'a> {
        let direction = self.1;
        let parts = self.0.parts();
        parts.filter_map(move |part| match (part.field, part.value) {
            (Field::FileSid, Value::Number(sid)) if part.direction == direction => Some(sid),
            _ => None,
        })
    }
}

impl Serialize for Sids<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// The file of an event of its own.
pub fn fileinfo(event: &Event) -> FileInfo<'_> {
    let file = &event.file;
    FileInfo {
        filename: Text(Bytes(&event.payload)),
        sid: None,
        gaps: file.gaps,
        state: if file.truncated {
            "TRUNCATED"
        } else {
            "CLOSED"
        },
        md5: file.md5.map(|digest| Text(Digest(digest))),
        sha1: file.sha1.map(|digest| Text(Digest(digest))),
        sha256: file.sha256.map(|digest| Text(Digest(digest))),
        stored: false,
        storing: false,
        file_id: None,
        size: file.size,
        start: None,
        end: None,
        tx_id: 0,
    }
}

/// The files that a transaction's record carries.
#[derive(Clone, Copy)]
pub struct Files<'a>(Record<'a>);

impl<'a> Files<'a> {
    /// `None`: it has none.
    pub fn of(record: Record<'a>) -> Option<Files<'a>> {
        let files = Files(record);
        files.iter().next().is_some().then_some(files)
    }

    fn iter(self) -> impl Iterator<Item = FileInfo<'a>> {
        let of_files = |field| field == Field::FileInfo;
        let parts = self.0.parts().filter(move |part| of_files(part.field));
        parts.filter_map(move |part| match part.value {
            Value::Bytes(bytes) => {
                let mut file = told(bytes)?;
                file.set_record(self.0, part.direction);
                Some(file)
            }
            Value::Number(_) => None,
        })
    }
}

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// A file as `app::file::tell_files` wrote it: what is known of it, then its name.
fn told(bytes: &[u8]) -> Option<FileInfo<'_>> {
    let (info, name) = crate::app::FileInfo::split(bytes)?;
    let goes_on = info.state == FileState::Open;
    Some(FileInfo {
        filename: Text(Bytes(name)),
        sid: None,
        gaps: info.gaps,
        state: match info.state {
            FileState::Closed => "CLOSED",
            FileState::Truncated => "TRUNCATED",
            FileState::Open => "UNKNOWN",
        },
        md5: info.md5.map(|digest| Text(Digest(digest))),
        sha1: info.sha1.map(|digest| Text(Digest(digest))),
        sha256: info.sha256.map(|digest| Text(Digest(digest))),
        stored: info.stored && !goes_on,
        storing: info.stored && goes_on,
        file_id: None,
        size: info.size,
        start: None,
        end: None,
        tx_id: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{AppProtocol, FileInfo as Known};
    use serde_json::json;

    /// A record with one file.
    fn record(info: &Known, name: &[u8]) -> Vec<u8> {
        let mut value = info.encode().to_vec();
        value.extend_from_slice(name);
        let mut bytes = vec![AppProtocol::Http as u8, 3, 0, 0, 0];
        bytes.extend_from_slice(&(Field::FileInfo as u16).to_le_bytes());
        bytes.push(1);
        bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&value);
        bytes
    }

    #[test]
    fn a_file_that_goes_on_and_one_that_ended_are_told_apart() {
        let mut info = Known {
            size: 12,
            state: FileState::Open,
            stored: true,
            ..Known::default()
        };
        let bytes = record(&info, b"a.exe");
        let files = Files::of(Record::new(&bytes).unwrap()).unwrap();
        assert_eq!(
            serde_json::to_value(files).unwrap(),
            json!([{"filename": "a.exe", "gaps": false, "state": "UNKNOWN", "stored": false,
                "storing": true, "size": 12, "tx_id": 3}])
        );
        (info.state, info.md5) = (FileState::Closed, Some([0xab; 16]));
        let bytes = record(&info, b"");
        let files = Files::of(Record::new(&bytes).unwrap()).unwrap();
        let value = serde_json::to_value(files).unwrap();
        assert_eq!(value[0]["state"], "CLOSED");
        assert_eq!(value[0]["stored"], true);
        assert_eq!(value[0]["md5"], "ab".repeat(16));
        assert!(Files::of(Record::new(&[1, 0, 0, 0, 0]).unwrap()).is_none());
    }
}
