//! What RPC clients ask for, done (rpc.md 6).

use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use mio::Events;
use villein_core::Time;
use villein_core::command::{Command, KeyRequest, Question};
use villein_core::go_quote::GoQuoted;
use villein_core::io::RequestId;
use villein_core::keyring::decode_base64;
use villein_core::limits;
use villein_core::log::Level;
use villein_core::rpc::{self, Body, CloseReason, KeyOperation, Request, SessionAction};
use villein_core::types::{JoinTarget, Name};
use villein_core::wire;

use crate::agent::Agent;
use crate::limits::{CLIENT_ACTIONS_PER_TURN, CLIENT_GOODBYE_MAX};
use crate::rpc_server::Input;
use crate::{stats, views};

use filter::Filter;
use search::{Postponed, Search, Stage};

mod filter;
pub(crate) mod search;

/// Who waits for a command's reply.
#[derive(Debug)]
pub(crate) enum Asker {
    /// The start-up, for its join.
    Start,
    /// A signal, for its leave.
    Signal,
    /// A reload, for its tags.
    Reload,
    /// An event handler's script, for its answer to the query of that name.
    Handler(String),
    /// The search for other agents, for the join of what it found.
    Discovery(Vec<SocketAddr>),
    /// An RPC client.
    Client(Box<Ticket>),
}

/// A client's request that is under way.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) client: u64,
    /// The number of the request, which records of a query carry.
    pub(crate) seq: u64,
    pub(crate) request: Request,
}

/// What a request needs.
enum Plan {
    /// A command of the core.
    Command(Box<Command>),
    /// A leave, after which the agent ends.
    Leave,
    /// Nothing but this answer.
    Reply(rpc::Reply),
    /// A look at all members.
    Search(Box<Search>),
    /// The end of the connection.
    Close,
}

impl Plan {
    fn command(command: Command) -> Self {
        Self::Command(Box::new(command))
    }
}

impl Agent {
    /// Takes new clients, does what they ask for, sends what they are owed.
    pub(crate) fn serve_clients(&mut self, now: Time) {
        let accepted = self.rpc.accept(now, self.poll.registry(), &mut self.journal);
        if accepted > 0 {
            self.telemetry.count(now, "agent.ipc.accept", accepted);
        }
        self.rpc.begin_turn();
        for id in self.rpc.ids() {
            self.serve_client(id, now);
            self.rpc.settle(id, &mut self.journal);
        }
        self.rpc.shed(&mut self.journal);
        self.rpc.tell_missed(&mut self.journal);
        self.rpc.pump_log(&mut self.journal);
        self.rpc.flush(now, &mut self.journal);
        self.end_queries();
    }

    /// Ends the queries of clients that are gone: they may have a year to go, and take the place of others.
    fn end_queries(&mut self) {
        let mut left = self.rpc.take_left();
        left.sort_unstable();
        let is_of_them = |asker: &Asker| {
            matches!(asker, Asker::Client(ticket)
                if matches!(ticket.request, Request::Query(_)) && left.binary_search(&ticket.client).is_ok())
        };
        if left.is_empty() {
            return;
        }
        let queries: Vec<RequestId> =
            self.requests.iter().filter(|(_, asker)| is_of_them(asker)).map(|(&id, _)| id).collect();
        for id in queries {
            self.requests.remove(&id);
            self.order(Command::EndQuery(id));
        }
    }

    /// Reads once from a client and does what it asks for, as long as it takes the answers.
    fn serve_client(&mut self, id: u64, now: Time) {
        let mut buffer = mem::take(&mut self.buffer);
        if let Some(client) = self.rpc.client(id) {
            match client.read(&mut buffer) {
                Input::Bytes(len) => {
                    let bytes = buffer.get_mut(..len).unwrap_or_default();
                    client.receive(bytes);
                    // A key or a token may be among them.
                    bytes.fill(0);
                }
                Input::End => client.session.end_of_input(),
                Input::Nothing => {}
                Input::Gone => self.rpc.forget(id),
                Input::TooMuch => self.rpc.turn_away(id, &mut self.journal),
            }
        }
        self.buffer = buffer;
        for turn in 0..=CLIENT_ACTIONS_PER_TURN {
            let has_compiled = self.rpc.has_compiled();
            let Some(client) = self.rpc.client(id) else { return };
            // What made a request wait in this turn makes it wait until the next.
            let waits =
                |postponed: &Postponed| has_compiled || (turn > 0 && matches!(postponed, Postponed::Request(_)));
            client.busy = turn == CLIENT_ACTIONS_PER_TURN || client.postponed.as_ref().is_some_and(waits);
            if client.busy {
                return;
            }
            // Even of one that does not read its replies: there is not room for many searches.
            if let Some(Postponed::Search(search)) =
                client.postponed.take_if(|postponed| matches!(postponed, Postponed::Search(_)))
            {
                self.search(id, search, now);
                continue;
            }
            if client.flush().is_err() {
                return self.rpc.forget(id);
            }
            if client.is_owed() {
                return;
            }
            if let Some(Postponed::Request(request)) = client.postponed.take() {
                self.serve(id, request, now);
                continue;
            }
            let action = client.session.next_action();
            if action.is_some() || client.is_owed() {
                client.note_request();
            }
            let Some(action) = action else { return };
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
                    CloseReason::EndOfInput => {}
                    CloseReason::Refused(refusal) => {
                        self.journal.log(Level::Err, format_args!("agent.ipc: Failed to evaluate request: {refusal}"));
                    }
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
        if matches!(request, Request::MembersFiltered { .. }) && (self.rpc.has_compiled() || self.rpc.is_searching()) {
            if let Some(client) = self.rpc.client(id) {
                client.postponed = Some(Postponed::Request(request));
            }
            return;
        }
        let reply = match self.plan(id, &request) {
            Plan::Command(command) => return self.command_for(id, request, *command),
            Plan::Leave => {
                self.journal.log(Level::Info, format_args!("agent.ipc: Graceful leave triggered"));
                let ticket = self.ticket(id, request);
                return self.leave(Asker::Client(ticket));
            }
            Plan::Reply(reply) => reply,
            Plan::Search(search) => return self.search(id, search, now),
            // Upstream's way to refuse a pattern: no reply.
            Plan::Close => return self.rpc.client(id).into_iter().for_each(|client| client.close(now)),
        };
        self.reply(id, &reply);
    }

    /// Finds out what a request needs. Log lines are upstream's (cli.md 8).
    fn plan(&mut self, id: u64, request: &Request) -> Plan {
        match request {
            Request::Join { existing, replay } => plan_join(request, existing, *replay),
            Request::Leave => Plan::Leave,
            Request::ForceLeave { node, prune } => {
                let node = Name::new(node.as_slice());
                let how = if *prune { " (prune)" } else { "" };
                self.journal.log(Level::Info, format_args!("agent: Force leaving node{how}: {node}"));
                Plan::command(Command::ForceLeave { node, prune: *prune })
            }
            Request::Event { name, payload, coalesce } => {
                self.plan_event(name, payload.as_deref().unwrap_or_default(), *coalesce)
            }
            Request::Query(query) => Plan::command(Command::Query(Box::new(question(query)))),
            Request::Respond { id: query, payload } => {
                match self.rpc.client(id).and_then(|client| client.query(*query)) {
                    Some(query) => {
                        let payload = payload.as_deref().unwrap_or_default().into();
                        Plan::command(Command::Respond { query, payload })
                    }
                    None => Plan::Reply(rpc::Reply::error(request, rpc::texts::NO_PENDING_QUERY)),
                }
            }
            Request::Tags { tags, delete } => {
                Plan::command(Command::SetTags { set: tags.iter().cloned().collect(), delete: delete.clone() })
            }
            Request::Key { operation, key } => self.plan_key(request, *operation, key),
            Request::Members => {
                let members = self.node.members();
                Plan::Reply(rpc::Reply::with(Body::Members(
                    members.iter().map(|member| views::listed(member, false)).collect(),
                )))
            }
            Request::MembersFiltered { tags, status, name, encodings } => {
                self.plan_filtered(id, Filter::new(tags, status, name), *encodings)
            }
            Request::Stats => {
                Plan::Reply(rpc::Reply::with(Body::Stats(stats::sections(&self.node, &self.live.event_handlers))))
            }
            Request::GetCoordinate { node } => {
                let coordinate = self.node.coordinate(&Name::new(node.as_slice())).map(views::coordinate);
                Plan::Reply(rpc::Reply::with(Body::Coordinate(coordinate)))
            }
            // The session keeps these to itself.
            Request::Handshake { .. }
            | Request::Auth { .. }
            | Request::Stream { .. }
            | Request::Monitor { .. }
            | Request::Stop { .. } => Plan::Reply(rpc::Reply::error(request, rpc::texts::UNSUPPORTED_COMMAND)),
        }
    }

    fn plan_event(&mut self, name: &[u8], payload: &[u8], coalesce: bool) -> Plan {
        self.journal.log(
            Level::Debug,
            format_args!(
                "agent: Requesting user event send: {}. Coalesced: {coalesce}. Payload: {}",
                String::from_utf8_lossy(name),
                GoQuoted(payload)
            ),
        );
        Plan::command(Command::UserEvent { name: name.into(), payload: payload.into(), coalesce })
    }

    /// Plans a key operation. The text of a key is checked here, before anybody is asked.
    fn plan_key(&mut self, request: &Request, operation: KeyOperation, key: &[u8]) -> Plan {
        let task = match operation {
            KeyOperation::Install => "key installation",
            KeyOperation::Use => "primary key change",
            KeyOperation::Remove => "key removal",
            KeyOperation::List | KeyOperation::Status => "key listing",
        };
        self.journal.log(Level::Info, format_args!("agent: Initiating {task}"));
        let key = || decode_base64(key).map(|key| key.as_slice().into());
        let wanted = match operation {
            KeyOperation::Install => key().map(KeyRequest::Install),
            KeyOperation::Use => key().map(KeyRequest::Use),
            KeyOperation::Remove => key().map(KeyRequest::Remove),
            KeyOperation::List => Ok(KeyRequest::List),
            KeyOperation::Status => Ok(KeyRequest::Status),
        };
        match wanted {
            Ok(wanted) => Plan::command(Command::Key(wanted)),
            Err(error) => Plan::Reply(rpc::Reply::error(request, error.to_string())),
        }
    }

    /// Lists the members that fit.
    fn plan_filtered(&mut self, id: u64, (filter, bytes): filter::Compiled, encodings: bool) -> Plan {
        self.rpc.note_programs(id, bytes);
        match filter {
            Ok(filter) => Plan::Search(Search::new(filter, self.node.members(), encodings)),
            Err(error) => {
                let problem = format_args!("Failed to evaluate request: Failed to compile regex: {error}");
                self.journal.log(Level::Err, format_args!("agent.ipc: {problem}"));
                Plan::Close
            }
        }
    }

    /// Goes on with a search as far as this turn has room for it.
    fn search(&mut self, id: u64, search: Box<Search>, now: Time) {
        let (stage, taken) = search.go_on(|| self.now());
        self.rpc.note_search(id, taken);
        match stage {
            Stage::Over(reply) => self.reply(id, &reply),
            Stage::UnderWay(search) => {
                if let Some(client) = self.rpc.client(id) {
                    client.postponed = Some(Postponed::Search(search));
                }
            }
            Stage::TooLong => {
                let problem = "Failed to evaluate request: the patterns take too long to match";
                self.journal.log(Level::Err, format_args!("agent.ipc: {problem}"));
                self.rpc.client(id).into_iter().for_each(|client| client.close(now));
            }
        }
    }

    fn ticket(&mut self, client: u64, request: Request) -> Box<Ticket> {
        let seq = self.rpc.client(client).and_then(|client| client.session.outstanding()).unwrap_or_default();
        Box::new(Ticket { client, seq, request })
    }

    fn command_for(&mut self, client: u64, request: Request, command: Command) {
        let ticket = self.ticket(client, request);
        self.command(Asker::Client(ticket), command);
    }

    pub(crate) fn reply(&mut self, id: u64, reply: &rpc::Reply) {
        if let Some(client) = self.rpc.client(id) {
            client.session.reply(reply);
        }
    }
    /// Gives the clients what they are owed, for a moment, before everything is closed.
    pub(crate) fn close_clients(&mut self) {
        let mut events = Events::with_capacity(64);
        let until = self.now() + CLIENT_GOODBYE_MAX;
        loop {
            let now = self.now();
            self.rpc.pump_log(&mut self.journal);
            self.rpc.flush(now, &mut self.journal);
            if !self.rpc.is_owed() || now >= until || self.poll.poll(&mut events, Some(until.since(now))).is_err() {
                return;
            }
            for readiness in &events {
                self.note(readiness);
            }
        }
    }
}

fn plan_join(request: &Request, existing: &[Vec<u8>], replay: bool) -> Plan {
    if existing.is_empty() {
        return Plan::Reply(rpc::Reply::with(Body::Joined(0)));
    }
    if existing.len() > limits::JOIN_TARGETS_MAX {
        let problem = format!("{} addresses: at most {} are joined at once", existing.len(), limits::JOIN_TARGETS_MAX);
        return Plan::Reply(rpc::Reply::error(request, problem));
    }
    let targets = existing.iter().map(|target| JoinTarget::new(target.as_slice())).collect();
    Plan::command(Command::Join { targets, replay })
}

/// A client's query as the core takes it.
fn question(query: &rpc::Query) -> Question {
    let names = query.filter_nodes.iter().map(|name| Name::new(name.as_slice())).collect::<Vec<_>>();
    let nodes = (!names.is_empty()).then_some(wire::Filter::Nodes(names));
    let tags = query
        .filter_tags
        .iter()
        .map(|(key, pattern)| wire::Filter::Tag { key: key.as_slice().into(), pattern: pattern.as_slice().into() });
    Question {
        name: query.name.as_slice().into(),
        payload: query.payload.as_deref().unwrap_or_default().into(),
        filters: nodes.into_iter().chain(tags).collect(),
        // Where the time is over before it begins, not even our own ack is in time.
        ack: query.request_ack && query.timeout >= 0,
        relay_factor: query.relay_factor,
        // Zero asks for the default; a negative time is over at once.
        timeout: (query.timeout != 0).then(|| Duration::from_nanos(u64::try_from(query.timeout).unwrap_or(0))),
    }
}
