//! The merged configuration of an agent.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use villein_runtime_mio::{EventScript, HANDLER_CONCURRENCY_MAX, address};

use super::config_file::{self, Sources};
use super::flags::AgentFlags;
use super::settings::Settings;
use crate::args::{self, FlagError, Parsed};

/// What an agent runs with: the defaults, overridden by the files in their order, overridden by the flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentConfig {
    /// Never empty: the host name where nothing was configured.
    pub(crate) node_name: Vec<u8>,
    /// As configured; `plan` resolves it, and what follows up to `profile`.
    pub(crate) bind: String,
    /// Empty, or the name of an interface that exists.
    pub(crate) interface: String,
    /// Empty: the bind address is what others are told.
    pub(crate) advertise: String,
    /// The cluster to discover; empty for none.
    pub(crate) discover: String,
    /// Empty, or the name of an interface that exists: where to discover if not on `interface`.
    pub(crate) mdns_interface: String,
    pub(crate) mdns_disable_ipv4: bool,
    pub(crate) mdns_disable_ipv6: bool,
    /// Base64; empty for no encryption.
    pub(crate) encrypt_key: String,
    /// Empty for none; not together with `encrypt_key`.
    pub(crate) keyring_file: String,
    pub(crate) log_level: String,
    pub(crate) profile: String,
    /// Not yet checked against the range that is understood.
    pub(crate) protocol: i64,
    /// `host:port`, as configured; it is shown like this.
    pub(crate) rpc_addr: String,
    /// Empty: clients need not authenticate, unless there is a file.
    pub(crate) rpc_auth: String,
    /// The file that holds the token where `rpc_auth` is empty; `plan` reads it. Empty for none.
    pub(crate) rpc_auth_file: String,
    /// Configured tags, with `role` among them.
    pub(crate) tags: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Empty for none; not together with `tags`.
    pub(crate) tags_file: String,
    /// Empty for none.
    pub(crate) snapshot_path: String,
    /// Whether the members of the snapshot are joined although it says that we left.
    pub(crate) rejoin_after_leave: bool,
    /// Checked; in the order in which they run.
    pub(crate) event_scripts: Vec<EventScript>,
    pub(crate) enable_syslog: bool,
    pub(crate) syslog_facility: String,
    pub(crate) start_join: Vec<String>,
    /// For `start_join` and for `retry_join`.
    pub(crate) replay_on_join: bool,
    pub(crate) retry_join: Vec<String>,
    /// At least a second.
    pub(crate) retry_interval: Duration,
    /// Attempts after the first; 0 for no end.
    pub(crate) retry_max_attempts: u64,
    pub(crate) enable_compression: bool,
    /// At least a second.
    pub(crate) broadcast_timeout: Duration,
    pub(crate) leave_on_terminate: bool,
    pub(crate) skip_leave_on_interrupt: bool,
    /// `None`: scripts run for as long as they like.
    pub(crate) event_handler_timeout: Option<Duration>,
    /// Events that are handled at the same time.
    pub(crate) event_handler_concurrency: NonZeroUsize,
    pub(crate) reconnect_interval: Duration,
    pub(crate) reconnect_timeout: Duration,
    pub(crate) tombstone_timeout: Duration,
    pub(crate) disable_name_resolution: bool,
    pub(crate) disable_coordinates: bool,
    /// Where measured values go over TCP; empty: nowhere.
    pub(crate) statsite_addr: String,
    /// Where they go over UDP; empty: nowhere.
    pub(crate) statsd_addr: String,
    /// Bytes of an encoded query.
    pub(crate) query_size_limit: usize,
    /// Bytes of an encoded response.
    pub(crate) query_response_size_limit: usize,
    /// Bytes of a user event; not yet checked against the hard limit.
    pub(crate) user_event_size_limit: usize,
    pub(crate) validate_node_names: bool,
    /// As configured; `plan` reads it.
    pub(crate) wire: String,
    /// Where what goes in is recorded; empty: nowhere.
    pub(crate) record: String,
    /// Bytes of a recording.
    pub(crate) record_limit: u64,
    /// Empty for none. `plan` looks at the length.
    pub(crate) label: Vec<u8>,
    /// What is to be printed before anything else: deprecations, values that were raised. Also at each reload.
    pub(crate) warnings: Vec<String>,
}

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConfigError {
    /// The command line cannot be read; the help belongs to it.
    Flags(FlagError),
    /// A tag, a duration, a file, a handler or a setting is refused: the agent's whole sentence.
    Refused(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flags(error) => error.fmt(f),
            Self::Refused(sentence) => f.write_str(sentence),
        }
    }
}

impl AgentConfig {
    /// Reads the words behind `serf agent` and the files that they name. Called at the start and, with the same words,
    /// at each reload.
    pub(crate) fn load(words: &[OsString]) -> Result<Self, ConfigError> {
        Self::of(words, Sources::Any)
    }

    /// Reads them again, for an agent that is a member meanwhile and must not wait.
    pub(crate) fn reload(words: &[OsString]) -> Result<Self, ConfigError> {
        Self::of(words, Sources::Files)
    }

    fn of(words: &[OsString], sources: Sources) -> Result<Self, ConfigError> {
        let parsed: Parsed<AgentFlags> = args::parse(words).map_err(ConfigError::Flags)?;
        Self::merged(parsed, sources).map_err(ConfigError::Refused)
    }

    fn merged(parsed: Parsed<AgentFlags>, sources: Sources) -> Result<Self, String> {
        let paths = parsed.in_order(&["config_file", "config_dir"]);
        let flags = parsed.flags.into_settings()?;
        let mut merged = Settings::default();
        for path in paths {
            for settings in config_file::read(Path::new(&path), sources)? {
                merge(&mut merged, settings);
            }
        }
        merge(&mut merged, flags);
        let mut event_scripts = Vec::new();
        for handler in &merged.event_handlers {
            event_scripts.extend(EventScript::parse(handler).map_err(|error| error.to_string())?);
        }
        check_interfaces(&merged)?;
        let concurrency = handler_concurrency(merged.event_handler_concurrency)?;
        Ok(Self::complete(merged, event_scripts, concurrency))
    }

    /// Puts the defaults where nothing was configured.
    fn complete(mut set: Settings, event_scripts: Vec<EventScript>, event_handler_concurrency: NonZeroUsize) -> Self {
        let mut warnings = Vec::new();
        if !set.role.is_empty() {
            warnings.push("Deprecation warning: 'Role' has been replaced with 'Tags'".into());
            set.tags.insert(b"role".to_vec(), set.role);
        }
        let retry_interval = at_least_a_second("RetryInterval", set.retry_interval, RETRY_INTERVAL, &mut warnings);
        let broadcast_timeout =
            at_least_a_second("BroadcastTimeout", set.broadcast_timeout, BROADCAST_TIMEOUT, &mut warnings);
        if set.rejoin_after_leave && set.snapshot_path.is_empty() {
            warnings.push("Warning: 'RejoinAfterLeave' enabled without snapshot file".into());
        }
        let or = |text: String, default: &str| if text.is_empty() { default.into() } else { text };
        Self {
            node_name: if set.node_name.is_empty() { host_name() } else { set.node_name },
            bind: or(set.bind, "0.0.0.0"),
            interface: set.interface,
            advertise: set.advertise,
            discover: set.discover,
            mdns_interface: set.mdns_interface,
            mdns_disable_ipv4: set.mdns_disable_ipv4,
            mdns_disable_ipv6: set.mdns_disable_ipv6,
            encrypt_key: set.encrypt_key,
            keyring_file: set.keyring_file,
            log_level: or(set.log_level, "INFO"),
            profile: or(set.profile, "lan"),
            protocol: if set.protocol > 0 { set.protocol } else { PROTOCOL },
            rpc_addr: or(set.rpc_addr, "127.0.0.1:7373"),
            rpc_auth: set.rpc_auth,
            rpc_auth_file: set.rpc_auth_file,
            tags: set.tags,
            tags_file: set.tags_file,
            snapshot_path: set.snapshot_path,
            rejoin_after_leave: set.rejoin_after_leave,
            event_scripts,
            enable_syslog: set.enable_syslog,
            syslog_facility: or(set.syslog_facility, "LOCAL0"),
            start_join: set.start_join,
            replay_on_join: set.replay_on_join,
            retry_join: set.retry_join,
            retry_interval,
            // A negative number never ends either.
            retry_max_attempts: u64::try_from(set.retry_max_attempts).unwrap_or(0),
            enable_compression: set.enable_compression.unwrap_or(true),
            broadcast_timeout,
            leave_on_terminate: set.leave_on_terminate,
            skip_leave_on_interrupt: set.skip_leave_on_interrupt,
            event_handler_timeout: nanos(set.event_handler_timeout),
            event_handler_concurrency,
            // Below zero the original tries without a pause, and takes a whole core for it.
            reconnect_interval: if set.reconnect_interval < 0 {
                Duration::from_secs(1)
            } else {
                nanos(set.reconnect_interval).unwrap_or(RECONNECT_INTERVAL)
            },
            reconnect_timeout: at_once_or(set.reconnect_timeout, RECONNECT_TIMEOUT),
            tombstone_timeout: at_once_or(set.tombstone_timeout, TOMBSTONE_TIMEOUT),
            disable_name_resolution: set.disable_name_resolution,
            disable_coordinates: set.disable_coordinates,
            statsite_addr: set.statsite_addr,
            statsd_addr: set.statsd_addr,
            query_size_limit: bytes_or(set.query_size_limit, 1024),
            query_response_size_limit: bytes_or(set.query_response_size_limit, 1024),
            user_event_size_limit: bytes_or(set.user_event_size_limit, 512),
            validate_node_names: set.validate_node_names,
            wire: or(set.wire, "auto"),
            record: set.record,
            record_limit: u64::try_from(set.record_limit)
                .ok()
                .filter(|limit| *limit > 0)
                .unwrap_or(128)
                .saturating_mul(1 << 20),
            label: set.label,
            warnings,
        }
    }
}

/// Go's words.
const NO_INTERFACE: &str = "route ip+net: no such network interface";
const PROTOCOL: i64 = 5;
const RETRY_INTERVAL: Duration = Duration::from_secs(30);
const BROADCAST_TIMEOUT: Duration = Duration::from_secs(5);
const RECONNECT_INTERVAL: Duration = Duration::from_secs(30);
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
const TOMBSTONE_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Lays a later source over the earlier ones: what it sets replaces, true stays true, lists grow, tags are set one by
/// one.
fn merge(earlier: &mut Settings, later: Settings) {
    fn replace<T: Default + PartialEq>(earlier: &mut T, later: T) {
        if later != T::default() {
            *earlier = later;
        }
    }
    replace(&mut earlier.node_name, later.node_name);
    replace(&mut earlier.bind, later.bind);
    replace(&mut earlier.interface, later.interface);
    replace(&mut earlier.advertise, later.advertise);
    replace(&mut earlier.discover, later.discover);
    replace(&mut earlier.mdns_interface, later.mdns_interface);
    replace(&mut earlier.encrypt_key, later.encrypt_key);
    replace(&mut earlier.keyring_file, later.keyring_file);
    replace(&mut earlier.snapshot_path, later.snapshot_path);
    replace(&mut earlier.tags_file, later.tags_file);
    replace(&mut earlier.log_level, later.log_level);
    replace(&mut earlier.profile, later.profile);
    replace(&mut earlier.role, later.role);
    replace(&mut earlier.rpc_addr, later.rpc_addr);
    replace(&mut earlier.rpc_auth, later.rpc_auth);
    replace(&mut earlier.rpc_auth_file, later.rpc_auth_file);
    replace(&mut earlier.syslog_facility, later.syslog_facility);
    replace(&mut earlier.wire, later.wire);
    replace(&mut earlier.record, later.record);
    replace(&mut earlier.record_limit, later.record_limit);
    replace(&mut earlier.label, later.label);
    replace(&mut earlier.retry_interval, later.retry_interval);
    replace(&mut earlier.retry_max_attempts, later.retry_max_attempts);
    replace(&mut earlier.enable_compression, later.enable_compression);
    replace(&mut earlier.broadcast_timeout, later.broadcast_timeout);
    replace(&mut earlier.event_handler_timeout, later.event_handler_timeout);
    replace(&mut earlier.event_handler_concurrency, later.event_handler_concurrency);
    replace(&mut earlier.reconnect_interval, later.reconnect_interval);
    replace(&mut earlier.reconnect_timeout, later.reconnect_timeout);
    replace(&mut earlier.tombstone_timeout, later.tombstone_timeout);
    replace(&mut earlier.statsite_addr, later.statsite_addr);
    replace(&mut earlier.statsd_addr, later.statsd_addr);
    replace(&mut earlier.query_size_limit, later.query_size_limit);
    replace(&mut earlier.query_response_size_limit, later.query_response_size_limit);
    replace(&mut earlier.user_event_size_limit, later.user_event_size_limit);
    // A later source cannot switch off what an earlier one switched on; neither false nor zero says anything.
    if later.protocol > 0 {
        earlier.protocol = later.protocol;
    }
    earlier.replay_on_join |= later.replay_on_join;
    earlier.rejoin_after_leave |= later.rejoin_after_leave;
    earlier.mdns_disable_ipv4 |= later.mdns_disable_ipv4;
    earlier.mdns_disable_ipv6 |= later.mdns_disable_ipv6;
    earlier.enable_syslog |= later.enable_syslog;
    earlier.leave_on_terminate |= later.leave_on_terminate;
    earlier.skip_leave_on_interrupt |= later.skip_leave_on_interrupt;
    earlier.disable_name_resolution |= later.disable_name_resolution;
    earlier.disable_coordinates |= later.disable_coordinates;
    earlier.validate_node_names |= later.validate_node_names;
    earlier.event_handlers.extend(later.event_handlers);
    earlier.start_join.extend(later.start_join);
    earlier.retry_join.extend(later.retry_join);
    earlier.tags.extend(later.tags);
}

/// Checks what the original checks of interfaces and of discovery, in its order.
fn check_interfaces(set: &Settings) -> Result<(), String> {
    let is_missing = |name: &str| !name.is_empty() && !address::interface_exists(name);
    if is_missing(&set.interface) {
        return Err(format!("Invalid network interface: {NO_INTERFACE}"));
    }
    if !set.mdns_interface.is_empty() {
        if set.discover.is_empty() {
            return Err("mDNS interface specified without enabling mDNS discovery".into());
        }
        if is_missing(&set.mdns_interface) {
            return Err(format!("Invalid mDNS network interface: {NO_INTERFACE}"));
        }
    }
    // The original looks at this only where an interface is given, and otherwise fails to listen.
    if !set.discover.is_empty() && set.mdns_disable_ipv4 && set.mdns_disable_ipv6 {
        return Err("Invalid mDNS configuration: both IPv4 and IPv6 are disabled".into());
    }
    Ok(())
}

/// How many events are handled at the same time: one where it was left open.
fn handler_concurrency(set: i64) -> Result<NonZeroUsize, String> {
    let most = if set == 0 { 1 } else { set };
    usize::try_from(most).ok().filter(|most| *most <= HANDLER_CONCURRENCY_MAX).and_then(NonZeroUsize::new).ok_or_else(
        || format!("Invalid event_handler_concurrency: {set}. Must be in range: [1, {HANDLER_CONCURRENCY_MAX}]"),
    )
}

/// Raises a duration that would hammer the network, and says so.
fn at_least_a_second(setting: &str, nanos: i64, default: Duration, warnings: &mut Vec<String>) -> Duration {
    let second = Duration::from_secs(1);
    let duration = if nanos == 0 { default } else { Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)) };
    if duration < second {
        warnings.push(format!("Warning: '{setting}' is too low. Setting to 1s"));
    }
    duration.max(second)
}

/// A duration that cannot be negative; `None` where it was left open.
fn nanos(nanos: i64) -> Option<Duration> {
    u64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos)
}

/// How long somebody is remembered: below zero nobody is, at the next look.
fn at_once_or(nanos: i64, default: Duration) -> Duration {
    match nanos {
        0 => default,
        _ => Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)),
    }
}

/// A size limit, or its default where it was left open. A negative limit lets nothing through, as zero bytes do.
fn bytes_or(bytes: i64, default: usize) -> usize {
    if bytes == 0 { default } else { usize::try_from(bytes).unwrap_or(0) }
}

fn host_name() -> Vec<u8> {
    rustix::system::uname().nodename().to_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn load(words: &[&str]) -> Result<AgentConfig, String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        AgentConfig::load(&words).map_err(|error| error.to_string())
    }

    /// A directory with one file of each given content, and their paths.
    fn files(contents: &[&str]) -> (tempfile::TempDir, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let write = |(i, content): (usize, &&str)| {
            let path = directory.path().join(format!("{i}.json"));
            fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_string()
        };
        let paths = contents.iter().enumerate().map(write).collect();
        (directory, paths)
    }

    #[test]
    fn defaults_stand_where_nothing_is_configured() {
        let config = load(&["-node", "n"]).unwrap();
        assert_eq!((config.bind.as_str(), config.rpc_addr.as_str()), ("0.0.0.0", "127.0.0.1:7373"));
        assert_eq!((config.profile.as_str(), config.log_level.as_str(), config.protocol), ("lan", "INFO", 5));
        assert_eq!((config.retry_interval.as_secs(), config.broadcast_timeout.as_secs()), (30, 5));
        assert_eq!((config.reconnect_interval.as_secs(), config.tombstone_timeout.as_secs()), (30, 86_400));
        assert_eq!((config.query_size_limit, config.user_event_size_limit), (1024, 512));
        assert!(config.enable_compression && config.warnings.is_empty());
        assert!(!load(&[]).unwrap().node_name.is_empty(), "the host name");
    }

    #[test]
    fn files_come_in_the_order_of_the_line_and_flags_last() {
        let (directory, paths) = files(&[
            r#"{"node_name": "first", "profile": "wan", "start_join": ["a"], "tags": {"x": "1", "y": "1"}}"#,
            r#"{"node_name": "second", "start_join": ["b"], "tags": {"y": "2"}, "protocol": 4}"#,
        ]);
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("c.json"), r#"{"start_join": ["c"], "node_name": "third"}"#).unwrap();
        let other = other.path().to_str().unwrap();
        let line =
            ["-join", "d", "-config-file", &paths[0], "-config-dir", other, "-config-file", &paths[1], "-tag", "x=3"];
        let config = load(&line).unwrap();
        assert_eq!(config.node_name, b"second");
        assert_eq!(config.start_join, ["a", "c", "b", "d"]);
        assert_eq!((config.profile.as_str(), config.protocol), ("wan", 4));
        let tag = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
        assert_eq!(config.tags, BTreeMap::from([tag(b"x", b"3"), tag(b"y", b"2")]));
        // Either flag takes a file or a directory.
        let whole = load(&["-config-file", directory.path().to_str().unwrap()]).unwrap();
        assert_eq!(whole.start_join, ["a", "b"]);
    }

    #[test]
    fn true_stays_true_and_compression_follows_the_last_source() {
        let (_directory, paths) =
            files(&[r#"{"leave_on_terminate": true, "enable_compression": false, "replay_on_join": true}"#]);
        let config = load(&["-config-file", &paths[0], "-replay=false"]).unwrap();
        assert!(config.leave_on_terminate && config.replay_on_join && !config.enable_compression);
        assert!(load(&["-config-file", &paths[0], "-disable-compression=false"]).unwrap().enable_compression);
        assert!(!load(&["-disable-compression"]).unwrap().enable_compression);
    }

    #[test]
    fn syslog_and_interface_merge_like_the_rest() {
        let (_directory, paths) = files(&[
            r#"{"enable_syslog": true, "syslog_facility": "DAEMON", "interface": "nosuch0"}"#,
            r#"{"enable_syslog": false, "syslog_facility": ""}"#,
        ]);
        let config =
            load(&["-config-file", &paths[0], "-config-file", &paths[1], "-syslog=false", "-iface=lo"]).unwrap();
        assert_eq!((config.enable_syslog, config.syslog_facility.as_str()), (true, "DAEMON"));
        assert_eq!(config.interface, "lo");
        assert_eq!(load(&["-syslog"]).unwrap().syslog_facility, "LOCAL0");
    }

    #[test]
    fn discovery_merges_like_the_rest() {
        let (_directory, paths) = files(&[
            r#"{"discover": "first", "mdns": {"interface": "nosuch0", "disable_ipv6": true}}"#,
            r#"{"discover": "second", "mdns": {"disable_ipv6": false}}"#,
        ]);
        let line = ["-config-file", &paths[0], "-config-file", &paths[1], "-mdns-iface=lo", "-mdns-disable-ipv4=false"];
        let config = load(&line).unwrap();
        assert_eq!((config.discover.as_str(), config.mdns_interface.as_str()), ("second", "lo"));
        assert_eq!((config.mdns_disable_ipv4, config.mdns_disable_ipv6), (false, true));
        let other = ["-config-file", &paths[1], "-mdns-disable-ipv4", "-discover", "third"];
        let config = load(&other).unwrap();
        assert_eq!((config.discover.as_str(), config.mdns_disable_ipv4), ("third", true));
    }

    #[test]
    fn a_role_is_a_tag_and_is_deprecated() {
        let config = load(&["-role", "web", "-tag", "role=db"]).unwrap();
        assert_eq!(config.tags, BTreeMap::from([(b"role".to_vec(), b"web".to_vec())]));
        assert_eq!(config.warnings, ["Deprecation warning: 'Role' has been replaced with 'Tags'"]);
    }

    #[test]
    fn short_intervals_are_raised_with_a_warning() {
        let config = load(&["-retry-interval", "10ms", "-broadcast-timeout=-5s"]).unwrap();
        assert_eq!((config.retry_interval.as_secs(), config.broadcast_timeout.as_secs()), (1, 1));
        let warnings = [
            "Warning: 'RetryInterval' is too low. Setting to 1s",
            "Warning: 'BroadcastTimeout' is too low. Setting to 1s",
        ];
        assert_eq!(config.warnings, warnings);
        assert_eq!(load(&["-retry-interval", "0s"]).unwrap().retry_interval.as_secs(), 30);
    }

    #[test]
    fn below_zero_members_are_forgotten_at_once_and_reconnects_come_each_second() {
        let all = |value: &str| {
            let set = ["reconnect_interval", "reconnect_timeout", "tombstone_timeout"];
            let set = set.map(|name| format!("\"{name}\": \"{value}\"")).join(", ");
            let (_directory, paths) = files(&[&format!("{{{set}}}")]);
            let config = load(&["-config-file", &paths[0]]).unwrap();
            [config.reconnect_interval, config.reconnect_timeout, config.tombstone_timeout].map(|time| time.as_secs())
        };
        assert_eq!(all("-5s"), [1, 0, 0]);
        assert_eq!(all("5s"), [5; 3]);
        assert_eq!(all("0s"), [30, 86_400, 86_400]);
    }

    #[test]
    fn handlers_of_files_run_before_those_of_flags() {
        let (_directory, paths) = files(&[r#"{"event_handlers": ["user:a=1.sh"]}"#]);
        let config = load(&["-event-handler", "2.sh", "-config-file", &paths[0]]).unwrap();
        let scripts: Vec<&str> = config.event_scripts.iter().map(|script| script.script.as_str()).collect();
        assert_eq!(scripts, ["1.sh", "2.sh"]);
    }

    #[test]
    fn from_1_to_64_events_are_handled_at_the_same_time() {
        let set = |number: &str| {
            let (_directory, paths) = files(&[&format!(r#"{{"event_handler_concurrency": {number}}}"#)]);
            load(&["-config-file", &paths[0]]).map(|config| config.event_handler_concurrency.get())
        };
        assert_eq!([set("1"), set("64"), set("0")], [Ok(1), Ok(64), Ok(1)]);
        assert_eq!(load(&[]).unwrap().event_handler_concurrency.get(), 1);
        for number in ["65", "-1", "9223372036854775807"] {
            let text = format!("Invalid event_handler_concurrency: {number}. Must be in range: [1, 64]");
            assert_eq!(set(number), Err(text));
        }
        let (_directory, paths) =
            files(&[r#"{"event_handler_concurrency": 8}"#, r#"{"event_handler_concurrency": 2}"#]);
        let later = load(&["-config-file", &paths[0], "-config-file", &paths[1]]).unwrap();
        assert_eq!(later.event_handler_concurrency.get(), 2);
    }

    #[test]
    fn refusals_come_in_the_order_of_the_original() {
        let (_directory, paths) = files(&[r#"{"event_handlers": ["a:b=c"]}"#]);
        for (line, text) in [
            (vec!["-tag", "foo", "-retry-interval", "x"], "Error: Invalid tag: 'foo'"),
            (vec!["-tag", "=v"], "Error: Invalid tag: '=v'"),
            (vec!["-retry-interval", "x", "-broadcast-timeout", "y"], "Error: time: invalid duration \"x\""),
            (
                vec!["-broadcast-timeout", "30", "-config-file", "/nosuch"],
                "Error: time: missing unit in duration \"30\"",
            ),
            (
                vec!["-event-handler", "foo=x", "-config-file", "/nosuch"],
                "Error reading '/nosuch': open /nosuch: no such file or directory",
            ),
            (
                vec!["-event-handler", "q=r", "-config-file", &paths[0]],
                "Invalid event script: Event 'a:b' invoking 'c'",
            ),
            (vec!["-event-handler", "foo=x", "-iface", "nosuch0"], "Invalid event script: Event 'foo' invoking 'x'"),
            (
                vec!["-iface", "nosuch0", "-log-level", "bogus"],
                "Invalid network interface: route ip+net: no such network interface",
            ),
            (vec!["-mdns-iface", "nosuch0"], "mDNS interface specified without enabling mDNS discovery"),
            (
                vec!["-discover", "c", "-mdns-iface", "nosuch0"],
                "Invalid mDNS network interface: route ip+net: no such network interface",
            ),
            (
                vec!["-discover", "c", "-mdns-disable-ipv4", "-mdns-disable-ipv6"],
                "Invalid mDNS configuration: both IPv4 and IPv6 are disabled",
            ),
        ] {
            assert_eq!(load(&line).unwrap_err(), text, "{line:?}");
        }
    }

    #[test]
    fn files_merge_like_the_rest() {
        let (_directory, paths) = files(&[
            r#"{"tags_file": "t1", "keyring_file": "k1", "snapshot_path": "s1", "rejoin_after_leave": true}"#,
            r#"{"tags_file": "t2", "keyring_file": "", "rejoin_after_leave": false}"#,
        ]);
        let config = load(&["-config-file", &paths[0], "-config-file", &paths[1], "-snapshot", "s3"]).unwrap();
        assert_eq!((config.tags_file.as_str(), config.keyring_file.as_str()), ("t2", "k1"));
        assert_eq!((config.snapshot_path.as_str(), config.rejoin_after_leave), ("s3", true));
        assert!(config.warnings.is_empty());
        let config = load(&["-rejoin", "-broadcast-timeout", "1ms", "-role", "x"]).unwrap();
        let wanted = [
            "Deprecation warning: 'Role' has been replaced with 'Tags'",
            "Warning: 'BroadcastTimeout' is too low. Setting to 1s",
            "Warning: 'RejoinAfterLeave' enabled without snapshot file",
        ];
        assert_eq!(config.warnings, wanted);
    }
}
