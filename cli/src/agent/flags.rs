//! The flags of `serf agent`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{ArgAction, Parser};

use super::settings::Settings;
use crate::go;
use crate::go::number::{parse_bool, parse_int};

/// Starts the Serf agent and runs until it is told to stop. An agent is one node of a cluster: it gossips with the
/// others, runs event handlers, and serves the commands of this program over RPC.
#[derive(Debug, Parser)]
#[command(name = "agent", about = "Runs a Serf agent", long_about, override_usage = "serf agent [options]")]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct AgentFlags {
    /// Name of this node, unique in its cluster. The host name by default.
    #[arg(long, value_name = "NAME", default_value = "")]
    node: OsString,
    /// Address to listen on for gossip, 0.0.0.0:7946 by default. Without a port, 7946 is meant.
    #[arg(long, value_name = "ADDR", default_value = "")]
    bind: String,
    /// Network interface to listen on: its first address is taken, or it must have the address of -bind. Discovery by
    /// mDNS uses it too.
    #[arg(long, value_name = "NAME", default_value = "")]
    iface: String,
    /// Address that the other members are told, where it differs from the one listened on.
    #[arg(long, value_name = "ADDR", default_value = "")]
    advertise: String,
    /// JSON file to read settings from. Can be given several times; flags override files.
    #[arg(long, value_name = "PATH")]
    pub(crate) config_file: Vec<String>,
    /// Directory whose .json files are read in order of their names. Can be given several times.
    #[arg(long, value_name = "PATH")]
    pub(crate) config_dir: Vec<String>,
    /// Name of the cluster to discover by mDNS: agents with the same one in the same network join each other.
    #[arg(long, value_name = "NAME", default_value = "")]
    discover: String,
    /// Interface to discover other agents on by mDNS, where it is not that of -iface. All by default.
    #[arg(long, value_name = "NAME", default_value = "")]
    mdns_iface: String,
    /// Do not discover over IPv4.
    #[arg(long = "mdns-disable-ipv4", value_name = "BOOL", action = ArgAction::Set, value_parser = parse_bool)]
    #[arg(default_value_t = false)]
    mdns_disable_ipv4: bool,
    /// Do not discover over IPv6.
    #[arg(long = "mdns-disable-ipv6", value_name = "BOOL", action = ArgAction::Set, value_parser = parse_bool)]
    #[arg(default_value_t = false)]
    mdns_disable_ipv6: bool,
    /// Key to encrypt gossip with: 16, 24 or 32 bytes in base64, as keygen makes them.
    #[arg(long, value_name = "KEY", default_value = "")]
    encrypt: String,
    /// File that keeps the encryption keys over a restart: a JSON list, the primary key first. It must exist.
    #[arg(long, value_name = "PATH", default_value = "")]
    keyring_file: String,
    /// Script to run on events, as [FILTER=]SCRIPT. Can be given several times. FILTER is a comma list of member-join,
    /// member-leave, member-failed, member-update, member-reap, user, user:NAME, query, query:NAME and *.
    #[arg(long, value_name = "SCRIPT")]
    event_handler: Vec<String>,
    /// Agent to join at the start. Can be given several times; the start fails if none answers.
    #[arg(long, value_name = "ADDR")]
    join: Vec<String>,
    /// Receive the user events that happened before this agent joined.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, value_parser = parse_bool, default_value_t = false)]
    replay: bool,
    /// Least level of what is logged: trace, debug, info, warn or err. The default is info.
    #[arg(long, value_name = "LEVEL", default_value = "")]
    log_level: String,
    /// Timing for the kind of network: lan, wan or local. The default is lan.
    #[arg(long, value_name = "NAME", default_value = "")]
    profile: String,
    /// Serf protocol version to speak, 2 to 5. The default is 5.
    #[arg(long, value_name = "N", value_parser = parse_int, default_value_t = 0)]
    protocol: i64,
    /// Deprecated: the same as -tag role=VALUE.
    #[arg(long, value_name = "VALUE", default_value = "")]
    role: OsString,
    /// Address to serve RPC clients on, 127.0.0.1:7373 by default: HOST:PORT, unix:PATH for a socket file that only
    /// the agent's user can use, or off.
    #[arg(long, value_name = "ADDR", default_value = "")]
    rpc_addr: String,
    /// File that keeps the known members over a restart, to join them again.
    #[arg(long, value_name = "PATH", default_value = "")]
    snapshot: String,
    /// Join the members of the snapshot again even after a leave.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, value_parser = parse_bool, default_value_t = false)]
    rejoin: bool,
    /// Tag of this node, as KEY=VALUE. Can be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    tag: Vec<OsString>,
    /// File that keeps the tags over a restart. Not together with -tag.
    #[arg(long, value_name = "PATH", default_value = "")]
    tags_file: String,
    /// Log to syslog as well.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, value_parser = parse_bool, default_value_t = false)]
    syslog: bool,
    /// Agent to join in the background, again and again until one answers. Can be given several times.
    #[arg(long, value_name = "ADDR")]
    retry_join: Vec<String>,
    /// Time between two attempts of -retry-join, 30s by default.
    #[arg(long, value_name = "DURATION", default_value = "")]
    retry_interval: String,
    /// Attempts of -retry-join after the first; then the agent exits. 0 for no end, the default.
    #[arg(long, value_name = "N", value_parser = parse_int, default_value_t = 0)]
    retry_max: i64,
    /// Do not compress gossip.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, value_parser = parse_bool)]
    disable_compression: Option<bool>,
    /// Encoding of the gossip: auto, the default, speaks HashiCorp's while one member understands no other; native and
    /// memberlist pin one.
    #[arg(long, value_name = "NAME", default_value = "")]
    wire: String,
    /// Directory to record everything into that goes into this agent, for sim replay. The files hold the gossip keys
    /// and the random seed.
    #[arg(long, value_name = "DIR", default_value = "")]
    record: String,
    /// MiB that a recording takes at most; the oldest part goes. The default is 128.
    #[arg(long, value_name = "N", value_parser = parse_int, default_value_t = 0)]
    record_limit: i64,
    /// Name that all members of the cluster share and that stands before each packet: agents of another one are kept out.
    /// At most 255 bytes.
    #[arg(long, value_name = "NAME", default_value = "")]
    label: OsString,
    /// Longest time to wait until a leave, a removal or a change of tags has spread, 5s by default.
    #[arg(long, value_name = "DURATION", default_value = "")]
    broadcast_timeout: String,
}

impl AgentFlags {
    /// The settings that the flags make. The error is the agent's whole sentence.
    pub(crate) fn into_settings(self) -> Result<Settings, String> {
        let mut settings = Settings::default();
        for tag in self.tag {
            let (key, value) = tag_pair(&tag.into_vec()).map_err(|error| format!("Error: {error}"))?;
            settings.tags.insert(key, value);
        }
        settings.retry_interval = duration(&self.retry_interval)?;
        settings.broadcast_timeout = duration(&self.broadcast_timeout)?;
        Ok(Settings {
            node_name: self.node.into_vec(),
            bind: self.bind,
            interface: self.iface,
            advertise: self.advertise,
            discover: self.discover,
            mdns_interface: self.mdns_iface,
            mdns_disable_ipv4: self.mdns_disable_ipv4,
            mdns_disable_ipv6: self.mdns_disable_ipv6,
            encrypt_key: self.encrypt,
            keyring_file: self.keyring_file,
            snapshot_path: self.snapshot,
            rejoin_after_leave: self.rejoin,
            tags_file: self.tags_file,
            event_handlers: self.event_handler,
            start_join: self.join,
            replay_on_join: self.replay,
            log_level: self.log_level,
            profile: self.profile,
            protocol: self.protocol,
            role: self.role.into_vec(),
            rpc_addr: self.rpc_addr,
            enable_syslog: self.syslog,
            retry_join: self.retry_join,
            retry_max_attempts: self.retry_max,
            enable_compression: self.disable_compression.map(|disable| !disable),
            wire: self.wire,
            record: self.record,
            record_limit: self.record_limit,
            label: self.label.into_vec(),
            ..settings
        })
    }
}

/// Reads a duration flag; empty text leaves the setting open.
fn duration(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    go::duration::parse(text).map_err(|error| format!("Error: {error}"))
}

/// Splits `KEY=VALUE`; the key must not be empty, the value may be and may contain further equals signs.
pub(crate) fn tag_pair(tag: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    match tag.iter().position(|byte| *byte == b'=') {
        None | Some(0) => Err(format!("Invalid tag: '{}'", String::from_utf8_lossy(tag))),
        Some(at) => Ok((tag[..at].to_vec(), tag[at + 1..].to_vec())),
    }
}
