//! Tags in a member's metadata (gossip-wire.md 5.2).
//!
//! `ff`, then a MessagePack map of text to text in the gossip dialect. Behind it stands the sign of those who understand
//! the native encoding: every HashiCorp agent ignores it and passes it on (gossip-wire.md 8.4).

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use alloc::vec::Vec;
use core::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::command::{CommandError, Reply, TagCosts};
use crate::config::{Config, Wire};
use crate::ctx::Ctx;
use crate::io::{Persist, PersistError, RequestId};
use crate::limits;
use crate::msgpack::{Dialect, Limits, ReadError, Reader, Writer};
use crate::serf::{Kept, Serf, reply};
use crate::swim::Swim;
use crate::types::{Meta, Tags};
use crate::wire::native;

/// First byte of metadata that holds a tags map; without it the metadata is the role (Serf protocol 2).
const MAGIC: u8 = 0xff;
/// The sign: two bytes that no map begins with, and the version of the native encoding.
const SIGN: [u8; 3] = [native::MAGIC, b'V', native::VERSION];
/// Oldest Serf protocol with tags (gossip-wire.md 5.3).
const TAGS_PROTOCOL: u8 = 3;

/// Writes the tags, sorted by key.
pub fn encode(tags: &Tags) -> Meta {
    let mut writer = Writer::append_to(Dialect::Gossip, [MAGIC].into());
    writer.map(tags.len());
    for (key, value) in tags {
        writer.text(key).text(value);
    }
    Meta::new(writer.finish())
}

/// Writes the tags as the Serf protocol of `config` has them: before 3 the metadata is the tag `role` alone. The sign
/// stands behind them where the native encoding is understood and there is room.
///
/// # Errors
/// They take more than [`limits::META_BYTES_MAX`] bytes.
pub fn encode_for(tags: &Tags, config: &Config) -> Result<Meta, TagCosts> {
    let with_tags = config.versions.delegate_current() >= TAGS_PROTOCOL;
    let meta =
        if with_tags { encode(tags) } else { Meta::new(tags.get(b"role".as_slice()).cloned().unwrap_or_default()) };
    let total = meta.as_bytes().len();
    if total <= limits::META_BYTES_MAX {
        let room = limits::META_BYTES_MAX.saturating_sub(total) >= SIGN.len();
        let signed = with_tags && room && config.wire != Wire::Memberlist;
        return Ok(if signed { Meta::new([meta.as_bytes(), &SIGN].concat()) } else { meta });
    }
    let mut each: Vec<(Vec<u8>, usize)> = tags.iter().map(|(key, value)| (key.clone(), cost(key, value))).collect();
    each.sort_by(|(one, cost), (other, other_cost)| (Reverse(cost), one).cmp(&(Reverse(other_cost), other)));
    Err(TagCosts { total, each })
}

/// Bytes that one tag takes.
fn cost(key: &[u8], value: &[u8]) -> usize {
    let mut writer = Writer::new(Dialect::Gossip);
    writer.text(key).text(value);
    writer.finish().len()
}

/// Reads the tags. Metadata without the magic byte is the tag `role`; what stands behind the map is ignored; where the
/// map cannot be read on, the tags read so far are kept.
pub fn decode(meta: &Meta) -> Tags {
    let mut tags = Tags::new();
    match meta.as_bytes().split_first() {
        Some((&MAGIC, rest)) => _ = read_map(rest, &mut tags),
        Some(_) | None => _ = tags.insert(b"role".to_vec(), meta.as_bytes().to_vec()),
    }
    tags
}

/// Whether the metadata shows that its member understands our native encoding.
pub fn shows_native(meta: &Meta) -> bool {
    let Some((&MAGIC, rest)) = meta.as_bytes().split_first() else { return false };
    let mut reader = Reader::new(rest, Limits { length: rest.len(), depth: 1 });
    reader.skip().is_ok() && rest.get(reader.position()..) == Some(&SIGN)
}

fn read_map(bytes: &[u8], tags: &mut Tags) -> Result<(), ReadError> {
    let mut reader = Reader::new(bytes, Limits { length: bytes.len(), depth: 1 });
    for _ in 0..reader.map()? {
        if reader.nil()? {
            return Err(ReadError::Invalid("a tag has no name"));
        }
        let key = reader.text()?.to_vec();
        tags.insert(key, reader.text()?.to_vec());
    }
    Ok(())
}

/// What is wanted of our tags.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum TagChange {
    /// First the deletions, then what is set (cli.md 2.7).
    Some { set: Tags, delete: Vec<Vec<u8>> },
    /// These and no others.
    All(Tags),
}

impl TagChange {
    fn apply_to(self, mut tags: Tags) -> Tags {
        match self {
            Self::Some { set, delete } => {
                tags.retain(|key, _| !delete.contains(key));
                tags.extend(set);
                tags
            }
            Self::All(tags) => tags,
        }
    }
}

impl Serf {
    /// Changes our tags. Tags that are too long change nothing, and neither do those that cannot be kept where there is a
    /// tags file; tags that are as they were make no noise.
    ///
    /// A change begins where the one before it has ended: while that one is on its way to the file, it waits.
    pub(super) fn change_tags(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, id: RequestId, change: TagChange) {
        if !self.keeps_tags() {
            return self.begin_tag_change(ctx, swim, id, change);
        }
        if self.kept.len().saturating_add(self.tag_changes.len()) >= limits::PERSISTS_MAX {
            return reply(ctx, id, Reply::Failed(CommandError::Busy));
        }
        self.tag_changes.push_back((id, change));
    }

    /// Whether a tag change is on its way to the file.
    fn keeps_tags(&self) -> bool {
        self.kept.values().any(|kept| matches!(kept, Kept::Tags(..)))
    }

    fn begin_tag_change(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, id: RequestId, change: TagChange) {
        let tags = change.apply_to(ctx.table.own().info().tags());
        let meta = match encode_for(&tags, ctx.config) {
            Ok(meta) => meta,
            Err(costs) => return reply(ctx, id, Reply::Failed(CommandError::TagsTooLong(costs))),
        };
        if !ctx.config.serf.tags_file {
            return self.announce_tags(ctx, swim, id, meta);
        }
        if self.kept.len() >= limits::PERSISTS_MAX {
            return reply(ctx, id, Reply::Failed(CommandError::Busy));
        }
        let persist = ctx.persist(Persist::Tags(tags));
        self.kept.insert(persist, Kept::Tags(id, meta));
    }

    /// The tags file is written, or is not.
    pub(super) fn on_tags_kept(
        &mut self,
        ctx: &mut Ctx<'_>,
        swim: &mut Swim,
        id: RequestId,
        meta: Meta,
        result: Result<(), PersistError>,
    ) {
        match result {
            Ok(()) => self.announce_tags(ctx, swim, id, meta),
            Err(PersistError(why)) => reply(ctx, id, Reply::Failed(CommandError::NotKept(why))),
        }
        while !self.keeps_tags()
            && let Some((id, change)) = self.tag_changes.pop_front()
        {
            self.begin_tag_change(ctx, swim, id, change);
        }
    }

    /// Tells everybody; the answer comes when the word is out or has had its time.
    fn announce_tags(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, id: RequestId, meta: Meta) {
        if ctx.table.own().identity.meta == meta {
            return reply(ctx, id, Reply::TagsSet);
        }
        if swim.is_leaving() {
            swim.set_own_meta(ctx, meta);
            return reply(ctx, id, Reply::TagsSet);
        }
        let Some((number, waiter)) = self.begin_wait(ctx, id, Reply::TagsSet, Reply::TagsSet) else {
            return reply(ctx, id, Reply::Failed(CommandError::Busy));
        };
        swim.update(ctx, meta, waiter);
        if !ctx.table.has_live_others() {
            self.on_wait_end(ctx, number, false);
        }
    }
}
