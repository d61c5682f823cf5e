//! `serf agent`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Command, CommandFactory};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use villein_core::Config;
use villein_core::config::{Coalesce, RetryJoin, SnapshotConfig};
use villein_core::limits;
use villein_core::types::{GossipAddr, JoinTarget, Name, Versions};
use villein_runtime_mio::{
    Agent, AgentOptions, Exit, FileOptions, KeptFile, LiveOptions, MdnsOptions, RecordOptions, Reload, Reloader,
    TelemetryOptions, die_of_broken_pipe,
};

use crate::agent::{
    AgentConfig, AgentFlags, ConfigError, Kept, StartPlan, TAGS_TWICE, banner, encode_keys, encode_tags, log_level,
};
use crate::{help, ui};

pub(crate) fn table() -> Command {
    AgentFlags::command()
}

/// Reads the configuration and runs the agent that it describes.
pub(crate) fn run_command(words: &[OsString]) -> ExitCode {
    match AgentConfig::load(words) {
        Ok(config) => run(config, words.to_vec()),
        Err(error) => {
            if let ConfigError::Flags(complaint) = &error {
                if let Some(line) = complaint.line() {
                    ui::complain(line);
                }
                ui::say(format!("==> {}", help::command(&table())));
            } else {
                ui::say(format!("==> {error}"));
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs an agent until it stops. `words` are read again at each reload.
fn run(mut config: AgentConfig, words: Vec<OsString>) -> ExitCode {
    for warning in &config.warnings {
        ui::say(format!("==> {warning}"));
    }
    let plan = match config.plan() {
        Ok(plan) => plan,
        Err(refusal) => return fail(&refusal),
    };
    for notice in &plan.notices {
        ui::say(format!("==> {notice}"));
    }
    let checked = Kept::read(&config).and_then(|kept| {
        if let Some(tags) = &kept.tags {
            config.tags.clone_from(tags);
        }
        config.check_serf(&plan).map(|()| kept)
    });
    let kept = match checked {
        Ok(kept) => kept,
        Err(refusal) => {
            ui::say("==> Starting Serf agent...");
            return fail(&refusal);
        }
    };
    raise_descriptor_limit();
    let agent = match Agent::start(options(config, plan, kept, words)) {
        Ok(agent) => agent,
        Err(error) => return fail(&error.to_string()),
    };
    let exit = agent.run();
    if exit == Exit::BrokenPipe {
        die_of_broken_pipe();
    }
    ExitCode::from(exit.code())
}

/// As many descriptors as the host allows, as Go gives its programs: connections take one each. Event handlers have the same.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where that is refused the agent keeps what it has.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn fail(refusal: &str) -> ExitCode {
    ui::say(format!("==> {refusal}"));
    ExitCode::FAILURE
}

fn options(config: AgentConfig, plan: StartPlan, kept: Kept, words: Vec<OsString>) -> AgentOptions {
    let banner = banner(&config, &plan);
    let mut node = node_config(&config, &plan);
    node.keys = kept.keys;
    AgentOptions {
        config: node,
        bind: plan.bind,
        advertise: plan.advertise,
        encrypt_key: plan.encrypt_key,
        log_level: plan.log_level,
        time_zone: std::env::var("TZ").ok(),
        banner,
        mdns: mdns(&config),
        files: files(&config),
        replay: config.replay_on_join,
        live: live(&config),
        syslog: plan.syslog,
        record: record(&config),
        telemetry: TelemetryOptions { statsd: config.statsd_addr, statsite: config.statsite_addr },
        dump: Box::new(std::io::stderr()),
        signals: true,
        restored: kept.lines,
        reload: Some(reloader(words, kept.tags.is_some())),
        sink: Box::new(std::io::stdout()),
        start_join: targets(config.start_join),
        rpc_addr: config.rpc_addr,
        rpc_auth: plan.rpc_auth,
    }
}

/// What the node is told; where it is reached is found out when its sockets are open.
fn node_config(config: &AgentConfig, plan: &StartPlan) -> Config {
    let mut node = Config::new(
        Name::new(config.node_name.clone()),
        GossipAddr::from(plan.advertise.unwrap_or(plan.bind)),
        plan.profile,
    );
    node.tags = config.tags.clone();
    node.wire = plan.wire;
    node.label = config.label.clone().into();
    node.compress = config.enable_compression;
    if let Ok(protocol) = u8::try_from(config.protocol) {
        let [pmin, pmax, pcur, dmin, dmax, _] = Versions::CURRENT.0;
        node.versions = Versions([pmin, pmax, pcur, dmin, dmax, protocol]);
    }
    // The original knows no longest time and no longest query; what is beyond ours makes no difference to anybody.
    let bounded = |duration: Duration| duration.min(limits::DURATION_MAX);
    node.serf.broadcast_timeout = bounded(config.broadcast_timeout);
    node.serf.reconnect_interval = bounded(config.reconnect_interval);
    node.serf.reconnect_timeout = bounded(config.reconnect_timeout);
    node.serf.tombstone_timeout = bounded(config.tombstone_timeout);
    node.serf.user_event_bytes = config.user_event_size_limit;
    node.serf.query_bytes = config.query_size_limit.clamp(1, limits::QUERY_BYTES_MAX);
    node.serf.query_response_bytes = config.query_response_size_limit.clamp(1, limits::QUERY_BYTES_MAX);
    node.serf.resolve_conflicts = !config.disable_name_resolution;
    node.serf.coordinates = !config.disable_coordinates;
    node.serf.validate_names = config.validate_node_names;
    node.serf.coalesce = Some(Coalesce::AGENT);
    node.serf.snapshot = Some(SnapshotConfig { rejoin_after_leave: config.rejoin_after_leave });
    if !config.retry_join.is_empty() {
        node.serf.retry_join = Some(RetryJoin {
            targets: targets(config.retry_join.clone()),
            interval: bounded(config.retry_interval),
            max: u32::try_from(config.retry_max_attempts).unwrap_or(u32::MAX),
            replay: config.replay_on_join,
        });
    }
    node
}

/// The files that are kept.
fn files(config: &AgentConfig) -> FileOptions {
    let path = |path: &str| (!path.is_empty()).then(|| PathBuf::from(path));
    FileOptions {
        snapshot: path(&config.snapshot_path),
        keyring: path(&config.keyring_file).map(|path| KeptFile { path, encode: encode_keys }),
        tags: path(&config.tags_file).map(|path| KeptFile { path, encode: encode_tags }),
    }
}

/// Where what goes in is recorded, if that is wanted.
fn record(config: &AgentConfig) -> Option<RecordOptions> {
    let directory = PathBuf::from(&config.record);
    (!config.record.is_empty()).then_some(RecordOptions { directory, limit: config.record_limit })
}

/// How other agents are found, if that is wanted.
fn mdns(config: &AgentConfig) -> Option<MdnsOptions> {
    let interface = [&config.mdns_interface, &config.interface].into_iter().find(|name| !name.is_empty());
    (!config.discover.is_empty()).then(|| MdnsOptions {
        cluster: config.discover.clone(),
        interface: interface.cloned(),
        ipv4: !config.mdns_disable_ipv4,
        ipv6: !config.mdns_disable_ipv6,
    })
}

fn targets(texts: Vec<String>) -> Vec<JoinTarget> {
    texts.into_iter().map(|text| JoinTarget::new(text.into_bytes())).collect()
}

fn live(config: &AgentConfig) -> LiveOptions {
    LiveOptions {
        leave_on_terminate: config.leave_on_terminate,
        skip_leave_on_interrupt: config.skip_leave_on_interrupt,
        event_handlers: config.event_scripts.clone(),
        handler_limit: config.event_handler_timeout,
        handler_concurrency: config.event_handler_concurrency,
    }
}

/// Reads flags and files again, as at the start.
///
/// Where a file keeps the tags, they stay: the original replaces them by the configured ones, of which there are none,
/// and empties the file.
fn reloader(words: Vec<OsString>, has_tags_file: bool) -> Reloader {
    Box::new(move || match AgentConfig::reload(&words) {
        Ok(mut config) => {
            if has_tags_file && !config.tags.is_empty() {
                config.warnings.push(format!("Failed to update tags: {TAGS_TWICE}"));
            }
            Ok(Reload {
                log_level: log_level(&config.log_level),
                live: live(&config),
                warnings: config.warnings,
                tags: (!has_tags_file).then_some(config.tags),
            })
        }
        Err(error) => Err(vec![error.to_string()]),
    })
}

#[cfg(test)]
mod tests {
    use villein_core::config::Wire;
    use villein_runtime_mio::EventScript;

    use super::*;

    fn load(file: &str, line: &str) -> AgentConfig {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.json");
        std::fs::write(&path, file).unwrap();
        let mut words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        words.extend(["-config-file".into(), path.into_os_string()]);
        AgentConfig::load(&words).unwrap()
    }

    fn node(file: &str, line: &str) -> Config {
        let config = load(file, line);
        node_config(&config, &config.plan().unwrap())
    }

    #[test]
    fn every_setting_of_handlers_reaches_the_agent() {
        let file = r#"{"event_handlers": ["user=x"], "event_handler_timeout": "30s", "event_handler_concurrency": 3,
                       "leave_on_terminate": true, "skip_leave_on_interrupt": true}"#;
        let wanted = LiveOptions {
            leave_on_terminate: true,
            skip_leave_on_interrupt: true,
            event_handlers: EventScript::parse("user=x").unwrap(),
            handler_limit: Some(Duration::from_secs(30)),
            handler_concurrency: 3.try_into().unwrap(),
        };
        assert_eq!(live(&load(file, "")), wanted);
        assert_eq!(live(&load("{}", "")), LiveOptions::default());
    }

    #[test]
    fn every_setting_reaches_the_node() {
        let file = r#"{
            "broadcast_timeout": "7s", "reconnect_interval": "11s", "reconnect_timeout": "12h", "tombstone_timeout": "13h",
            "user_event_size_limit": 600, "query_size_limit": 2000, "query_response_size_limit": 3000,
            "disable_name_resolution": true, "disable_coordinates": true, "validate_node_names": true, "rejoin_after_leave": true,
            "wire": "memberlist", "label": "blue", "enable_compression": false, "tags": {"dc": "east"},
            "retry_join": ["127.0.0.9"], "retry_interval": "5s", "retry_max_attempts": 4, "replay_on_join": true
        }"#;
        let node = node(file, "-node n -bind 127.0.0.1 -protocol 4 -profile wan -role web");
        let (serf, secs) = (&node.serf, Duration::from_secs);
        assert_eq!((node.name.as_bytes(), node.advertise.to_string().as_str()), (&b"n"[..], "127.0.0.1:7946"));
        assert_eq!(node.versions.delegate_current(), 4);
        assert_eq!(node.swim.probe_interval, secs(5));
        let tags = [(&b"dc"[..], &b"east"[..]), (b"role", b"web")].map(|(key, value)| (key.to_vec(), value.to_vec()));
        assert_eq!(node.tags, tags.into());
        assert_eq!((serf.broadcast_timeout, serf.reconnect_interval), (secs(7), secs(11)));
        assert_eq!((serf.reconnect_timeout, serf.tombstone_timeout), (secs(12 * 3600), secs(13 * 3600)));
        assert_eq!((serf.user_event_bytes, serf.query_bytes, serf.query_response_bytes), (600, 2000, 3000));
        assert_eq!((node.wire, &*node.label, node.compress), (Wire::Memberlist, &b"blue"[..], false));
        assert!(!serf.resolve_conflicts && !serf.coordinates && serf.validate_names);
        assert_eq!(serf.coalesce, Some(Coalesce::AGENT));
        assert_eq!(serf.snapshot, Some(SnapshotConfig { rejoin_after_leave: true }));
        let targets = vec![JoinTarget::new(b"127.0.0.9".as_slice())];
        assert_eq!(serf.retry_join, Some(RetryJoin { targets, interval: secs(5), max: 4, replay: true }));
        assert!(node.validate().is_ok());
    }

    #[test]
    fn values_beyond_our_bounds_do_not_stop_the_start() {
        let file = r#"{"reconnect_timeout": "87600h", "query_size_limit": 1000000, "query_response_size_limit": -1,
                       "user_event_size_limit": -1}"#;
        let node = node(file, "-node n -bind 127.0.0.1");
        assert_eq!((node.serf.query_bytes, node.serf.query_response_bytes), (limits::QUERY_BYTES_MAX, 1));
        assert_eq!((node.serf.user_event_bytes, node.serf.reconnect_timeout), (0, limits::DURATION_MAX));
        assert_eq!(node.validate().map_err(|error| error.to_string()), Ok(()));
    }
}
