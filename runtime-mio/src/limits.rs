//! Every bound of this driver on what peers, clients and scripts can make it hold or do at a time, in one table. Those of
//! the protocol are in `villein_core::limits`, those of an RPC session in `villein_core::rpc`.
//!
//! Overflow is counted or logged, never silent; each bound has a test at the limit and one beyond it.

use std::time::Duration;

use villein_core::limits::{PERSISTS_MAX, STREAMS_BYTES_MAX};

// The loop.

/// Inputs from the network in one turn (ARCHITECTURE.md: the contract, 2).
pub(crate) const INPUTS_PER_TURN: usize = 64;
/// Bytes from streams in one turn, after which it has datagrams alone: the clients and the clock must not wait for more.
pub(crate) const STREAM_BYTES_PER_TURN: usize = 1 << 20;
/// Readiness events taken from the system in one turn.
pub(crate) const EVENTS_PER_TURN: usize = 64;
/// Messages from other threads that wait.
pub(crate) const CONTROLS_MAX: usize = 16;

// Gossip.

/// Datagrams that wait for the socket; what comes on top is dropped, as a full network would drop it.
pub(crate) const DATAGRAMS_QUEUED_MAX: usize = 1_024;
/// Connections taken from a listener in one turn.
pub(crate) const ACCEPTED_PER_TURN: usize = 32;
/// Bytes that wait for the peers of all streams; one stream has the core's bound.
pub(crate) const STREAMS_QUEUED_BYTES_MAX: usize = STREAMS_BYTES_MAX;
/// Streams that the core is done with and whose peers have not taken everything.
pub(crate) const STREAMS_FINISHING_MAX: usize = 128;
/// Names that wait to be looked up at one time.
pub(crate) const NAMES_WAITING_MAX: usize = 64;

// RPC clients.

/// Clients at one time; upstream has no bound (rpc.md 1).
pub(crate) const CLIENTS_MAX: usize = 1_024;
/// Descriptors that clients leave to gossip, files and scripts where the system gives the process few.
pub(crate) const DESCRIPTORS_KEPT: u64 = 256;
/// Bytes that are read from one client in one turn: the others and the clock must not wait for more.
pub(crate) const CLIENT_READ_BYTES: usize = 4 << 10;
/// Bytes of requests of all clients that have come in part: one has a few hundred, the longest join of all 64 KiB.
pub(crate) const CLIENT_REQUESTS_BYTES_MAX: usize = 2 << 20;
/// Clients that are gone and of which it must still be said what they missed.
pub(crate) const CLIENTS_GONE_MAX: usize = CLIENTS_MAX;
/// Bytes that all clients together have not read, but for the longest reply: records of the one that is owed most are dropped,
/// and one that is owed most in replies must go. One client has the bounds of its session.
pub(crate) const CLIENTS_OWED_BYTES_MAX: usize = 64 << 20;
/// How long a client may take to say who it is. Later it may be silent for as long as it likes, as with upstream.
pub(crate) const CLIENT_GREETING_MAX: Duration = Duration::from_secs(10);
/// Bytes that a client may send before it has said who it is; a handshake and a token have less than a hundred.
pub(crate) const CLIENT_GREETING_BYTES_MAX: usize = 16 << 10;
/// How long a client may take nothing of what it is owed: a pager at a terminal waits for minutes, a dead host for ever.
pub(crate) const CLIENT_STALL_MAX: Duration = Duration::from_secs(300);
/// How long a client that is being closed may take to read what it is still owed.
pub(crate) const CLIENT_CLOSE_MAX: Duration = Duration::from_secs(10);
/// How long clients may take to read their last records when the agent ends.
pub(crate) const CLIENT_GOODBYE_MAX: Duration = Duration::from_millis(500);
/// Requests of one client in one turn.
pub(crate) const CLIENT_ACTIONS_PER_TURN: usize = 32;
/// Bytes to which the patterns of one request may compile together. `\pL{100}` takes most of it, an ordinary pattern one
/// thousandth.
pub(crate) const REQUEST_PROGRAM_BYTES_MAX: usize = 2 << 20;
/// What a byte of a pattern counts among those: a long class takes time to read and compiles to almost nothing.
pub(crate) const PATTERN_BYTE_COST: usize = 16;
/// Bytes of patterns compiled in one turn, after which requests with patterns wait for the next: at most one more request's.
pub(crate) const PROGRAM_BYTES_PER_TURN: usize = 1 << 20;
/// How long members are looked through for patterns in one turn; what takes part of that counts as that part of
/// [`PROGRAM_BYTES_PER_TURN`].
pub(crate) const SEARCH_PER_TURN: Duration = Duration::from_millis(2);
/// How long one request may look through them, in all its turns. Ordinary patterns take milliseconds among 10,000.
pub(crate) const SEARCH_MAX: Duration = Duration::from_secs(10);
/// Requests with patterns that are under way at one time, each of which keeps a list of all members.
pub(crate) const SEARCHES_MAX: usize = 8;

// Event handlers.

/// Events that a configuration may have handled at the same time: each is a process, a thread and two pipes.
pub const HANDLER_CONCURRENCY_MAX: usize = 64;
/// Events that wait for their scripts; upstream has room for as many (cli.md 4.4).
pub(crate) const EVENTS_WAITING_MAX: usize = 1_024;
/// Bytes of the events that wait.
pub(crate) const EVENTS_WAITING_BYTES_MAX: usize = 16 << 20;
/// Bytes at the end of what a script says that are kept (cli.md 4.4).
pub(crate) const SCRIPT_OUTPUT_BYTES_MAX: usize = 8_192;
/// Reads from scripts in one turn, but at least one from each: one that never stops talking is not to hold up the rest.
pub(crate) const SCRIPT_READS_PER_TURN: usize = 16;
/// Outputs that background processes of ended scripts hold; beyond it the oldest is closed.
pub(crate) const OUTPUTS_LEFT_OPEN_MAX: usize = 64;

// Files and the log.

/// Records that wait for the disk.
pub(crate) const RECORDS_WAITING_MAX: usize = 2 * PERSISTS_MAX;
/// Bytes of the records that wait for the disk, but for the last of them: a whole snapshot is one record.
pub(crate) const RECORDS_WAITING_BYTES_MAX: usize = 32 << 20;
/// Bytes of records for the end of the snapshot that are written at once, but for the last of them.
pub(crate) const APPENDED_BYTES_MAX: usize = 1 << 20;
/// Lines of the log that are kept (rpc.md 6, monitor).
pub(crate) const LOG_LINES_MAX: usize = 512;
/// How long log lines that came too fast wait.
pub(crate) const LOG_WAIT_MAX: Duration = Duration::from_secs(1);
/// Bytes of one line of the log; a line is at most a few hundred bytes, but some list many addresses or hold what a client
/// or a script has said.
pub(crate) const LOG_LINE_BYTES_MAX: usize = 32 << 10;
/// Bytes of the log that are kept.
pub(crate) const LOG_BYTES_MAX: usize = 512 << 10;
/// Bytes of the log that are held back until the start-up is over.
pub(crate) const LOG_GATED_BYTES_MAX: usize = 256 << 10;
/// Bytes of output that wait for whoever reads it, but for a single text: the log, and the measurements for SIGUSR1.
pub(crate) const OUTPUT_BYTES_MAX: usize = 512 << 10;
/// Texts of output that wait; most are one line.
pub(crate) const OUTPUT_TEXTS_MAX: usize = 4_096;
/// How long a reader may take for the last output when the agent ends.
pub(crate) const OUTPUT_END_MAX: Duration = Duration::from_secs(1);

// Measurements.

/// Names in one interval. Names of events are part of them, and anybody can invent those.
pub(crate) const METRIC_NAMES_MAX: usize = 1_024;
/// Bytes of one name; of longer ones the rest is left out.
pub(crate) const METRIC_NAME_BYTES_MAX: usize = 256;
/// Finished intervals that are kept.
pub(crate) const METRIC_INTERVALS_MAX: usize = 6;
/// Bytes that wait to be handed to the sinks, but for the last line; what comes on top is not sent.
pub(crate) const METRIC_PENDING_BYTES_MAX: usize = 256 << 10;
/// Batches that wait for a sink's thread; what comes on top is lost, as upstream loses it.
pub(crate) const METRIC_BATCHES_MAX: usize = 16;
/// Bytes of a packet for statsd; a line that is longer goes alone.
pub(crate) const METRIC_PACKET_BYTES_MAX: usize = 1_400;

// Multicast DNS.

/// Addresses that are remembered, and so agents that can be found.
pub(crate) const MDNS_HOSTS_MAX: usize = 4_096;
/// Agents that were found and wait to be joined; who finds no place is found again by the next question.
pub(crate) const MDNS_JOINS_WAITING_MAX: usize = 256;
/// Agents that one join is for. One that does not answer takes ten seconds, and an operator's join comes between.
pub(crate) const MDNS_JOIN_TARGETS_MAX: usize = 2;
/// What the thread has found and the loop has not yet taken.
pub(crate) const MDNS_WAITING_MAX: usize = 16;
/// Messages of one socket in one turn.
pub(crate) const MDNS_MESSAGES_PER_TURN: usize = 64;
/// Largest message that is read (RFC 6762, 17).
pub(crate) const MDNS_MESSAGE_BYTES_MAX: usize = 9_000;
/// Questions that one message may have, and records that are read of one; an answer has four records.
pub(crate) const MDNS_ENTRIES_MAX: usize = 64;
/// Links that are used; a host with more has hundreds of virtual ones.
pub(crate) const MDNS_LINKS_MAX: usize = 32;
