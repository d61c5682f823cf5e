//! `serf agent`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use villein_core::Config;
use villein_core::config::{Coalesce, RetryJoin};
use villein_core::types::{GossipAddr, JoinTarget, Name, Versions};
use villein_runtime_mio::{Agent, AgentOptions, Exit, LiveOptions, Reload, Reloader, die_of_broken_pipe};

use crate::agent::{AgentConfig, AgentFlags, ConfigError, StartPlan, banner, log_level};
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
fn run(config: AgentConfig, words: Vec<OsString>) -> ExitCode {
    for warning in &config.warnings {
        ui::say(format!("==> {warning}"));
    }
    let plan = match config.plan() {
        Ok(plan) => plan,
        Err(refusal) => return fail(&refusal),
    };
    if let Err(refusal) = config.check_serf(&plan) {
        ui::say("==> Starting Serf agent...");
        return fail(&refusal);
    }
    let agent = match Agent::start(options(config, plan, words)) {
        Ok(agent) => agent,
        Err(error) => return fail(&error.to_string()),
    };
    let exit = agent.run();
    if exit == Exit::BrokenPipe {
        die_of_broken_pipe();
    }
    ExitCode::from(exit.code())
}

fn fail(refusal: &str) -> ExitCode {
    ui::say(format!("==> {refusal}"));
    ExitCode::FAILURE
}

fn options(config: AgentConfig, plan: StartPlan, words: Vec<OsString>) -> AgentOptions {
    let banner = banner(&config, &plan);
    let node = node_config(&config, &plan);
    AgentOptions {
        config: node,
        bind: plan.bind,
        advertise: plan.advertise,
        encrypt_key: plan.encrypt_key,
        log_level: plan.log_level,
        time_zone: std::env::var("TZ").ok(),
        banner,
        replay: config.replay_on_join,
        live: live(&config),
        signals: true,
        reload: Some(reloader(words)),
        sink: Box::new(std::io::stdout()),
        start_join: targets(config.start_join),
        rpc_addr: config.rpc_addr,
        rpc_auth: config.rpc_auth,
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
    if let Ok(protocol) = u8::try_from(config.protocol) {
        let [pmin, pmax, pcur, dmin, dmax, _] = Versions::CURRENT.0;
        node.versions = Versions([pmin, pmax, pcur, dmin, dmax, protocol]);
    }
    node.serf.broadcast_timeout = config.broadcast_timeout;
    node.serf.reconnect_interval = config.reconnect_interval;
    node.serf.reconnect_timeout = config.reconnect_timeout;
    node.serf.tombstone_timeout = config.tombstone_timeout;
    node.serf.coalesce = Some(Coalesce::AGENT);
    if !config.retry_join.is_empty() {
        node.serf.retry_join = Some(RetryJoin {
            targets: targets(config.retry_join.clone()),
            interval: config.retry_interval,
            max: u32::try_from(config.retry_max_attempts).unwrap_or(u32::MAX),
            replay: config.replay_on_join,
        });
    }
    node
}

fn targets(texts: Vec<String>) -> Vec<JoinTarget> {
    texts.into_iter().map(|text| JoinTarget::new(text.into_bytes())).collect()
}

fn live(config: &AgentConfig) -> LiveOptions {
    LiveOptions {
        leave_on_terminate: config.leave_on_terminate,
        skip_leave_on_interrupt: config.skip_leave_on_interrupt,
        event_handlers: config.event_scripts.clone(),
    }
}

/// Reads flags and files again, as at the start.
fn reloader(words: Vec<OsString>) -> Reloader {
    Box::new(move || match AgentConfig::load(&words) {
        Ok(config) => Ok(Reload {
            log_level: log_level(&config.log_level),
            live: live(&config),
            warnings: config.warnings,
            tags: Some(config.tags),
        }),
        Err(error) => Err(vec![error.to_string()]),
    })
}
