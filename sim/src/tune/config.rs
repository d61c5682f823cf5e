//! An agent's configuration file, as far as it bears on how a cluster behaves (cli.md 3).

use serde_json::{Map, Value};

use crate::units::nanos;

/// Keys of an agent that change nothing of what is measured here.
const WITHOUT_EFFECT: [&str; 35] = [
    "node_name",
    "bind",
    "interface",
    "advertise",
    "discover",
    "mdns",
    "event_handlers",
    "event_handler_timeout",
    "event_handler_concurrency",
    "start_join",
    "replay_on_join",
    "log_level",
    "protocol",
    "role",
    "rpc_addr",
    "rpc_auth",
    "rpc_auth_file",
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

/// Reads a configuration file's text. As in an agent, keys are read in any case, and those in their own spelling first.
///
/// # Errors
/// All that is wrong with it, a line each, and what would be right.
pub fn read(text: &str) -> Result<AgentSettings, String> {
    let root: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("no JSON object with an agent's settings: {error}"))?;
    let mut settings = AgentSettings::default();
    let (mut profile, mut encrypted) = ("lan", false);
    let mut wrong = Vec::new();
    for (key, value) in &root {
        let name = key.to_ascii_lowercase();
        // As in an agent: what is null is not set.
        if value.is_null() || (name != *key && root.contains_key(&name)) {
            continue;
        }
        let read = match name.as_str() {
            "profile" => one_of(key, value, &["lan", "wan", "local"]).map(|word| profile = word),
            "encrypt_key" | "keyring_file" => {
                encrypted |= value.as_str() != Some("");
                Ok(())
            }
            other => settings.take(other, key, value),
        };
        wrong.extend(read.err());
    }
    if !wrong.is_empty() {
        return Err(wrong.join("\n"));
    }
    if encrypted {
        settings.cluster.push("encrypt = true".to_owned());
        settings.shown.insert(0, "encrypted".to_owned());
    }
    settings.cluster.push(format!("profile = \"{profile}\""));
    settings.shown.insert(0, format!("profile {profile}"));
    Ok(settings)
}

impl AgentSettings {
    /// Takes a setting; `key` is its name as the file spells it.
    fn take(&mut self, name: &str, key: &str, value: &Value) -> Result<(), String> {
        match name {
            "wire" => {
                let wire = one_of(key, value, &["auto", "native", "memberlist"])?;
                self.cluster.push(format!("wire = \"{wire}\""));
                self.shown.push(format!("wire {wire}"));
            }
            "enable_compression" => {
                let on = value.as_bool().ok_or_else(|| format!("{key} must be true or false"))?;
                self.cluster.push(format!("compress = {on}"));
            }
            "reconnect_interval" | "reconnect_timeout" | "tombstone_timeout" | "broadcast_timeout" => {
                let time = value.as_str().ok_or_else(|| format!("{key} must be a time such as \"30s\""))?;
                nanos(time).map_err(|problem| format!("{key}: {problem}"))?;
                self.config.push(format!("{name} = \"{time}\""));
                self.shown.push(format!("{} {time}", name.replace('_', " ")));
            }
            "user_event_size_limit" | "query_size_limit" | "query_response_size_limit" => {
                let bytes = value.as_u64().filter(|bytes| *bytes > 0);
                let bytes = bytes.ok_or_else(|| format!("{key} must be a number of bytes"))?;
                self.config.push(format!("{} = {bytes}", name.replace("_size_limit", "_bytes")));
            }
            "disable_coordinates" => {
                let off = value.as_bool().ok_or_else(|| format!("{key} must be true or false"))?;
                self.config.push(format!("coordinates = {}", !off));
                self.shown.extend(off.then(|| "no coordinates".to_owned()));
            }
            _ if WITHOUT_EFFECT.contains(&name) => {}
            _ => return Err(format!("unknown key \"{key}\"; it must be one of an agent's configuration file")),
        }
        Ok(())
    }
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
        let text = r#"{ "Profile": "wan", "PROFILE": "wan", "profile": "local", "Reconnect_Interval": "5s" }"#;
        assert_eq!(read(text).expect("keys in any case").shown, ["profile local", "reconnect interval 5s"]);
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
        let all = read(r#"{ "profil": "wan", "wire": "copper", "bind": "::1" }"#).expect_err("mistakes");
        assert_eq!(all.lines().count(), 2, "{all}");
    }
}
