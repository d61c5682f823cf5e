//! An agent's configuration file, as far as it bears on how a cluster behaves (cli.md 3).

use serde_json::{Map, Value};

use crate::units::nanos;

/// Keys of an agent that change nothing of what is measured here.
const WITHOUT_EFFECT: [&str; 32] = [
    "node_name",
    "bind",
    "interface",
    "advertise",
    "discover",
    "mdns",
    "event_handlers",
    "start_join",
    "replay_on_join",
    "log_level",
    "protocol",
    "role",
    "rpc_addr",
    "rpc_auth",
    "snapshot_path",
    "rejoin_after_leave",
    "tags",
    "tags_file",
    "enable_syslog",
    "syslog_facility",
    "retry_join",
    "retry_max_attempts",
    "retry_interval",
    "leave_on_terminate",
    "skip_leave_on_interrupt",
    "disable_name_resolution",
    "statsite_addr",
    "statsd_addr",
    "validate_node_names",
    "record",
    "record_limit",
    "label",
];

/// What a file says that matters: lines of a scenario's `[cluster]`, and words about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentSettings {
    pub(super) cluster: Vec<String>,
    pub(super) config: Vec<String>,
    /// What it says in a few words.
    pub shown: Vec<String>,
}

/// Reads a configuration file's text.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn read(text: &str) -> Result<AgentSettings, String> {
    let root: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("no JSON object with an agent's settings: {error}"))?;
    let mut settings = AgentSettings::default();
    let (mut profile, mut encrypted) = ("lan", false);
    for (key, value) in &root {
        match key.as_str() {
            // As in an agent: what is null is not set.
            _ if value.is_null() => {}
            "encrypt_key" | "keyring_file" if value.as_str() == Some("") => {}
            "profile" => profile = one_of(key, value, &["lan", "wan", "local"])?,
            "wire" => {
                let wire = one_of(key, value, &["auto", "native", "memberlist"])?;
                settings.cluster.push(format!("wire = \"{wire}\""));
                settings.shown.push(format!("wire {wire}"));
            }
            "encrypt_key" | "keyring_file" => encrypted = true,
            "enable_compression" => {
                let on = value.as_bool().ok_or_else(|| format!("{key} must be true or false"))?;
                settings.cluster.push(format!("compress = {on}"));
            }
            "reconnect_interval" | "reconnect_timeout" | "tombstone_timeout" | "broadcast_timeout" => {
                let time = value.as_str().ok_or_else(|| format!("{key} must be a time such as \"30s\""))?;
                nanos(time).map_err(|problem| format!("{key}: {problem}"))?;
                settings.config.push(format!("{key} = \"{time}\""));
                settings.shown.push(format!("{} {time}", key.replace('_', " ")));
            }
            "user_event_size_limit" | "query_size_limit" | "query_response_size_limit" => {
                let bytes = value.as_u64().filter(|bytes| *bytes > 0);
                let bytes = bytes.ok_or_else(|| format!("{key} must be a number of bytes"))?;
                settings.config.push(format!("{} = {bytes}", key.replace("_size_limit", "_bytes")));
            }
            "disable_coordinates" => {}
            other if WITHOUT_EFFECT.contains(&other) => {}
            other => return Err(format!("unknown key \"{other}\"; it must be one of an agent's configuration file")),
        }
    }
    if encrypted {
        settings.cluster.push("encrypt = true".to_owned());
        settings.shown.insert(0, "encrypted".to_owned());
    }
    settings.cluster.push(format!("profile = \"{profile}\""));
    settings.shown.insert(0, format!("profile {profile}"));
    Ok(settings)
}

fn one_of<'a>(key: &str, value: &Value, known: &[&'a str]) -> Result<&'a str, String> {
    let word = known.iter().find(|word| value.as_str() == Some(**word));
    word.copied().ok_or_else(|| format!("{key} must be one of {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_read_and_the_rest_of_an_agents_keys_is_passed_over() {
        let text = r#"{ "node_name": "a", "profile": "wan", "encrypt_key": "c2VjcmV0", "reconnect_interval": "1m30s",
            "retry_join": ["10.0.0.1"], "tags": { "role": "web" } }"#;
        let settings = read(text).expect("an agent's file");
        assert_eq!(settings.shown, ["profile wan", "encrypted", "reconnect interval 1m30s"]);
        assert_eq!(settings.config, ["reconnect_interval = \"1m30s\""]);
        assert_eq!(read("{}").expect("defaults").shown, ["profile lan"]);
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, part) in [
            ("[]", "no JSON object"),
            (r#"{ "profil": "wan" }"#, "unknown key \"profil\""),
            (r#"{ "profile": "moon" }"#, "profile must be one of lan, wan, local"),
            (r#"{ "reconnect_interval": "soon" }"#, "reconnect_interval: \"soon\" is no time"),
            (r#"{ "reconnect_interval": 5 }"#, "must be a time"),
        ] {
            let error = read(text).expect_err("a mistake");
            assert!(error.contains(part), "{error}");
        }
    }
}
