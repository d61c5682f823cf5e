//! What the core has to say to RPC clients: answers to their commands, records of their queries and streams.

use villein_core::command::{CommandError, JoinErrors, Reply};
use villein_core::event::Event;
use villein_core::go_quote::GoQuoted;
use villein_core::log::Level;
use villein_core::rpc::{self, Body, QueryRecord, Request, texts};

use crate::agent::{Agent, Stage};
use crate::options::Exit;
use crate::requests::Ticket;
use crate::views;

impl Agent {
    /// The core has answered a client's command.
    pub(crate) fn answer_client(&mut self, ticket: &Ticket, reply: Reply) {
        let request = &ticket.request;
        let reply = match reply {
            Reply::Joined { contacted: 0, errors } => rpc::Reply::error(request, JoinErrors(&errors).to_string()),
            Reply::Joined { contacted, errors: _ } => rpc::Reply::with(Body::Joined(contacted.into())),
            Reply::Left => {
                self.stage = Stage::Stopping { warned: true, exit: Exit::Graceful };
                rpc::Reply::ok()
            }
            Reply::QueryStarted => {
                self.log_query(request);
                rpc::Reply::ok()
            }
            Reply::QueryAck { from } => {
                self.telemetry.count(self.last, "serf.query_acks", 1);
                return self.record(ticket, &QueryRecord::Ack { from: from.as_bytes().to_vec() });
            }
            Reply::QueryResponse { from, payload } => {
                self.telemetry.count(self.last, "serf.query_responses", 1);
                let payload = views::payload(&payload);
                return self.record(ticket, &QueryRecord::Response { from: from.as_bytes().to_vec(), payload });
            }
            Reply::QueryDone => return self.record(ticket, &QueryRecord::Done),
            Reply::Keys(outcome) => {
                let error = outcome.error().unwrap_or_default().into_bytes();
                let Request::Key { operation, .. } = request else { return };
                rpc::Reply { error, body: Body::Keys(views::keys(*outcome, *operation)) }
            }
            Reply::ForceLeft
            | Reply::Rejoined
            | Reply::EventSent
            | Reply::Responded
            | Reply::TagsSet
            | Reply::QueryEnded => rpc::Reply::ok(),
            Reply::Failed(error) => rpc::Reply::error(request, self.refusal(request, &error)),
        };
        self.reply(ticket.client, &reply);
        self.rpc.settle(ticket.client, &mut self.journal);
    }

    fn record(&mut self, ticket: &Ticket, record: &QueryRecord) {
        self.rpc.query_record(ticket.client, ticket.seq, record, &mut self.journal);
    }

    /// The text for the client of a command that failed; what upstream logs of it is logged (cli.md 8).
    fn refusal(&mut self, request: &Request, error: &CommandError) -> String {
        match (request, error) {
            (Request::Event { .. }, error) => {
                self.journal.log(Level::Warn, format_args!("agent: failed to send user event: {error}"));
            }
            // Upstream looks at the name before it writes anything.
            (Request::Query(_), CommandError::ReservedQuery) => {}
            (Request::Query(_), error) => {
                self.log_query(request);
                self.journal.log(Level::Warn, format_args!("agent: failed to start user query: {error}"));
            }
            (Request::Respond { .. }, error) => return respond_error(error),
            (_, _) => {}
        }
        error.to_string()
    }

    fn log_query(&mut self, request: &Request) {
        if let Request::Query(query) = request {
            let name = String::from_utf8_lossy(&query.name);
            let payload = GoQuoted(query.payload.as_deref().unwrap_or_default());
            self.journal.log(Level::Debug, format_args!("agent: Requesting query send: {name}. Payload: {payload}"));
        }
    }

    /// Shows an event to the clients that want to see it.
    pub(crate) fn publish(&mut self, event: &Event) {
        if !self.rpc.is_subscribed() {
            return;
        }
        let key = match event {
            Event::Query(query) => Some(query.key),
            Event::Members { .. } | Event::User(_) | Event::Shutdown(_) => None,
        };
        if let Some(event) = views::stream_event(event) {
            self.rpc.publish(&event, key, &mut self.journal);
        }
    }
}

/// Why an answer to a query was not taken. A client's id is forgotten when the time of its query is over (rpc.md 6).
fn respond_error(error: &CommandError) -> String {
    match error {
        CommandError::UnknownQuery | CommandError::PastDeadline | CommandError::AlreadyResponded { is_over: true } => {
            texts::NO_PENDING_QUERY.to_owned()
        }
        error => format!("failed to respond to key query: {error}"),
    }
}
