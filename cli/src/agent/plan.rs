//! The checks between reading the configuration and starting, and what they find out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use villein_core::config::{Profile, Wire};
use villein_core::keyring::{Key, decode_base64};
use villein_core::limits::{LABEL_BYTES_MAX, META_BYTES_MAX};
use villein_core::log::Level;
use villein_core::serf::tags;

use villein_runtime_mio::{SYSLOG_PATHS, Syslog, address};

use super::config::AgentConfig;
use crate::go::net::{AddrError, MISSING_PORT, parse_port, resolve, split_host_port};
use crate::token::TokenFile;

/// Port of an address that was configured without one.
const GOSSIP_PORT: u16 = 7946;

/// Serf protocol versions that are understood.
const PROTOCOLS: std::ops::RangeInclusive<i64> = 2..=5;

/// What the original says of an advertise address that is a port alone.
const NOTHING_TO_ADVERTISE: &str = "Failed to create memberlist: Failed to get final advertise address: \
                                    Failed to parse advertise address \"<nil>\"";

/// No user event may be longer, whatever is configured.
const USER_EVENT_SIZE_LIMIT: usize = 9216;

/// The settings that are texts in the configuration, checked.
#[derive(Debug)]
pub(crate) struct StartPlan {
    pub(crate) log_level: Level,
    /// Connected; `None` where it was not asked for.
    pub(crate) syslog: Option<Syslog>,
    /// With the interface's address where one was asked for. Port 0 asks for any.
    pub(crate) bind: SocketAddr,
    pub(crate) advertise: Option<SocketAddr>,
    /// `None` for no encryption. `check_serf` looks at the length.
    pub(crate) encrypt_key: Option<Vec<u8>>,
    /// The token of RPC clients; empty for none.
    pub(crate) rpc_auth: Vec<u8>,
    pub(crate) profile: Profile,
    pub(crate) wire: Wire,
    /// What was found out and is worth a line at the start.
    pub(crate) notices: Vec<String>,
}

/// Reads a log level in any case. The error is the agent's whole sentence; a reload prints it too.
pub(crate) fn log_level(text: &str) -> Result<Level, String> {
    let name = text.to_uppercase();
    let known = || Level::ALL.map(Level::name).join(" ");
    Level::from_name(&name).ok_or_else(|| format!("Invalid log level: {name}. Valid log levels are: [{}]", known()))
}

impl AgentConfig {
    /// Checks what can be checked before `Starting Serf agent...`, in the order of the original, and connects to the
    /// syslog. The error is the agent's whole sentence.
    pub(crate) fn plan(&self) -> Result<StartPlan, String> {
        let log_level = log_level(&self.log_level)?;
        let syslog = match self.enable_syslog {
            true => Some(Syslog::open(&self.syslog_facility, SYSLOG_PATHS).map_err(|error| error.to_string())?),
            false => None,
        };
        let mut bind = gossip_address(&self.bind).map_err(|error| format!("Invalid bind address: {error}"))?;
        let mut notices = Vec::new();
        if !self.interface.is_empty() {
            let ip = address::interface_addr(&self.interface, bind.ip()).map_err(|error| error.to_string())?;
            if bind.ip().is_unspecified() {
                notices.push(format!("Using interface '{}' address '{ip}'", self.interface));
            }
            bind.set_ip(ip);
        }
        let advertise = match self.advertise.as_str() {
            "" => None,
            address => Some(gossip_address(address).map_err(|error| format!("Invalid advertise address: {error}"))?),
        };
        let encrypt_key = match self.encrypt_key.as_str() {
            "" => None,
            key => Some(
                decode_base64(key.as_bytes()).map_err(|error| format!("Invalid encryption key: {error}"))?.to_vec(),
            ),
        };
        let profile = Profile::from_name(&self.profile).ok_or_else(|| format!("Unknown profile: {}", self.profile))?;
        let wire = Wire::from_name(&self.wire)
            .ok_or_else(|| format!("Unknown wire: {}. Known are: auto, native, memberlist", self.wire))?;
        if self.label.len() > LABEL_BYTES_MAX {
            let bytes = self.label.len();
            return Err(format!("Invalid label: it has {bytes} bytes, at most {LABEL_BYTES_MAX} are possible"));
        }
        let rpc_auth = self.rpc_token(&mut notices)?;
        Ok(StartPlan { log_level, syslog, bind, advertise, encrypt_key, rpc_auth, profile, wire, notices })
    }

    /// The token of RPC clients, from the configuration or else from its file.
    fn rpc_token(&self, notices: &mut Vec<String>) -> Result<Vec<u8>, String> {
        let path = &self.rpc_auth_file;
        if path.is_empty() || !self.rpc_auth.is_empty() {
            if !path.is_empty() {
                notices.push(format!("Warning: the RPC token is 'rpc_auth', '{path}' is not read"));
            }
            return Ok(self.rpc_auth.clone().into_bytes());
        }
        let file = TokenFile::read(Path::new(path))?;
        if file.is_public {
            notices.push(format!("Warning: every user of this host can read the RPC token in '{path}'"));
        }
        Ok(file.token)
    }

    /// Checks what the original checks while it creates its Serf instance, after `Starting Serf agent...`.
    pub(crate) fn check_serf(&self, plan: &StartPlan) -> Result<(), String> {
        let refused = |reason: String| Err(format!("Failed to start the Serf agent: Error creating Serf: {reason}"));
        if !PROTOCOLS.contains(&self.protocol) {
            let side = if self.protocol < *PROTOCOLS.start() { "low" } else { "high" };
            let (least, most) = PROTOCOLS.into_inner();
            let version = self.protocol;
            return refused(format!("Protocol version '{version}' too {side}. Must be in range: [{least}, {most}]"));
        }
        if self.user_event_size_limit > USER_EVENT_SIZE_LIMIT {
            return refused(format!("user event size limit exceeds limit of {USER_EVENT_SIZE_LIMIT} bytes"));
        }
        if self.encoded_tags_bytes() > META_BYTES_MAX {
            return refused(format!("Encoded length of tags exceeds limit of {META_BYTES_MAX} bytes"));
        }
        if let Some(Err(error)) = plan.encrypt_key.as_deref().map(Key::new) {
            return refused(format!("Failed to create memberlist: {error}"));
        }
        // To listen, a port alone is enough; to announce, it is not: nobody could reach us.
        if matches!(split_host_port(&self.advertise), Ok(("", _))) {
            return refused(NOTHING_TO_ADVERTISE.into());
        }
        Ok(())
    }

    /// Size of the tags as they are gossiped; protocol 2 has only the role.
    fn encoded_tags_bytes(&self) -> usize {
        if self.protocol < 3 {
            return self.tags.get(&b"role"[..]).map_or(0, Vec::len);
        }
        tags::encode(&self.tags).as_bytes().len()
    }
}

/// Reads an address to gossip on or to announce: `host`, `host:port`, `[v6]`, `[v6]:port`.
fn gossip_address(address: &str) -> Result<SocketAddr, AddrError> {
    let with_port;
    let (host, port) = match split_host_port(address) {
        Err(AddrError::Form { fault: MISSING_PORT, .. }) => {
            with_port = format!("{address}:{GOSSIP_PORT}");
            split_host_port(&with_port)?
        }
        other => other?,
    };
    let port = parse_port(port)?;
    if host.is_empty() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
    }
    let found = resolve(host, port)?;
    // Of a name's addresses the original takes an IPv4 one where there is any.
    let best = found.iter().find(|address| address.is_ipv4()).or_else(|| found.first());
    let none = || AddrError::Lookup { host: host.into(), server: None, reason: "no such host".into() };
    best.copied().ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn config(line: &str) -> AgentConfig {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        AgentConfig::load(&words).unwrap()
    }

    fn refusal(line: &str) -> String {
        config(line).plan().unwrap_err()
    }

    #[test]
    fn texts_become_what_they_mean() {
        let plan = config("-bind [::1]:0 -advertise 127.0.0.9 -log-level wArN -profile wan").plan().unwrap();
        assert_eq!(plan.bind.to_string(), "[::1]:0");
        assert_eq!(plan.advertise.map(|address| address.to_string()).as_deref(), Some("127.0.0.9:7946"));
        assert_eq!((plan.log_level, plan.profile, plan.encrypt_key), (Level::Warn, Profile::Wan, None));
        assert_eq!(config("").plan().unwrap().bind.to_string(), "0.0.0.0:7946");
        assert_eq!(config("-bind [::1]").plan().unwrap().bind.to_string(), "[::1]:7946");
        assert_eq!(config("-bind :7").plan().unwrap().bind.to_string(), "0.0.0.0:7");
    }

    #[test]
    fn refusals_come_in_the_order_and_words_of_the_original() {
        for (line, text) in [
            (
                "-log-level bogus -bind ::1 -encrypt abc",
                "Invalid log level: BOGUS. Valid log levels are: [TRACE DEBUG INFO WARN ERR]",
            ),
            ("-bind ::1 -iface lo", "Invalid bind address: address ::1: too many colons in address"),
            ("-iface lo -bind 192.0.2.9 -encrypt abc", "Interface 'lo' has no '192.0.2.9' address"),
            ("-bind ::1 -encrypt abc", "Invalid bind address: address ::1: too many colons in address"),
            ("-bind 127.0.0.1:99999", "Invalid bind address: address 99999: invalid port"),
            ("-bind 127.0.0.1:no-such", "Invalid bind address: address tcp/no-such: unknown port"),
            ("-bind [::1", "Invalid bind address: address [::1: missing ']' in address"),
            ("-bind a]b", "Invalid bind address: address a]b:7946: unexpected ']' in address"),
            ("-bind [::1]x", "Invalid bind address: address [::1]x:7946: missing port in address"),
            ("-advertise x:y:z -encrypt abc", "Invalid advertise address: address x:y:z: too many colons in address"),
            ("-encrypt YW=j", "Invalid encryption key: illegal base64 data at input byte 2"),
            ("-encrypt YQ=", "Invalid encryption key: illegal base64 data at input byte 3"),
            ("-encrypt YW==YW==", "Invalid encryption key: illegal base64 data at input byte 4"),
            ("-encrypt abc -profile bogus", "Invalid encryption key: illegal base64 data at input byte 0"),
            ("-profile LAN -wire go", "Unknown profile: LAN"),
            ("-wire Native", "Unknown wire: Native. Known are: auto, native, memberlist"),
        ] {
            assert_eq!(refusal(line), text, "{line}");
        }
    }

    #[test]
    fn a_label_has_at_most_255_bytes() {
        let label = |bytes: usize| config(&format!("-label {}", "x".repeat(bytes))).plan();
        assert!(label(255).is_ok());
        assert_eq!(label(256).unwrap_err(), "Invalid label: it has 256 bytes, at most 255 are possible");
    }

    #[test]
    fn syslog_comes_after_the_level_and_before_the_addresses() {
        let mut config = config("-syslog -bind ::1");
        config.syslog_facility = "BOGUS".to_owned();
        assert_eq!(config.plan().unwrap_err(), "Syslog setup failed: invalid syslog facility: BOGUS");
        config.log_level = "x".to_owned();
        assert!(config.plan().unwrap_err().starts_with("Invalid log level: X."));
    }

    #[test]
    fn an_interface_stands_for_its_first_address() {
        let plan = config("-iface lo").plan().unwrap();
        assert_eq!(plan.bind.to_string(), "127.0.0.1:7946");
        assert_eq!(plan.notices, ["Using interface 'lo' address '127.0.0.1'"]);
        let plan = config("-iface lo -bind 127.0.0.1:7").plan().unwrap();
        assert_eq!((plan.bind.to_string().as_str(), plan.notices.len()), ("127.0.0.1:7", 0));
    }

    #[test]
    fn serf_itself_refuses_versions_sizes_and_keys_in_this_order() {
        let serf = |line: &str| {
            let config = config(line);
            config.check_serf(&config.plan().unwrap()).map_err(|text| {
                text.strip_prefix("Failed to start the Serf agent: Error creating Serf: ").unwrap().to_string()
            })
        };
        let tag = |bytes: usize| format!("-tag a={}", "x".repeat(bytes));
        let too_high = "Protocol version '9' too high. Must be in range: [2, 5]";
        assert_eq!(serf(&format!("-protocol 9 -encrypt YWJj {}", tag(600))), Err(too_high.into()));
        assert_eq!(serf("-protocol 1"), Err("Protocol version '1' too low. Must be in range: [2, 5]".into()));
        let too_long = "Encoded length of tags exceeds limit of 512 bytes";
        assert_eq!(serf(&format!("-encrypt YWJj {}", tag(600))), Err(too_long.into()));
        let bad_key = "Failed to create memberlist: key size must be 16, 24 or 32 bytes";
        assert_eq!(serf("-encrypt YWJj"), Err(bad_key.into()));
        // Magic byte, map header, one-byte key with its header, value header of three bytes: 7 bytes and the value.
        assert_eq!(serf(&tag(505)), Ok(()));
        assert_eq!(serf(&tag(506)), Err(too_long.into()));
        assert_eq!(serf("-advertise :77 -encrypt YWJj"), Err(bad_key.into()));
        assert_eq!(serf("-advertise :77"), Err(NOTHING_TO_ADVERTISE.into()));
        assert_eq!((serf("-bind :77"), serf("-advertise 127.0.0.9:77")), (Ok(()), Ok(())));
    }
}
