//! Every bound on what peers and clients can make a node hold, in one table.
//!
//! Overflow is counted and logged, never silent; each bound has a test at the limit and one beyond it.

use core::time::Duration;

/// Bytes of one datagram that are read at all; a longer one cannot exist (gossip-wire.md 1.6).
pub const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Bytes that a sender packs into one datagram (gossip-wire.md 1.6).
pub const PACKET_BYTES: usize = 1_400;
/// Bytes of work that reading a datagram may take for each byte of it (gossip-wire.md 10.3).
pub const WORK_PER_BYTE: usize = 64;
/// Bytes of work that reading a datagram may take on top.
pub const WORK_BYTES: usize = 128 << 10;
/// Bytes that reading a datagram may allocate.
pub const DATAGRAM_ALLOCATED_MAX: usize = 256 << 10;
/// Compounds and compressed messages that may stand in each other: honest senders nest two (gossip-wire.md 1).
pub const NESTING_MAX: u8 = 4;
/// Bytes that are expanded at a time.
pub const EXPANSION_STEP: usize = 4_096;
/// Bytes to which the message of a stream may expand (gossip-wire.md 10.1).
pub const STREAM_EXPANDED_MAX: usize = 40 << 20;
/// Bytes from which on a datagram is tried to be compressed: less has too little that repeats.
pub const COMPRESS_BYTES_MIN: usize = 160;
/// Bytes from which on a stream is compressed: a shorter one arrives in two round trips either way, and LZW's tables take
/// more room than it has.
pub const COMPRESS_STREAM_BYTES_MIN: usize = 32 << 10;
/// Messages in one datagram (gossip-wire.md 1.5).
pub const PARTS_MAX: usize = 255;
/// Bytes of a member's metadata that we send (gossip-wire.md 4.9).
pub const META_BYTES_MAX: usize = 512;
/// Bytes of a member's metadata that we accept: an honest peer sends 512, upstream takes any.
pub const META_BYTES_ACCEPTED: usize = 4_096;
/// Bytes of a node's name that we accept; upstream's optional rule says 128.
pub const NAME_BYTES_MAX: usize = 512;
/// Bytes of the text with which an acceptor refuses a stream (gossip-wire.md 2.4).
pub const ERROR_BYTES_MAX: usize = 1_024;
/// Bytes of a label (gossip-wire.md 1.1).
pub const LABEL_BYTES_MAX: usize = 255;
/// Keys on a ring; every wrong packet costs one trial per key.
pub const KEYS_MAX: usize = 64;
/// Unusable packets from one source within a second; more are not read until it is over.
pub const JUNK_PER_SECOND_MAX: u32 = 256;
/// Sources of unusable packets that are watched at one time.
pub const JUNK_SOURCES_MAX: usize = 64;
/// Members, tombstones included (gossip-wire.md 10.1).
pub const MEMBERS_MAX: usize = 1_048_576;
/// Bytes that one stream may bring or take (gossip-wire.md 10.1).
pub const STREAM_BYTES_MAX: usize = 20 << 20;
/// Bytes of one piece of what has come on a stream: what is held beyond [`STREAMS_BYTES_MAX`] is less than one for each.
pub const STREAM_PIECE_BYTES: usize = 64 << 10;
/// Bytes before the frame of a stream, and its header: they are looked at in one piece.
pub const STREAM_HEAD_BYTES: usize = LABEL_BYTES_MAX + 16;
/// Bytes that all streams of a node may hold at one time.
pub const STREAMS_BYTES_MAX: usize = 64 << 20;
/// Inbound streams at one time (protocol.md 1.2).
pub const STREAMS_IN_MAX: usize = 128;
/// Outbound streams at one time: one join, one push/pull, one reconnect, one probe are usual.
pub const STREAMS_OUT_MAX: usize = 64;
/// Pings on behalf of others that wait for an ack at one time.
pub const RELAYS_MAX: usize = 4_096;
/// Broadcasts about members that wait in the queue.
pub const BROADCASTS_MAX: usize = 65_536;
/// From one time that all broadcasts that wait are brought into the native encoding to the next.
pub const NATIVE_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Serf's intents that wait in the queue (protocol.md 2.10).
pub const INTENTS_QUEUED_MAX: usize = 4_096;
/// Depth at which a queue is warned about (protocol.md 2.10).
pub const QUEUE_DEPTH_WARNING: usize = 128;
/// Intents about unknown members that are remembered.
pub const INTENTS_BUFFERED_MAX: usize = 4_096;
/// Join commands that wait for their turn.
pub const JOINS_MAX: usize = 64;
/// Targets of one join.
pub const JOIN_TARGETS_MAX: usize = 1_024;
/// Addresses that one name may resolve to.
pub const RESOLVED_MAX: usize = 256;
/// Commands that wait for their broadcast.
pub const BROADCAST_WAITS_MAX: usize = 1_024;
/// Members in one window of coalesced events; at the bound the window is flushed.
pub const COALESCED_MAX: usize = 16_384;
/// Messages and nodes of one push/pull (gossip-wire.md 10.1).
pub const PUSH_PULL_NODES_MAX: usize = 1_048_576;
/// Bytes that the lists of one push/pull may take once they are read: as many as it may have on its stream. Those of
/// 150,000 members with short names and tags do.
pub const PUSH_PULL_ALLOCATED_MAX: usize = STREAM_BYTES_MAX;
/// Bytes of name and payload of a user event, sent or accepted (protocol.md 2.7: the cap of its limit).
pub const USER_EVENT_BYTES_MAX: usize = 9_216;
/// Lamport times of user events and of queries that are remembered to tell duplicates (protocol.md 2.15).
pub const SEEN_TIMES: u64 = 512;
/// User events that are remembered; beyond it the oldest Lamport time goes, and what is older is not accepted again.
pub const EVENTS_SEEN_MAX: usize = 8_192;
/// Bytes of the user events that are remembered.
pub const EVENTS_SEEN_BYTES_MAX: usize = 4 << 20;
/// Queries that are remembered to tell duplicates; beyond it the oldest Lamport time goes.
pub const QUERIES_SEEN_MAX: usize = 8_192;
/// User events that wait in the queue, and queries (protocol.md 2.10).
pub const EVENTS_QUEUED_MAX: usize = 4_096;
/// Queued intents, queries or events that are passed over for one packet because they are too long for what is left of it.
pub const MISFITS_MAX: usize = 256;
/// Queries of others that may still be answered.
pub const QUERIES_OPEN_MAX: usize = 1_024;
/// Words on queries that a node has passed on by others, a second: a query names up to 255 helpers for each.
pub const RELAYED_PER_SECOND_MAX: u32 = 4_096;
/// Words on queries that a node sends, a second, to where no member of the asker's name is known to be: who asks may be new
/// here, or of a release that does not say its name, but may not be anybody's address.
pub const STRANGER_WORDS_PER_SECOND_MAX: u32 = 32;
/// Words on queries that are passed on, a second, to an address without a name, as old releases ask for it: each is
/// looked for among all members.
pub const NAMELESS_RELAYS_PER_SECOND_MAX: u32 = 256;
/// Queries of our own that wait for answers.
pub const QUERIES_RUNNING_MAX: usize = 1_024;
/// Of these, how many are kept for the cluster's own: about keys, and the vote about our name.
pub const QUERIES_RESERVED: usize = 64;
/// Names of members that all queries of our own together wait for, so as to end when everybody has answered. One that would
/// be beyond it ends when its time is over.
pub const AWAITED_MAX: usize = 1 << 20;
/// Filters of one query.
pub const FILTERS_MAX: usize = 256;
/// Bytes to which the patterns of queries may compile within a second, and those of one query of our own: a few milliseconds
/// of work. `.{1000}` and `\pL{50}` fit in, an ordinary pattern takes one thousandth of it. To look through a tag's value
/// counts as much as to compile the pattern anew for each [`FILTER_TEXT_BYTES`] of it.
pub const FILTERS_PROGRAM_BYTES_MAX: u32 = 1 << 20;
/// Bytes to which each pattern may compile, and be matched, although others have used that up.
pub const FILTER_PROGRAM_BYTES_MIN: usize = 4 << 10;
/// Bytes of text that a pattern is matched against in the time that it takes to compile.
pub const FILTER_TEXT_BYTES: usize = 8;
/// What it may come to, counted in the same way, to find out which members a query of our own is for: a tenth of a second.
/// A query that is beyond it ends when its time is over.
pub const FILTERS_AWAITED_BYTES_MAX: usize = 32 << 20;
/// Largest encoded length that a configuration may allow for queries and answers: they travel in one datagram.
pub const QUERY_BYTES_MAX: usize = 65_000;
/// Key changes that wait for their turn.
pub const KEY_REQUESTS_MAX: usize = 64;
/// Different keys of a whole cluster that are counted.
pub const KEYS_LISTED_MAX: usize = 1_024;
/// Keys that one status lists, of all members together; whoever answers later is shown without keys.
pub const KEYS_SHOWN_MAX: usize = 65_536;
/// Records that wait to be durable and on which an answer depends.
pub const PERSISTS_MAX: usize = 1_024;
/// User events in one window of coalesced events; at the bound the window is flushed.
pub const COALESCED_EVENTS_MAX: usize = 4_096;
/// An incarnation from here on is not believed: an honest one grows by one at a time (protocol.md 3.2, U-13).
pub const INCARNATION_SUSPICIOUS: u32 = 1 << 31;
/// Forgotten members whose last incarnation is remembered (protocol.md 3.2, U-05 and U-18).
pub const TOMBSTONES_MAX: usize = 65_536;
/// Longest interval or timeout that a configuration may ask for.
pub const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Bytes of a snapshot file that are read: a million members with what their changes add before a compaction.
pub const SNAPSHOT_BYTES_MAX: usize = 512 << 20;
/// Bytes of one line of a snapshot file.
pub const SNAPSHOT_LINE_BYTES_MAX: usize = 4_096;
/// Failed members that a snapshot remembers.
pub const SNAPSHOT_FAILED_MAX: usize = 65_536;
/// Complaints about one snapshot file that are kept; more are counted.
pub const SNAPSHOT_NOTICES_MAX: usize = 256;
/// Bytes of one entry of a recording: the largest is a checkpoint.
pub const RECORD_BYTES_MAX: usize = 512 << 20;
