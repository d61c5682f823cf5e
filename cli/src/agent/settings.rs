//! One source of agent settings (a file, or the flags), and the table of configuration keys.

use std::collections::BTreeMap;

/// What one source says; what it leaves open keeps the value of the sources before it.
///
/// Text that is empty and numbers that are zero count as left open, as in the original.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) node_name: Vec<u8>,
    pub(crate) bind: String,
    pub(crate) interface: String,
    pub(crate) advertise: String,
    pub(crate) discover: String,
    pub(crate) mdns_interface: String,
    pub(crate) mdns_disable_ipv4: bool,
    pub(crate) mdns_disable_ipv6: bool,
    pub(crate) encrypt_key: String,
    pub(crate) keyring_file: String,
    pub(crate) event_handlers: Vec<String>,
    pub(crate) start_join: Vec<String>,
    pub(crate) replay_on_join: bool,
    pub(crate) log_level: String,
    pub(crate) profile: String,
    pub(crate) protocol: i64,
    pub(crate) role: Vec<u8>,
    pub(crate) rpc_addr: String,
    pub(crate) rpc_auth: String,
    pub(crate) rpc_auth_file: String,
    pub(crate) snapshot_path: String,
    pub(crate) rejoin_after_leave: bool,
    pub(crate) tags: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) tags_file: String,
    pub(crate) enable_syslog: bool,
    pub(crate) syslog_facility: String,
    pub(crate) retry_join: Vec<String>,
    /// Nanoseconds, as are the four durations below.
    pub(crate) retry_interval: i64,
    pub(crate) retry_max_attempts: i64,
    pub(crate) enable_compression: Option<bool>,
    pub(crate) broadcast_timeout: i64,
    pub(crate) leave_on_terminate: bool,
    pub(crate) skip_leave_on_interrupt: bool,
    pub(crate) event_handler_timeout: i64,
    pub(crate) event_handler_concurrency: i64,
    pub(crate) reconnect_interval: i64,
    pub(crate) reconnect_timeout: i64,
    pub(crate) tombstone_timeout: i64,
    pub(crate) disable_name_resolution: bool,
    pub(crate) disable_coordinates: bool,
    pub(crate) statsite_addr: String,
    pub(crate) statsd_addr: String,
    pub(crate) query_size_limit: i64,
    pub(crate) query_response_size_limit: i64,
    pub(crate) user_event_size_limit: i64,
    pub(crate) validate_node_names: bool,
    pub(crate) wire: String,
    pub(crate) record: String,
    pub(crate) record_limit: i64,
    pub(crate) label: Vec<u8>,
}

/// Where the value of a key goes, and so of which type it must be.
pub(crate) enum Slot<'a> {
    Text(&'a mut String),
    Bytes(&'a mut Vec<u8>),
    Switch(&'a mut bool),
    OptionalSwitch(&'a mut Option<bool>),
    Integer(&'a mut i64),
    /// Text with a duration in it.
    Duration(&'a mut i64),
    List(&'a mut Vec<String>),
    Map(&'a mut BTreeMap<Vec<u8>, Vec<u8>>),
    /// An object with keys of its own.
    Object(&'static [Key], &'a mut Settings),
}

/// A configuration key and the place of its value.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) slot: for<'a> fn(&'a mut Settings) -> Slot<'a>,
}

const fn key(name: &'static str, slot: for<'a> fn(&'a mut Settings) -> Slot<'a>) -> Key {
    Key { name, slot }
}

/// Every key of a configuration file. Durations stand in the order in which the original reads them.
pub(crate) const KEYS: [Key; 48] = [
    key("node_name", |s| Slot::Bytes(&mut s.node_name)),
    key("bind", |s| Slot::Text(&mut s.bind)),
    key("interface", |s| Slot::Text(&mut s.interface)),
    key("advertise", |s| Slot::Text(&mut s.advertise)),
    key("discover", |s| Slot::Text(&mut s.discover)),
    key("mdns", |s| Slot::Object(&MDNS_KEYS, s)),
    key("encrypt_key", |s| Slot::Text(&mut s.encrypt_key)),
    key("keyring_file", |s| Slot::Text(&mut s.keyring_file)),
    key("event_handlers", |s| Slot::List(&mut s.event_handlers)),
    key("start_join", |s| Slot::List(&mut s.start_join)),
    key("replay_on_join", |s| Slot::Switch(&mut s.replay_on_join)),
    key("log_level", |s| Slot::Text(&mut s.log_level)),
    key("profile", |s| Slot::Text(&mut s.profile)),
    key("protocol", |s| Slot::Integer(&mut s.protocol)),
    key("role", |s| Slot::Bytes(&mut s.role)),
    key("rpc_addr", |s| Slot::Text(&mut s.rpc_addr)),
    key("rpc_auth", |s| Slot::Text(&mut s.rpc_auth)),
    key("snapshot_path", |s| Slot::Text(&mut s.snapshot_path)),
    key("rejoin_after_leave", |s| Slot::Switch(&mut s.rejoin_after_leave)),
    key("tags", |s| Slot::Map(&mut s.tags)),
    key("tags_file", |s| Slot::Text(&mut s.tags_file)),
    key("enable_syslog", |s| Slot::Switch(&mut s.enable_syslog)),
    key("syslog_facility", |s| Slot::Text(&mut s.syslog_facility)),
    key("retry_join", |s| Slot::List(&mut s.retry_join)),
    key("retry_max_attempts", |s| Slot::Integer(&mut s.retry_max_attempts)),
    key("enable_compression", |s| Slot::OptionalSwitch(&mut s.enable_compression)),
    key("leave_on_terminate", |s| Slot::Switch(&mut s.leave_on_terminate)),
    key("skip_leave_on_interrupt", |s| Slot::Switch(&mut s.skip_leave_on_interrupt)),
    key("reconnect_interval", |s| Slot::Duration(&mut s.reconnect_interval)),
    key("reconnect_timeout", |s| Slot::Duration(&mut s.reconnect_timeout)),
    key("tombstone_timeout", |s| Slot::Duration(&mut s.tombstone_timeout)),
    key("retry_interval", |s| Slot::Duration(&mut s.retry_interval)),
    key("broadcast_timeout", |s| Slot::Duration(&mut s.broadcast_timeout)),
    key("event_handler_timeout", |s| Slot::Duration(&mut s.event_handler_timeout)),
    key("disable_name_resolution", |s| Slot::Switch(&mut s.disable_name_resolution)),
    key("disable_coordinates", |s| Slot::Switch(&mut s.disable_coordinates)),
    key("statsite_addr", |s| Slot::Text(&mut s.statsite_addr)),
    key("statsd_addr", |s| Slot::Text(&mut s.statsd_addr)),
    key("query_size_limit", |s| Slot::Integer(&mut s.query_size_limit)),
    key("query_response_size_limit", |s| Slot::Integer(&mut s.query_response_size_limit)),
    key("user_event_size_limit", |s| Slot::Integer(&mut s.user_event_size_limit)),
    key("validate_node_names", |s| Slot::Switch(&mut s.validate_node_names)),
    // Ours.
    key("rpc_auth_file", |s| Slot::Text(&mut s.rpc_auth_file)),
    key("event_handler_concurrency", |s| Slot::Integer(&mut s.event_handler_concurrency)),
    key("wire", |s| Slot::Text(&mut s.wire)),
    key("record", |s| Slot::Text(&mut s.record)),
    key("record_limit", |s| Slot::Integer(&mut s.record_limit)),
    key("label", |s| Slot::Bytes(&mut s.label)),
];

/// The keys of the object `mdns`.
const MDNS_KEYS: [Key; 3] = [
    key("interface", |s| Slot::Text(&mut s.mdns_interface)),
    key("disable_ipv4", |s| Slot::Switch(&mut s.mdns_disable_ipv4)),
    key("disable_ipv6", |s| Slot::Switch(&mut s.mdns_disable_ipv6)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simulator_knows_every_key() {
        let refused = |key: &&Key| {
            let mut settings = Settings::default();
            let value = match (key.slot)(&mut settings) {
                Slot::Text(_) if key.name == "profile" => "\"wan\"",
                Slot::Text(_) if key.name == "wire" => "\"auto\"",
                Slot::Text(_) | Slot::Bytes(_) => "\"x\"",
                Slot::Switch(_) | Slot::OptionalSwitch(_) => "true",
                Slot::Integer(_) => "5",
                Slot::Duration(_) => "\"5s\"",
                Slot::List(_) => "[]",
                Slot::Map(_) | Slot::Object(..) => "{}",
            };
            villein_sim::tune::read(&format!("{{\"{}\": {value}}}", key.name)).is_err()
        };
        let refused: Vec<&str> = KEYS.iter().filter(refused).map(|key| key.name).collect();
        assert_eq!(refused, [""; 0], "sim tune reads an agent's configuration file");
    }
}
