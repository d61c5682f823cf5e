//! `serf members`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStringExt;

use clap::{ArgAction, Parser};
use serde_json::{Map, Value, json};
use villein_core::rpc::Member;

use super::{ClientCommand, Failure};
use crate::agent::tag_pair;
use crate::go::number::parse_bool;
use crate::output::{self, Output, lossy};
use crate::rpc::{Client, RpcArgs};
use crate::{table, ui};

/// Lists the members of the cluster as the agent knows them. Filters are regular expressions that must match the whole
/// value; of several, all must match.
#[derive(Debug, Parser)]
#[command(name = "members", about = "Lists the members of a Serf cluster", long_about)]
#[command(override_usage = "serf members [options]", disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Members {
    /// Show the protocol version of each member too, which json always has, and the encoding that it understands.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, value_parser = parse_bool, default_value_t = false)]
    detailed: bool,
    /// Form of the output: text, the default, or json.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: String,
    /// Only members whose name matches.
    #[arg(long, value_name = "REGEXP", default_value = "")]
    name: OsString,
    /// Deprecated: the same as -tag role=REGEXP.
    #[arg(long, value_name = "REGEXP", default_value = "")]
    role: OsString,
    /// Only members in a matching state: alive, leaving, left, failed.
    #[arg(long, value_name = "REGEXP", default_value = "")]
    status: OsString,
    /// Only members whose tag matches. A member without the tag counts as having an empty one. Can be given several
    /// times.
    #[arg(long, value_name = "KEY=REGEXP")]
    tag: Vec<OsString>,
    #[command(flatten)]
    rpc: RpcArgs,
}

impl ClientCommand for Members {
    fn run(self, _operands: Vec<OsString>) -> Result<(), Failure> {
        let mut tags = BTreeMap::new();
        if !self.role.is_empty() {
            ui::say("Deprecation warning: 'Role' has been replaced with 'Tags'");
        }
        for tag in self.tag {
            let (key, pattern) = tag_pair(&tag.into_vec()).map_err(|error| format!("Error: {error}"))?;
            tags.insert(key, pattern);
        }
        if !self.role.is_empty() {
            tags.insert(b"role".to_vec(), self.role.into_vec());
        }
        let mut client = Client::connect(&self.rpc)?;
        let members = client
            .members_filtered(tags, self.status.into_vec(), self.name.into_vec(), self.detailed)
            .map_err(|error| format!("Error retrieving members: {error}"))?;
        output::print(&MemberList::new(members, self.detailed), &self.format)?;
        Ok(())
    }
}

/// Members in the order of their names, their tags in the order of their keys.
struct MemberList {
    members: Vec<Member>,
    detailed: bool,
}

impl MemberList {
    fn new(mut members: Vec<Member>, detailed: bool) -> Self {
        members.sort_by(|a, b| a.name.cmp(&b.name));
        for member in &mut members {
            member.tags.sort();
        }
        Self { members, detailed }
    }
}

impl Output for MemberList {
    fn text(&self) -> Vec<u8> {
        let rows: Vec<Vec<Vec<u8>>> = self.members.iter().map(|member| row(member, self.detailed)).collect();
        table::columns(&rows)
    }

    fn json(&self) -> Value {
        let members: Vec<Value> = self.members.iter().map(record).collect();
        // Nothing found is null: programs that read this know it.
        json!({ "members": if members.is_empty() { Value::Null } else { members.into() } })
    }
}

fn row(member: &Member, detailed: bool) -> Vec<Vec<u8>> {
    let tags: Vec<Vec<u8>> = member.tags.iter().map(|(key, value)| [key, &b"="[..], value].concat()).collect();
    let mut row = vec![member.name.clone(), address(member).into_bytes(), member.status.clone(), tags.join(&b","[..])];
    let [least, most, spoken] = member.delegate;
    if detailed {
        row.push(format!("Protocol Version: {spoken}").into_bytes());
        row.push(format!("Available Protocol Range: [{least}, {most}]").into_bytes());
        row.extend(member.encoding.as_ref().map(|encoding| [b"Encoding: ", &encoding[..]].concat()));
    }
    row
}

fn record(member: &Member) -> Value {
    let tags: Map<String, Value> =
        member.tags.iter().map(|(key, value)| (lossy(key), Value::String(lossy(value)))).collect();
    let [least, most, spoken] = member.delegate;
    let mut record = json!({
        "name": lossy(&member.name),
        "addr": address(member),
        "port": member.port,
        "tags": tags,
        "status": lossy(&member.status),
        "protocol": {
            "max": most,
            "min": least,
            "version": spoken,
        },
    });
    if let Some(encoding) = &member.encoding {
        record["encoding"] = Value::String(lossy(encoding));
    }
    record
}

/// `ip:port`, or `[v6]:port`. An IPv4 address in IPv6 form is shown as IPv4, as Go shows it.
fn address(member: &Member) -> String {
    let ip = match (<[u8; 4]>::try_from(&member.addr[..]), <[u8; 16]>::try_from(&member.addr[..])) {
        (Ok(v4), _) => IpAddr::from(v4),
        (_, Ok(v6)) => IpAddr::from(v6).to_canonical(),
        (Err(_), Err(_)) if member.addr.is_empty() => return format!(":{}", member.port),
        (Err(_), Err(_)) => {
            let digits: String = member.addr.iter().map(|byte| format!("{byte:02x}")).collect();
            return format!("?{digits}:{}", member.port);
        }
    };
    SocketAddr::new(ip, member.port).to_string()
}
