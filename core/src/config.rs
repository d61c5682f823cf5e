//! A node's configuration: profiles, every knob, and the check that makes it valid.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::Interner;
use crate::keyring::Key;
use crate::limits;
use crate::scale::CONFIRMATIONS_MAX;
use crate::swim::member::Table;
use crate::types::{GossipAddr, JoinTarget, Name, Tags, Versions};
use crate::wire::Encoding;

/// Timings for a kind of network (protocol.md 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Profile {
    /// One site.
    Lan,
    /// Sites far apart.
    Wan,
    /// One machine.
    Local,
}

impl Profile {
    /// The profile of that name; lower case only.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "lan" => Some(Self::Lan),
            "wan" => Some(Self::Wan),
            "local" => Some(Self::Local),
            _ => None,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lan => "lan",
            Self::Wan => "wan",
            Self::Local => "local",
        })
    }
}

/// Which encoding is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wire {
    /// Memberlist's until every live member has shown that it understands the native one.
    #[default]
    Auto,
    /// The native one: only agents that understand it can be members.
    Native,
    /// Memberlist's, as a HashiCorp agent would: the native one is neither spoken nor understood.
    Memberlist,
}

impl Wire {
    /// The choice of that name; lower case only.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "native" => Some(Self::Native),
            "memberlist" => Some(Self::Memberlist),
            _ => None,
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Memberlist => "memberlist",
        })
    }
}

/// Everything that a node is told at its start. Checked by [`Config::validate`]; `Node::new` does so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// The node's name; must be unique in the cluster.
    pub name: Name,
    /// The address that peers are told. Its port must not be 0.
    pub advertise: GossipAddr,
    /// Whether datagrams leave from the advertised address, so that pings need not say where to answer.
    pub sends_from_advertise: bool,
    /// The tags at the start; encoded, at most 512 bytes.
    pub tags: Tags,
    /// The versions that peers are told.
    pub versions: Versions,
    /// The keys of the gossip, primary first; empty: no encryption.
    pub keys: Vec<Key>,
    /// Separates clusters that share a network; empty: none. At most 255 bytes.
    pub label: Box<[u8]>,
    /// Which encoding is spoken.
    pub wire: Wire,
    /// Whether what is sent in memberlist's encoding is compressed: datagrams that get shorter by it, and every stream.
    pub compress: bool,
    /// Failure detection and gossip.
    pub swim: SwimConfig,
    /// The layer above.
    pub serf: SerfConfig,
    /// Set by simulators: lets a simulated seed and keys stand together.
    pub simulation: bool,
    /// Whether records below DEBUG are built.
    pub trace: bool,
    /// Whether the largest used incarnation is handed out as a record to keep (protocol.md 3.2, U-04).
    pub persist: bool,
    /// Where member identities are shared between the nodes of one process.
    #[serde(skip)]
    pub interner: Interner,
}

/// Failure detection and gossip (protocol.md 1.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwimConfig {
    /// Time for a whole exchange over a stream.
    pub stream_timeout: Duration,
    /// How many helpers are asked when a direct ping is not answered.
    pub indirect_checks: u32,
    /// Multiplies how often a broadcast is sent.
    pub retransmit_mult: u32,
    /// Multiplies the shortest suspicion.
    pub suspicion_mult: u32,
    /// How many times the shortest suspicion the longest is.
    pub suspicion_max_mult: u32,
    /// Base time between two periodic push/pulls; zero switches them off.
    pub push_pull_interval: Duration,
    /// How long a direct ping waits; must be below `probe_interval`, at most half of it is wise (U-02).
    pub probe_timeout: Duration,
    /// Time between two probes.
    pub probe_interval: Duration,
    /// How many members one gossip round reaches.
    pub gossip_nodes: u32,
    /// Time between two gossip rounds.
    pub gossip_interval: Duration,
    /// How long a dead member is still gossiped to, and at least remembered.
    pub gossip_to_dead: Duration,
    /// After which time a dead member's name may be claimed from another address; zero: never.
    pub dead_reclaim: Duration,
    /// How long the last incarnation of a forgotten member is remembered (U-05).
    pub tombstone: Duration,
    /// Whether the stream ping runs beside the indirect pings.
    pub stream_ping: bool,
    /// Bytes that are packed into one datagram.
    pub packet_bytes: usize,
    /// The switches of the published experiments.
    pub lifeguard: Lifeguard,
}

/// The switches of the published experiments (protocol.md 4.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifeguard {
    /// Whether local health scales the probe; off pins the score to 0.
    pub awareness: bool,
    /// One more than the largest health score.
    pub awareness_max: u8,
    /// Whether the direct ping's timeout is scaled by the health too, as in the paper.
    pub scale_timeout: bool,
    /// Whether suspicions start long and shrink with confirmations.
    pub confirmations: bool,
    /// Confirmations needed for the shortest suspicion; `None`: `suspicion_mult - 2`. At most 8.
    pub confirmations_needed: Option<u8>,
    /// Whether a ping to a suspect tells it that it is suspected.
    pub buddy: bool,
    /// When helpers send nacks, and whether late ones are counted on (U-01).
    pub nacks: NackTiming,
    /// Whether a suspicion heard of in a push/pull counts as an own confirmation, as upstream has it (U-06).
    pub hearsay_confirms: bool,
    /// Whether suspicions by different accusers stand in the queue side by side (U-11).
    pub confirmation_copies: bool,
}

/// When a helper sends its nack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NackTiming {
    /// At this part of `min(probe_timeout, probe_interval - probe_timeout)`, so that it is in time; a nack that
    /// cannot be in time is not expected (U-01).
    Fitted {
        /// Thousandths; ours is 800.
        permille: u16,
    },
    /// At this part of `probe_timeout`, and expected whether or not it can be in time: upstream, with 1000.
    OfTimeout {
        /// Thousandths.
        permille: u16,
    },
}

/// The layer above (protocol.md 2.15).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SerfConfig {
    /// How long a leave or a force-leave waits for its broadcast.
    pub broadcast_timeout: Duration,
    /// How long a node that has left still answers.
    pub leave_propagate_delay: Duration,
    /// Time between two looks for members to forget.
    pub reap_interval: Duration,
    /// Time between two attempts to reach a failed member; zero switches them off.
    pub reconnect_interval: Duration,
    /// How long a failed member is remembered.
    pub reconnect_timeout: Duration,
    /// How long a member that has left is remembered.
    pub tombstone_timeout: Duration,
    /// How long intents about unknown members are remembered.
    pub recent_intent_timeout: Duration,
    /// Time between two measurements of the queues.
    pub queue_check_interval: Duration,
    /// How member events, and user events that allow it, are put together; `None`: each at once.
    pub coalesce: Option<Coalesce>,
    /// Whom to contact at the start until somebody answers, and again whenever none of them is alive.
    pub retry_join: Option<RetryJoin>,
    /// Bytes of name and payload of a user event of our own, and of the encoded event; at most 9,216.
    pub user_event_bytes: usize,
    /// Bytes of an encoded query of our own.
    pub query_bytes: usize,
    /// Bytes of an encoded answer of our own.
    pub query_response_bytes: usize,
    /// Multiplies how long a query waits.
    pub query_timeout_mult: u32,
    /// Whether the members are asked who is right when another node claims our name.
    pub resolve_conflicts: bool,
    /// Whether acks carry network coordinates and round trips are learnt from.
    pub coordinates: bool,
    /// Whether names must be [valid](Name::check), our own and others'.
    pub validate_names: bool,
    /// Whether what is worth knowing after a restart is handed out as snapshot lines.
    pub snapshot: Option<SnapshotConfig>,
    /// Whether changes of the keys are handed out to be kept.
    pub keyring_file: bool,
    /// Whether changes of the tags are handed out to be kept.
    pub tags_file: bool,
}

/// How a snapshot is used (cli.md 3.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotConfig {
    /// Whether peers are contacted again even after a leave.
    pub rejoin_after_leave: bool,
}

/// The windows of coalesced events (protocol.md 2.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coalesce {
    /// Longest time that an event waits.
    pub period: Duration,
    /// Quiet time that ends a window early.
    pub quiet: Duration,
}

impl Coalesce {
    /// The agent's windows: 3 s, 1 s.
    pub const AGENT: Self = Self { period: Duration::from_secs(3), quiet: Duration::from_secs(1) };
}

/// Targets that are contacted until one answers (cli.md 3.7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryJoin {
    /// Whom to contact.
    pub targets: Vec<JoinTarget>,
    /// Time between two attempts.
    pub interval: Duration,
    /// How often an attempt is repeated; 0: for ever. N makes N + 1 attempts.
    pub max: u32,
    /// Whether user events of the cluster's past are delivered too.
    pub replay: bool,
}

impl Config {
    /// The defaults of `profile` for a node of that name and address.
    pub fn new(name: Name, advertise: GossipAddr, profile: Profile) -> Self {
        Self {
            name,
            advertise,
            sends_from_advertise: true,
            tags: Tags::new(),
            versions: Versions::CURRENT,
            keys: Vec::new(),
            label: Box::default(),
            wire: Wire::default(),
            compress: true,
            swim: SwimConfig::new(profile),
            serf: SerfConfig::default(),
            simulation: false,
            trace: false,
            persist: false,
            interner: Interner::default(),
        }
    }

    /// The encoding that the members of the moment call for: the native one while there are other live members and each shows that it understands
    /// it, unless one is pinned.
    pub(crate) fn spoken(&self, table: &Table) -> Encoding {
        match self.wire {
            Wire::Native => Encoding::Native,
            Wire::Memberlist => Encoding::Memberlist,
            Wire::Auto if table.strangers() == 0 && table.has_live_others() => Encoding::Native,
            Wire::Auto => Encoding::Memberlist,
        }
    }

    /// Checks every value against its range.
    ///
    /// # Errors
    /// The first value that is out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.name.as_bytes().is_empty() || self.name.as_bytes().len() > limits::NAME_BYTES_MAX {
            return Err(ConfigError::Name { bytes: self.name.as_bytes().len() });
        }
        if self.serf.validate_names
            && let Err(error) = self.name.check()
        {
            return Err(ConfigError::BadName(error));
        }
        if self.advertise.port() == 0 {
            return Err(ConfigError::AdvertisePort);
        }
        if self.label.len() > limits::LABEL_BYTES_MAX {
            return Err(ConfigError::Label { bytes: self.label.len() });
        }
        if self.keys.len() > limits::KEYS_MAX {
            return Err(ConfigError::Keys { keys: self.keys.len() });
        }
        crate::serf::tags::encode_for(&self.tags, self).map_err(ConfigError::Tags)?;
        self.swim.validate()?;
        self.serf.validate()
    }
}

impl SwimConfig {
    /// The defaults of `profile`.
    pub const fn new(profile: Profile) -> Self {
        let lan = Self {
            stream_timeout: Duration::from_secs(10),
            indirect_checks: 3,
            retransmit_mult: 4,
            suspicion_mult: 4,
            suspicion_max_mult: 6,
            push_pull_interval: Duration::from_secs(30),
            probe_timeout: Duration::from_millis(500),
            probe_interval: Duration::from_secs(1),
            gossip_nodes: 3,
            gossip_interval: Duration::from_millis(200),
            gossip_to_dead: Duration::from_secs(30),
            dead_reclaim: Duration::ZERO,
            tombstone: Duration::from_secs(24 * 3600),
            stream_ping: true,
            packet_bytes: limits::PACKET_BYTES,
            lifeguard: Lifeguard::OURS,
        };
        match profile {
            Profile::Lan => lan,
            Profile::Wan => Self {
                stream_timeout: Duration::from_secs(30),
                suspicion_mult: 6,
                push_pull_interval: Duration::from_secs(60),
                probe_timeout: Duration::from_secs(3),
                probe_interval: Duration::from_secs(5),
                gossip_nodes: 4,
                gossip_interval: Duration::from_millis(500),
                gossip_to_dead: Duration::from_secs(60),
                ..lan
            },
            Profile::Local => Self {
                stream_timeout: Duration::from_secs(1),
                indirect_checks: 1,
                retransmit_mult: 2,
                suspicion_mult: 3,
                push_pull_interval: Duration::from_secs(15),
                probe_timeout: Duration::from_millis(200),
                gossip_interval: Duration::from_millis(100),
                gossip_to_dead: Duration::from_secs(15),
                ..lan
            },
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if self.probe_timeout >= self.probe_interval {
            return Err(ConfigError::ProbeTimeout { timeout: self.probe_timeout, interval: self.probe_interval });
        }
        for (what, value) in [
            ("stream_timeout", self.stream_timeout),
            ("probe_timeout", self.probe_timeout),
            ("probe_interval", self.probe_interval),
            ("gossip_interval", self.gossip_interval),
        ] {
            positive(what, value)?;
        }
        for (what, value) in [
            ("push_pull_interval", self.push_pull_interval),
            ("gossip_to_dead", self.gossip_to_dead),
            ("dead_reclaim", self.dead_reclaim),
            ("tombstone", self.tombstone),
        ] {
            bounded(what, value)?;
        }
        for (what, value, min, max) in [
            ("indirect_checks", u64::from(self.indirect_checks), 0, 64),
            ("retransmit_mult", u64::from(self.retransmit_mult), 1, 64),
            ("suspicion_mult", u64::from(self.suspicion_mult), 1, 64),
            ("suspicion_max_mult", u64::from(self.suspicion_max_mult), 1, 64),
            ("gossip_nodes", u64::from(self.gossip_nodes), 0, 64),
            ("packet_bytes", self.packet_bytes as u64, 512, limits::DATAGRAM_BYTES_MAX as u64 - 1024),
            ("awareness_max", u64::from(self.lifeguard.awareness_max), 1, 64),
            (
                "confirmations_needed",
                u64::from(self.lifeguard.confirmations_needed.unwrap_or(0)),
                0,
                u64::from(CONFIRMATIONS_MAX),
            ),
        ] {
            if value < min || value > max {
                return Err(ConfigError::Range { what, value, min, max });
            }
        }
        let derived = u64::from(self.suspicion_mult.saturating_sub(2));
        if self.lifeguard.confirmations_needed.is_none() && derived > u64::from(CONFIRMATIONS_MAX) {
            return Err(ConfigError::Range {
                what: "suspicion_mult - 2",
                value: derived,
                min: 0,
                max: u64::from(CONFIRMATIONS_MAX),
            });
        }
        Ok(())
    }
}

impl Lifeguard {
    /// What this implementation does.
    pub const OURS: Self = Self {
        awareness: true,
        awareness_max: 8,
        scale_timeout: false,
        confirmations: true,
        confirmations_needed: None,
        buddy: true,
        nacks: NackTiming::Fitted { permille: 800 },
        hearsay_confirms: false,
        confirmation_copies: true,
    };

    /// What upstream does, defects included (protocol.md 1.5, 3.2).
    pub const UPSTREAM: Self = Self {
        nacks: NackTiming::OfTimeout { permille: 1000 },
        hearsay_confirms: true,
        confirmation_copies: false,
        ..Self::OURS
    };
}

impl Default for SerfConfig {
    fn default() -> Self {
        Self {
            broadcast_timeout: Duration::from_secs(5),
            leave_propagate_delay: Duration::from_secs(1),
            reap_interval: Duration::from_secs(15),
            reconnect_interval: Duration::from_secs(30),
            reconnect_timeout: Duration::from_secs(24 * 3600),
            tombstone_timeout: Duration::from_secs(24 * 3600),
            recent_intent_timeout: Duration::from_secs(300),
            queue_check_interval: Duration::from_secs(30),
            coalesce: None,
            retry_join: None,
            user_event_bytes: 512,
            query_bytes: 1_024,
            query_response_bytes: 1_024,
            query_timeout_mult: 16,
            resolve_conflicts: true,
            coordinates: true,
            validate_names: false,
            snapshot: None,
            keyring_file: false,
            tags_file: false,
        }
    }
}

impl SerfConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        for (what, value) in [
            ("broadcast_timeout", self.broadcast_timeout),
            ("reap_interval", self.reap_interval),
            ("queue_check_interval", self.queue_check_interval),
        ] {
            positive(what, value)?;
        }
        for (what, value) in [
            ("leave_propagate_delay", self.leave_propagate_delay),
            ("reconnect_interval", self.reconnect_interval),
            ("reconnect_timeout", self.reconnect_timeout),
            ("tombstone_timeout", self.tombstone_timeout),
            ("recent_intent_timeout", self.recent_intent_timeout),
        ] {
            bounded(what, value)?;
        }
        if self.user_event_bytes > limits::USER_EVENT_BYTES_MAX {
            return Err(ConfigError::UserEventBytes);
        }
        for (what, value, max) in [
            ("query_bytes", self.query_bytes as u64, limits::QUERY_BYTES_MAX as u64),
            ("query_response_bytes", self.query_response_bytes as u64, limits::QUERY_BYTES_MAX as u64),
            ("query_timeout_mult", u64::from(self.query_timeout_mult), 1_024),
        ] {
            if value == 0 || value > max {
                return Err(ConfigError::Range { what, value, min: 1, max });
            }
        }
        if let Some(coalesce) = self.coalesce {
            positive("coalesce.period", coalesce.period)?;
            positive("coalesce.quiet", coalesce.quiet)?;
        }
        if let Some(retry) = &self.retry_join {
            positive("retry_join.interval", retry.interval)?;
            if retry.targets.is_empty() || retry.targets.len() > limits::JOIN_TARGETS_MAX {
                return Err(ConfigError::Range {
                    what: "retry_join.targets",
                    value: retry.targets.len() as u64,
                    min: 1,
                    max: limits::JOIN_TARGETS_MAX as u64,
                });
            }
        }
        Ok(())
    }
}

const fn positive(what: &'static str, value: Duration) -> Result<(), ConfigError> {
    if value.is_zero() { Err(ConfigError::Zero { what }) } else { bounded(what, value) }
}

const fn bounded(what: &'static str, value: Duration) -> Result<(), ConfigError> {
    if value.as_nanos() > limits::DURATION_MAX.as_nanos() { Err(ConfigError::TooLong { what, value }) } else { Ok(()) }
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The name is empty or too long.
    Name {
        /// Its length.
        bytes: usize,
    },
    /// The name is not valid although it must be.
    BadName(crate::types::NameError),
    /// The advertised port is 0.
    AdvertisePort,
    /// The label is too long.
    Label {
        /// Its length.
        bytes: usize,
    },
    /// The ring has too many keys.
    Keys {
        /// How many.
        keys: usize,
    },
    /// The encoded tags are too long.
    Tags(crate::command::TagCosts),
    /// A probe would have no time for its indirect stage.
    ProbeTimeout {
        /// The timeout.
        timeout: Duration,
        /// The interval.
        interval: Duration,
    },
    /// A time must not be zero.
    Zero {
        /// Which one.
        what: &'static str,
    },
    /// A time is too long.
    TooLong {
        /// Which one.
        what: &'static str,
        /// Its value.
        value: Duration,
    },
    /// A number is out of its range.
    Range {
        /// Which one.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The smallest that is allowed.
        min: u64,
        /// The largest that is allowed.
        max: u64,
    },
    /// User events may not be as long as that.
    UserEventBytes,
    /// A simulator's seed was given together with keys.
    SimulatedSeedWithKeys,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { bytes } => {
                write!(f, "node name of {bytes} bytes: it must have 1 to {} bytes", limits::NAME_BYTES_MAX)
            }
            Self::BadName(error) => error.fmt(f),
            Self::AdvertisePort => f.write_str("advertised port is 0: peers could not reach it"),
            Self::Label { bytes } => {
                write!(f, "label of {bytes} bytes: it must have at most {}", limits::LABEL_BYTES_MAX)
            }
            Self::Keys { keys } => write!(f, "{keys} keys: a ring holds at most {}", limits::KEYS_MAX),
            Self::Tags(costs) => costs.fmt(f),
            Self::UserEventBytes => {
                write!(f, "user event size limit exceeds limit of {} bytes", limits::USER_EVENT_BYTES_MAX)
            }
            Self::ProbeTimeout { timeout, interval } => {
                write!(f, "probe timeout {timeout:?} must be below the probe interval {interval:?}")
            }
            Self::Zero { what } => write!(f, "{what} must not be zero"),
            Self::TooLong { what, value } => {
                write!(f, "{what} of {value:?} is too long: at most {:?}", limits::DURATION_MAX)
            }
            Self::Range { what, value, min, max } => write!(f, "{what} is {value}, must be {min} to {max}"),
            Self::SimulatedSeedWithKeys => f.write_str("a simulated seed with keys: its nonces can be guessed"),
        }
    }
}
