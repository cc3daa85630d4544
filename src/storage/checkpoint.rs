//! The checkpoint: an image of what is owed, so that the log before it can go.
//!
//! One file, `checkpoint.dat`, replaced whole, and its copy, `checkpoint-copy.dat`, replaced after it: without either nobody
//! knows what is owed. A copy that is one checkpoint behind is as good, since what it needs goes last. A file is `LVRCKP01`, the
//! image, and a CRC-32 over all before it. Integers are big endian; texts and lists begin with their length as a u32.

use std::collections::BTreeMap;

use super::image::{ChannelImage, Detail, HomeImage, Image, TopicImage};
use super::ranges::RangeSet;
use super::segment::Home;
use super::wal::record::Fields;

const MAGIC: &[u8; 8] = b"LVRCKP01";

/// The names of the file and its copy.
pub(crate) const FILES: [&str; 2] = ["checkpoint.dat", "checkpoint-copy.dat"];
/// Its name while it is written.
pub(crate) const DRAFT: &str = "checkpoint.tmp";

/// The bytes of the file.
pub(crate) fn encode(image: &Image) -> Vec<u8> {
    let mut out = Out(MAGIC.to_vec());
    out.u64(image.wal_from);
    out.u32(image.last_topic);
    out.length(image.topics.len());
    for (id, topic) in &image.topics {
        out.u32(*id);
        out.topic(topic);
    }
    let mut bytes = out.0;
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

struct Out(Vec<u8>);

impl Out {
    fn u16(&mut self, value: u16) {
        self.0.extend(value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.0.extend(value.to_be_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend(value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.0.extend(value.to_be_bytes());
    }

    fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    fn length(&mut self, length: usize) {
        // What is counted here lies in memory, a dozen bytes each at least.
        self.u32(u32::try_from(length).unwrap_or(u32::MAX));
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend(text.as_bytes());
    }

    fn ranges(&mut self, set: &RangeSet) {
        self.length(set.iter().count());
        for range in set.iter() {
            self.u64(range.start);
            self.u64(range.end);
        }
    }

    fn topic(&mut self, topic: &TopicImage) {
        self.text(&topic.name);
        self.u64(topic.lsn);
        self.flag(topic.paused);
        self.u64(topic.next);
        self.ranges(&topic.unreleased);
        self.length(topic.held.len());
        for (seq, delay) in &topic.held {
            self.u64(*seq);
            self.u64(*delay);
        }
        self.flag(topic.retained.is_some());
        if let Some(retained) = &topic.retained {
            self.ranges(retained);
        }
        self.length(topic.homes.len());
        for HomeImage { base, count, home } in &topic.homes {
            self.u64(*base);
            self.u32(*count);
            self.u64(home.file);
            self.u64(home.offset);
            self.u32(home.length);
        }
        self.u32(topic.last_channel);
        self.length(topic.channels.len());
        for (id, channel) in &topic.channels {
            self.u32(*id);
            self.text(&channel.name);
            self.flag(channel.paused);
            self.ranges(&channel.owed);
            self.length(channel.details.len());
            for (seq, detail) in &channel.details {
                self.u64(*seq);
                self.u16(detail.attempts);
                self.i64(detail.due);
            }
        }
    }
}

/// The image in the bytes of a file, if they are whole.
pub(crate) fn decode(bytes: &[u8]) -> Option<Image> {
    let (covered, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if crc32fast::hash(covered).to_be_bytes() != crc {
        return None;
    }
    let mut fields = Fields(covered.strip_prefix(MAGIC)?);
    let mut image =
        Image { wal_from: fields.u64()?, last_topic: fields.u32()?, ..Image::default() };
    for _ in 0..fields.u32()? {
        let id = fields.u32()?;
        image.topics.insert(id, topic(&mut fields)?);
    }
    fields.0.is_empty().then_some(image)
}

fn topic(fields: &mut Fields<'_>) -> Option<TopicImage> {
    let mut topic = TopicImage {
        name: fields.text()?.to_owned(),
        lsn: fields.u64()?,
        paused: fields.flag()?,
        next: fields.u64()?,
        unreleased: fields.range_set()?,
        ..TopicImage::default()
    };
    for _ in 0..fields.u32()? {
        topic.held.insert(fields.u64()?, fields.u64()?);
    }
    if fields.flag()? {
        topic.retained = Some(fields.range_set()?);
    }
    for _ in 0..fields.u32()? {
        let (base, count) = (fields.u64()?, fields.u32()?);
        let home = Home { file: fields.u64()?, offset: fields.u64()?, length: fields.u32()? };
        topic.homes.push(HomeImage { base, count, home });
    }
    topic.last_channel = fields.u32()?;
    for _ in 0..fields.u32()? {
        let id = fields.u32()?;
        topic.channels.insert(id, channel(fields)?);
    }
    Some(topic)
}

fn channel(fields: &mut Fields<'_>) -> Option<ChannelImage> {
    let mut channel = ChannelImage {
        name: fields.text()?.to_owned(),
        paused: fields.flag()?,
        owed: fields.range_set()?,
        details: BTreeMap::new(),
    };
    for _ in 0..fields.u32()? {
        let seq = fields.u64()?;
        channel.details.insert(seq, Detail { attempts: fields.u16()?, due: fields.i64()? });
    }
    Some(channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Image {
        let channel = ChannelImage {
            name: "c".into(),
            paused: true,
            owed: [1..3, 7..9].into_iter().collect(),
            details: BTreeMap::from([(7, Detail { attempts: 3, due: -5 })]),
        };
        let topic = TopicImage {
            name: "t".into(),
            lsn: 55,
            paused: true,
            next: 9,
            unreleased: std::iter::once(8..9).collect(),
            held: BTreeMap::from([(8, 1000)]),
            retained: Some(std::iter::once(1..9).collect()),
            homes: vec![HomeImage {
                base: 1,
                count: 2,
                home: Home { file: 1, offset: 8, length: 60 },
            }],
            channels: BTreeMap::from([(4, channel)]),
            last_channel: 6,
        };
        let topics = BTreeMap::from([(2, topic), (3, TopicImage::default())]);
        Image { wal_from: 33, last_topic: 3, topics }
    }

    #[test]
    fn an_image_comes_back_and_no_flipped_bit_passes() {
        let bytes = encode(&sample());
        assert_eq!(decode(&bytes), Some(sample()));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            assert_eq!(decode(&bad), None, "byte {at}");
            assert_eq!(decode(&bytes[..at]), None, "cut at {at}");
        }
    }
}
