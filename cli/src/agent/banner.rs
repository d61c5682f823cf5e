//! What an agent says of itself when it has started.

use super::config::AgentConfig;
use super::plan::StartPlan;

/// The lines below `==> Serf agent running!`, without a final newline.
///
/// The original pads the labels for a right-hand column and forgets the one of the advertised address; scripts read
/// these lines, so they stay as they are.
pub(crate) fn banner(config: &AgentConfig, plan: &StartPlan) -> String {
    let line = |label: &str, value: &str| format!("    {label:>27}: {value}\n");
    let is_encrypted = plan.encrypt_key.is_some() || !config.keyring_file.is_empty();
    let quoted = |value: &str| format!("'{value}'");
    let mut text = String::new();
    text.push_str(&line("Node name", &quoted(&String::from_utf8_lossy(&config.node_name))));
    text.push_str(&line("Bind addr", &quoted(&plan.bind.to_string())));
    if let Some(advertise) = plan.advertise {
        text.push_str(&format!("    Advertise addr: '{advertise}'\n"));
    }
    text.push_str(&line("RPC addr", &quoted(&config.rpc_addr)));
    text.push_str(&line("Encrypted", &is_encrypted.to_string()));
    text.push_str(&line("Snapshot", &(!config.snapshot_path.is_empty()).to_string()));
    text.push_str(&line("Profile", &plan.profile.to_string()));
    text.push_str(&line("Message Compression Enabled", &config.enable_compression.to_string()));
    if !config.discover.is_empty() {
        text.push_str(&line("mDNS cluster", &config.discover));
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn shown(line: &str) -> String {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let config = AgentConfig::load(&words).unwrap();
        banner(&config, &config.plan().unwrap())
    }

    #[test]
    fn a_plain_agent_shows_seven_lines() {
        let line = "-node t1 -bind 127.0.0.21 -rpc-addr 127.0.0.21:7373";
        insta::assert_snapshot!("banner_plain", shown(line));
    }

    #[test]
    fn options_show_in_the_banner() {
        let line = "-node t1 -bind 127.0.0.21 -rpc-addr 127.0.0.21:7373 -advertise 127.0.0.25:7000 \
                    -disable-compression -profile local -discover mycluster -encrypt HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8=";
        insta::assert_snapshot!("banner_options", shown(line));
    }

    #[test]
    fn files_show_in_the_banner() {
        let text = shown("-node t1 -bind 127.0.0.21 -snapshot s -keyring-file k");
        assert!(text.contains("Encrypted: true\n") && text.contains("Snapshot: true\n"), "{text}");
    }
}
