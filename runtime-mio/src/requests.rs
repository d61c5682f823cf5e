//! What RPC clients ask for, done (rpc.md 6).

use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use mio::Events;
use villein_core::Time;
use villein_core::command::{Command, JoinErrors, Reply};
use villein_core::event::{MemberEventKind, MemberInfo};
use villein_core::go_regex::{self, GoRegex, GoRegexError};
use villein_core::limits;
use villein_core::log::Level;
use villein_core::node::MemberView;
use villein_core::rpc::{self, Body, CloseReason, Request, SessionAction, StreamEvent};
use villein_core::types::{JoinTarget, Name};

use crate::agent::{Agent, Stage};
use crate::options::Exit;
use crate::rpc_server::Input;
use crate::stats;

/// Commands of upstream that this release does not have.
const MISSING: &str = "not available in this release";
/// Requests of one client in one turn.
const ACTIONS_PER_TURN: usize = 32;
/// How long clients may take to read their last records when the agent ends.
const GOODBYE_MAX: Duration = Duration::from_millis(500);

/// Who waits for a command's reply.
#[derive(Debug)]
pub(crate) enum Asker {
    /// The start-up, for its join.
    Start,
    /// A signal, for its leave.
    Signal,
    /// The search for other agents, for the join of what it found.
    Discovery(Vec<SocketAddr>),
    /// An RPC client.
    Client(Box<Ticket>),
}

/// A client's request that is under way.
#[derive(Debug)]
pub(crate) struct Ticket {
    client: u64,
    request: Request,
}

impl Agent {
    /// Takes new clients, does what they ask for, sends what they are owed.
    pub(crate) fn serve_clients(&mut self, now: Time) {
        let accepted = self.rpc.accept(now, self.poll.registry(), &mut self.journal);
        if accepted > 0 {
            self.telemetry.count(now, "agent.ipc.accept", accepted);
        }
        for id in self.rpc.ids() {
            self.serve_client(id, now);
        }
        self.rpc.pump_log(&mut self.journal);
        self.rpc.flush(now);
    }

    /// Reads once from a client and does what it asks for, as long as it takes the answers.
    fn serve_client(&mut self, id: u64, now: Time) {
        let mut buffer = mem::take(&mut self.buffer);
        if let Some(client) = self.rpc.client(id) {
            match client.read(&mut buffer) {
                Input::Bytes(len) => client.session.receive(buffer.get(..len).unwrap_or_default()),
                Input::End => client.session.end_of_input(),
                Input::Nothing => {}
                Input::Gone => self.rpc.forget(id),
            }
        }
        self.buffer = buffer;
        for turn in 0..=ACTIONS_PER_TURN {
            let Some(client) = self.rpc.client(id) else { return };
            client.busy = turn == ACTIONS_PER_TURN;
            if client.busy {
                return;
            }
            if client.flush().is_err() {
                return self.rpc.forget(id);
            }
            if client.is_owed() {
                return;
            }
            let Some(action) = client.session.next_action() else { return };
            self.act_for(id, action, now);
        }
    }

    fn act_for(&mut self, id: u64, action: SessionAction, now: Time) {
        match action {
            SessionAction::Request(request) => {
                self.telemetry.count(now, "agent.ipc.command", 1);
                self.serve(id, request, now);
            }
            SessionAction::MonitorStarted => {
                self.telemetry.count(now, "agent.ipc.command", 1);
                let first = self.journal.first();
                self.rpc.client(id).into_iter().for_each(|client| client.start_monitor(first));
            }
            SessionAction::Unauthenticated => {
                self.journal.log(Level::Warn, format_args!("agent.ipc: Client sending commands before auth"));
            }
            SessionAction::Close(reason) => {
                match reason {
                    CloseReason::EndOfInput | CloseReason::Refused => {}
                    CloseReason::BadHeader(error) => self
                        .journal
                        .log(Level::Err, format_args!("agent.ipc: failed to decode request header: {error}")),
                    CloseReason::BadBody(error) => self
                        .journal
                        .log(Level::Err, format_args!("agent.ipc: Failed to evaluate request: decode failed: {error}")),
                }
                self.rpc.client(id).into_iter().for_each(|client| client.close(now));
            }
        }
    }

    fn serve(&mut self, id: u64, request: Request, now: Time) {
        let reply = match &request {
            Request::Join { existing, .. } if existing.is_empty() => rpc::Reply::with(Body::Joined(0)),
            Request::Join { existing, .. } if existing.len() > limits::JOIN_TARGETS_MAX => {
                let problem = format!("{} addresses: at most {} are joined at once", existing.len(), limits::JOIN_TARGETS_MAX);
                rpc::Reply::error(&request, problem)
            }
            Request::Join { existing, replay } => {
                let targets = existing.iter().map(|target| JoinTarget::new(target.as_slice())).collect();
                let command = Command::Join { targets, replay: *replay };
                return self.command_for(id, request, command);
            }
            Request::Leave => {
                self.journal.log(Level::Info, format_args!("agent.ipc: Graceful leave triggered"));
                return self.leave(Asker::Client(Box::new(Ticket { client: id, request })));
            }
            Request::ForceLeave { node, prune } => {
                let node = Name::new(node.as_slice());
                if !*prune {
                    self.journal.log(Level::Info, format_args!("agent: Force leaving node: {node}"));
                    return self.command_for(id, request, Command::ForceLeave { node });
                }
                self.journal.log(Level::Info, format_args!("agent: Force leaving node (prune): {node}"));
                if self.node.member(&node).is_some() { rpc::Reply::error(&request, MISSING) } else { rpc::Reply::ok() }
            }
            Request::Members => rpc::Reply::with(Body::Members(self.node.members().iter().map(view).collect())),
            Request::MembersFiltered { tags, status, name } => match Filter::new(tags, status, name) {
                Ok(filter) => {
                    let members = self.node.members();
                    let matching = members.iter().filter(|member| filter.matches(&member.info));
                    rpc::Reply::with(Body::Members(matching.map(view).collect()))
                }
                Err(error) => {
                    let problem = format_args!("Failed to evaluate request: Failed to compile regex: {error}");
                    self.journal.log(Level::Err, format_args!("agent.ipc: {problem}"));
                    // Upstream's way to refuse a pattern: no reply.
                    return self.rpc.client(id).into_iter().for_each(|client| client.close(now));
                }
            },
            Request::Stats => rpc::Reply::with(Body::Stats(stats::sections(&self.node, &self.live.event_handlers))),
            Request::Event { .. }
            | Request::Tags { .. }
            | Request::Query(_)
            | Request::Respond { .. }
            | Request::Key { .. }
            | Request::GetCoordinate { .. }
            // The session keeps these to itself.
            | Request::Handshake { .. }
            | Request::Auth { .. }
            | Request::Stream { .. }
            | Request::Monitor { .. }
            | Request::Stop { .. } => rpc::Reply::error(&request, MISSING),
        };
        self.reply(id, &reply);
    }

    fn command_for(&mut self, client: u64, request: Request, command: Command) {
        self.command(Asker::Client(Box::new(Ticket { client, request })), command);
    }

    fn reply(&mut self, id: u64, reply: &rpc::Reply) {
        if let Some(client) = self.rpc.client(id) {
            client.session.reply(reply);
        }
    }

    /// The core has answered a client's command.
    pub(crate) fn answer_client(&mut self, ticket: &Ticket, reply: Reply) {
        let request = &ticket.request;
        let reply = match reply {
            Reply::Joined { contacted: 0, errors } => rpc::Reply::error(request, JoinErrors(&errors).to_string()),
            Reply::Joined { contacted, errors: _ } => rpc::Reply::with(Body::Joined(contacted.into())),
            Reply::Left => {
                self.stage = Stage::Stopping { left: true, exit: Exit::Graceful };
                rpc::Reply::ok()
            }
            Reply::ForceLeft | Reply::Rejoined => rpc::Reply::ok(),
            Reply::Failed(error) => rpc::Reply::error(request, error.to_string()),
        };
        self.reply(ticket.client, &reply);
    }

    /// Shows an event to the clients that want to see it.
    pub(crate) fn publish(&mut self, kind: MemberEventKind, members: &[MemberInfo]) {
        if self.rpc.is_subscribed() {
            let members = members.iter().map(member).collect();
            let event = StreamEvent::Members { kind: kind_name(kind), members };
            self.rpc.publish(&event, &mut self.journal);
        }
    }

    /// Gives the clients what they are owed, for a moment, before everything is closed.
    pub(crate) fn close_clients(&mut self) {
        let mut events = Events::with_capacity(64);
        let until = self.now() + GOODBYE_MAX;
        loop {
            let now = self.now();
            self.rpc.pump_log(&mut self.journal);
            self.rpc.flush(now);
            if !self.rpc.is_owed() || now >= until || self.poll.poll(&mut events, Some(until.since(now))).is_err() {
                return;
            }
            for readiness in &events {
                self.note(readiness);
            }
        }
    }
}

/// The patterns of members-filtered, anchored as upstream anchors them.
struct Filter {
    name: Option<GoRegex>,
    status: Option<GoRegex>,
    tags: Vec<(Vec<u8>, GoRegex)>,
}

impl Filter {
    fn new(tags: &[(Vec<u8>, Vec<u8>)], status: &[u8], name: &[u8]) -> Result<Self, GoRegexError> {
        let pattern = |text: &[u8]| go_regex::anchored(text);
        let optional = |text: &[u8]| (!text.is_empty()).then(|| pattern(text)).transpose();
        let tags = tags.iter().map(|(key, text)| Ok((key.clone(), pattern(text)?)));
        Ok(Self { name: optional(name)?, status: optional(status)?, tags: tags.collect::<Result<_, _>>()? })
    }

    fn matches(&self, member: &MemberInfo) -> bool {
        let holds =
            |pattern: &Option<GoRegex>, text: &[u8]| pattern.as_ref().is_none_or(|pattern| pattern.is_match(text));
        holds(&self.name, member.name.as_bytes())
            && holds(&self.status, member.status.to_string().as_bytes())
            && self.tags.iter().all(|(key, pattern)| pattern.is_match(member.tags.get(key).map_or(b"", Vec::as_slice)))
    }
}

fn view(view: &MemberView) -> rpc::Member {
    member(&view.info)
}

fn member(info: &MemberInfo) -> rpc::Member {
    let versions = info.versions;
    rpc::Member {
        name: info.name.as_bytes().to_vec(),
        addr: info.addr.ip_bytes().to_vec(),
        port: info.addr.port(),
        tags: info.tags.clone().into_iter().collect(),
        status: info.status.to_string().into_bytes(),
        protocol: [versions.protocol_min(), versions.protocol_max(), versions.protocol_current()],
        delegate: [versions.delegate_min(), versions.delegate_max(), versions.delegate_current()],
    }
}

/// The name of an event on the wire.
const fn kind_name(kind: MemberEventKind) -> &'static str {
    match kind {
        MemberEventKind::Join => "member-join",
        MemberEventKind::Leave => "member-leave",
        MemberEventKind::Failed => "member-failed",
        MemberEventKind::Update => "member-update",
        MemberEventKind::Reap => "member-reap",
    }
}
