//! `nsqd.dat`: which topics and channels there are, and which are paused. nsqd's own file, in both directions.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{StorageError, io};
use crate::names::is_valid_name;

/// The version that the file carries: the nsqd that it is compatible with.
const VERSION: &str = "1.3.0";

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicMeta {
    /// Its name.
    pub name: String,
    /// Whether it is paused.
    #[serde(default)]
    pub paused: bool,
    /// Its channels.
    #[serde(default, deserialize_with = "null_is_empty", serialize_with = "empty_is_null")]
    pub channels: Vec<ChannelMeta>,
}

/// A channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelMeta {
    /// Its name.
    pub name: String,
    /// Whether it is paused.
    #[serde(default)]
    pub paused: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    #[serde(default, deserialize_with = "null_is_empty", serialize_with = "empty_is_null")]
    topics: Vec<TopicMeta>,
    #[serde(default)]
    version: String,
}

fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn empty_is_null<S, T>(list: &[T], serializer: S) -> Result<S::Ok, S::Error>
where
    S: serde::Serializer,
    T: Serialize,
{
    if list.is_empty() { serializer.serialize_none() } else { list.serialize(serializer) }
}

pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("nsqd.dat")
}

/// Reads the file. Invalid names are left out and returned apart; a missing file is a fresh start.
///
/// # Errors
/// It cannot be read or is not JSON of this shape.
pub fn load(folder: &Path) -> Result<(Vec<TopicMeta>, Vec<String>), StorageError> {
    let path = path(folder);
    match io::read(&path)? {
        Some(bytes) => parse(&path, &bytes),
        None => Ok((Vec::new(), Vec::new())),
    }
}

/// Parses the content of the file at `path`, as [`load`] does.
pub(super) fn parse(
    path: &Path,
    bytes: &[u8],
) -> Result<(Vec<TopicMeta>, Vec<String>), StorageError> {
    let file =
        decode(bytes).map_err(|reason| StorageError::Metadata { path: path.into(), reason })?;
    let mut invalid = Vec::new();
    let mut keep = |name: &str| {
        let is_valid = is_valid_name(name.as_bytes());
        if !is_valid {
            invalid.push(name.to_owned());
        }
        is_valid
    };
    let mut topics = file.topics;
    topics.retain(|topic| keep(&topic.name));
    for topic in &mut topics {
        topic.channels.retain(|channel| keep(&channel.name));
    }
    Ok((topics, invalid))
}

fn decode(bytes: &[u8]) -> Result<File, String> {
    // serde takes a list for an object without its keys; Go does not.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err("expected an object, found a list".to_owned());
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// Replaces the file, whole or not at all.
///
/// # Errors
/// It cannot be written.
pub fn save(folder: &Path, topics: Vec<TopicMeta>) -> Result<(), StorageError> {
    io::replace(&path(folder), |writer| write(writer, topics))
}

/// Writes the content of the file.
pub(super) fn write(
    writer: &mut dyn std::io::Write,
    topics: Vec<TopicMeta>,
) -> std::io::Result<()> {
    Ok(serde_json::to_writer(writer, &File { topics, version: VERSION.into() })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::tests::folder;

    #[test]
    fn the_file_is_nsqds_to_the_letter() {
        let folder = folder("metadata");
        save(&folder, Vec::new()).unwrap();
        let text = || String::from_utf8(io::read(&path(&folder)).unwrap().unwrap()).unwrap();
        assert_eq!(text(), r#"{"topics":null,"version":"1.3.0"}"#);
        let channels = vec![ChannelMeta { name: "c".into(), paused: true }];
        let topics = vec![
            TopicMeta { name: "t".into(), paused: false, channels },
            TopicMeta { name: "u".into(), paused: true, channels: Vec::new() },
        ];
        save(&folder, topics.clone()).unwrap();
        assert_eq!(
            text(),
            r#"{"topics":[{"name":"t","paused":false,"channels":[{"name":"c","paused":true}]},{"name":"u","paused":true,"channels":null}],"version":"1.3.0"}"#
        );
        assert_eq!(load(&folder).unwrap(), (topics, Vec::new()));
    }

    #[test]
    fn a_fresh_folder_is_empty_and_a_broken_file_is_named() {
        let folder = folder("metadata-broken");
        assert_eq!(load(&folder).unwrap(), (Vec::new(), Vec::new()));
        for (text, topics) in [
            ("{}", Some(0)),
            (r#"{"topics":[{"name":"a b"},{"name":"t"}]}"#, Some(1)),
            ("", None),
            ("[", None),
        ] {
            io::replace(&path(&folder), |writer| writer.write_all(text.as_bytes())).unwrap();
            match topics {
                Some(count) => assert_eq!(load(&folder).unwrap().0.len(), count, "{text}"),
                None => {
                    assert!(load(&folder).unwrap_err().to_string().contains("nsqd.dat"), "{text}")
                }
            }
        }
    }
}
