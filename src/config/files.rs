//! Settings of files: events of them, hashes, and the store. Keys are those of Suricata's outputs
//! `files` and `file-store`, with or without `outputs.N.` (`outputs.5.file-store.enabled`).

use std::path::PathBuf;

use super::{SettingError, boolean, error, number, size};

/// What is done with the files of transactions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Files {
    /// Each file is an event (`files.enabled`); default yes.
    pub events: bool,
    /// MD5, SHA-1, SHA-256 of every file (`files.force-hash: md5, sha1, sha256`); default none. Those
    /// that rules ask for are computed anyway.
    pub hashes: [bool; 3],
    /// Files that rules ask for are stored (`file-store.enabled`); default no.
    pub store: bool,
    /// All files are stored (`file-store.force-filestore`); default no.
    pub store_all: bool,
    /// Folder of the store (`file-store.dir`), within the log folder if it is relative; default
    /// `filestore`.
    pub dir: PathBuf,
    /// Bytes of a file that are stored at most (`file-store.stream-depth`); default 64 MiB.
    pub size_max: u64,
    /// Files that are written at once (`file-store.max-open-files`); default 256.
    pub open_max: u32,
    /// Files that are stored from start to end of the process (`file-store.max-files`, ours);
    /// default 100,000.
    pub count_max: u32,
    /// Bytes that are stored from start to end of the process (`file-store.max-bytes`, ours); default
    /// 10 GiB.
    pub bytes_max: u64,
}

impl Default for Files {
    fn default() -> Self {
        Files {
            events: true,
            hashes: [false; 3],
            store: false,
            store_all: false,
            dir: PathBuf::from("filestore"),
            size_max: 64 << 20,
            open_max: 256,
            count_max: 100_000,
            bytes_max: 10 << 30,
        }
    }
}

/// 0 is Suricata's word for no limit.
fn limit(number: u64) -> u64 {
    if number == 0 { u64::MAX } else { number }
}

fn hashes(key: &str, value: &str) -> Result<[bool; 3], SettingError> {
    let mut found = [false; 3];
    let list = value.trim().trim_matches(|c| c == '[' || c == ']');
    for word in list
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
    {
        let place = ["md5", "sha1", "sha256"]
            .iter()
            .position(|name| *name == word);
        let place = place.ok_or_else(|| {
            error(
                format!("{key}: `{word}` is no hash"),
                "name md5, sha1, sha256",
            )
        })?;
        found[place] = true;
    }
    Ok(found)
}

impl Files {
    /// Sets a value; false if the key is not one of these.
    ///
    /// # Errors
    /// A value that the key cannot take.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool, SettingError> {
        let (of_store, of_events) = (key.rfind("file-store."), key.rfind("files."));
        let known = |at: usize| at == 0 || key.starts_with("outputs.");
        match (
            of_store.filter(|at| known(*at)),
            of_events.filter(|at| known(*at)),
        ) {
            (Some(at), _) => self.set_store(key, &key[at + "file-store.".len()..], value),
            (None, Some(at)) => self.set_events(key, &key[at + "files.".len()..], value),
            (None, None) => Ok(false),
        }
    }

    fn set_events(&mut self, key: &str, name: &str, value: &str) -> Result<bool, SettingError> {
        match name {
            "enabled" => self.events = boolean(key, value)?,
            "force-hash" => self.hashes = hashes(key, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn set_store(&mut self, key: &str, name: &str, value: &str) -> Result<bool, SettingError> {
        match name {
            "enabled" => self.store = boolean(key, value)?,
            "force-filestore" => self.store_all = boolean(key, value)?,
            "dir" => self.dir = PathBuf::from(value),
            "stream-depth" => self.size_max = limit(size(key, value)?),
            "max-open-files" => self.open_max = number(key, value)?.max(1),
            "max-files" => {
                self.count_max = u32::try_from(limit(size(key, value)?)).unwrap_or(u32::MAX)
            }
            "max-bytes" => self.bytes_max = limit(size(key, value)?),
            "force-hash" => self.hashes = hashes(key, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_both_forms_are_read() {
        let mut files = Files::default();
        for (key, value) in [
            ("file-store.enabled", "yes"),
            ("outputs.7.file-store.force-filestore", "true"),
            (
                "outputs.1.eve-log.types.4.files.force-hash",
                "[md5, sha256]",
            ),
            ("file-store.stream-depth", "0"),
            ("file-store.max-open-files", "0"),
        ] {
            assert!(files.set(key, value).unwrap(), "{key}");
        }
        assert!(files.store && files.store_all);
        assert_eq!(files.hashes, [true, false, true]);
        assert_eq!((files.size_max, files.open_max), (u64::MAX, 1));
        assert!(!files.set("my.profiles.x", "1").unwrap());
        assert!(files.set("files.force-hash", "crc").is_err());
    }
}
