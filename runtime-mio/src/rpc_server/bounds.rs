//! What clients can make an agent hold, and what slow ones are told that they missed.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::Duration;

use villein_core::Time;
use villein_core::log::Level;

use super::{Client, RpcServer, STRANGER};
use crate::limits::{CLIENT_REQUESTS_BYTES_MAX, CLIENTS_GONE_MAX, CLIENTS_MAX, DESCRIPTORS_KEPT};
use crate::log_pace::{Kind, Pace};
use crate::log_ring::Journal;
use crate::rpc_socket::Peer;

/// How long a client waits to be told what it missed, if others have been told meanwhile.
const TELL: Duration = Duration::from_secs(1);
/// The lines about events that a slow client misses.
const MISSED: (Kind, Pace) = (Kind::MissedEvent, Pace::CAUSED);

/// How many clients may be connected where the process may have so many descriptors.
pub(super) fn clients_max(descriptors: Option<u64>) -> usize {
    let Some(descriptors) = descriptors else { return CLIENTS_MAX };
    let left = descriptors.saturating_sub(DESCRIPTORS_KEPT).max(descriptors / 4);
    usize::try_from(left).map_or(CLIENTS_MAX, |left| left.min(CLIENTS_MAX))
}

/// Makes room for a client where all places are taken: of those that have not said who they are the oldest gives way, so that
/// who says nothing keeps nobody out. False: all have.
pub(super) fn make_room(clients: &mut BTreeMap<u64, Client>, left: &mut Vec<u64>, journal: &mut Journal) -> bool {
    let Some((&id, client)) = clients.iter().find(|(_, client)| !client.session.is_admitted()) else { return false };
    let (peer, taken) = (client.peer, clients.len());
    journal.log(Level::Warn, format_args!("agent.ipc: Closing client: {peer}: {STRANGER}, and {taken} are connected"));
    clients.remove(&id);
    left.push(id);
    true
}

impl RpcServer {
    /// While more bytes of requests wait for their rest than there is room for, the client with the most must go.
    pub(crate) fn shed(&mut self, journal: &mut Journal) {
        let mut held: usize = self.clients.values().map(|client| client.held).sum();
        if held <= CLIENT_REQUESTS_BYTES_MAX {
            return;
        }
        let mut greedy: Vec<(usize, u64)> = self.clients.iter().map(|(&id, client)| (client.held, id)).collect();
        greedy.sort_unstable();
        while held > CLIENT_REQUESTS_BYTES_MAX
            && let Some((bytes, id)) = greedy.pop()
        {
            held -= bytes;
            if let Some(client) = self.clients.get(&id) {
                let problem = "there is no room for all that clients have begun to ask";
                journal.log(Level::Warn, format_args!("agent.ipc: Closing client: {}: {problem}", client.peer));
            }
            self.forget(id);
        }
    }

    /// Says of clients, each in its turn, how many events they have missed; first of those that are gone.
    pub(crate) fn tell_missed(&mut self, journal: &mut Journal) {
        let Self { clients, told, gone, .. } = self;
        while journal.has_room(MISSED)
            && let Some((peer, missed)) = gone.pop_front()
        {
            say_missed(peer, missed, journal);
        }
        let mut waiting: Vec<u64> = clients.iter().filter(|(_, client)| client.missed > 0).map(|(&id, _)| id).collect();
        let next = waiting.partition_point(|id| id <= told);
        waiting.rotate_left(next);
        for id in waiting {
            if !journal.has_room(MISSED) {
                return;
            }
            let Some(client) = clients.get_mut(&id) else { continue };
            say_missed(client.peer, mem::take(&mut client.missed), journal);
            *told = id;
        }
    }

    /// Says of all clients what they have missed, before the end.
    pub(crate) fn tell_all_missed(&mut self, journal: &mut Journal) {
        let there = self.clients.values_mut().map(|client| (client.peer, mem::take(&mut client.missed)));
        for (peer, missed) in self.gone.drain(..).chain(there) {
            say_missed(peer, missed, journal);
        }
    }

    /// When something must be said of those that are gone.
    pub(super) fn tell_by(&self, now: Time) -> Option<Time> {
        (!self.gone.is_empty()).then(|| now + TELL)
    }
}

/// Keeps what a client that goes has missed until it can be said; where many do, one is said to have missed it all.
pub(super) fn remember_gone(gone: &mut VecDeque<(Peer, u64)>, client: &Client) {
    if client.missed == 0 {
        return;
    }
    let full = gone.len() >= CLIENTS_GONE_MAX;
    match gone.back_mut() {
        Some((_, missed)) if full => *missed += client.missed,
        Some(_) | None => gone.push_back((client.peer, client.missed)),
    }
}

/// Says how many events a client has missed.
fn say_missed(peer: Peer, missed: u64, journal: &mut Journal) {
    if missed > 0 {
        journal.log_at(MISSED, Level::Warn, missed, format_args!("agent.ipc: Dropping event to ipc.client: {peer}"));
    }
}

impl Client {
    /// When something must be said of it.
    pub(super) fn tell_by(&self, now: Time) -> Option<Time> {
        (self.missed > 0).then(|| now + TELL)
    }

    /// Takes so many bytes of requests in.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.session.receive(bytes);
        self.held += bytes.len();
    }

    /// Notes that a request has come as a whole: at most what came with its end is left.
    pub(crate) fn note_request(&mut self) {
        self.held = 0;
    }

    /// Whether it waits for an answer and has asked for more already: that is not read on.
    pub(super) fn is_ahead(&self) -> bool {
        self.held > 0 && self.session.outstanding().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HANDSHAKE, Server, perform};
    use super::*;
    use villein_core::rpc::{self, Request, StreamEvent};

    #[test]
    fn clients_leave_descriptors_to_the_rest_of_the_agent() {
        let known = [None, Some(1 << 20), Some(1_280), Some(1_024), Some(300), Some(100)];
        assert_eq!(known.map(clients_max), [1_024, 1_024, 1_024, 768, 75, 25]);
    }

    #[test]
    fn of_clients_that_begin_to_ask_for_much_those_with_most_must_go() {
        let mut server = Server::new("127.0.84.8");
        let _peers = [(); 3].map(|()| server.connect());
        let receive = |server: &mut Server, id, bytes: usize| {
            server.rpc.client(id).expect("is connected").receive(&vec![0xdb; bytes]);
        };
        for (id, bytes) in [(0, 100), (1, CLIENT_REQUESTS_BYTES_MAX / 2), (2, CLIENT_REQUESTS_BYTES_MAX / 2 - 100)] {
            receive(&mut server, id, bytes);
        }
        server.rpc.shed(&mut server.journal);
        assert_eq!((server.rpc.ids(), server.lines("Closing client")), (vec![0, 1, 2], 0), "it is the limit");
        receive(&mut server, 0, 1);
        server.rpc.shed(&mut server.journal);
        assert_eq!((server.rpc.ids(), server.lines("there is no room")), (vec![0, 2], 1));
        receive(&mut server, 2, CLIENT_REQUESTS_BYTES_MAX);
        server.rpc.client(2).expect("is connected").note_request();
        server.rpc.shed(&mut server.journal);
        assert_eq!(server.rpc.ids(), [0, 2], "the whole of a request is not in the way");
    }

    #[test]
    fn slow_clients_are_told_in_turn_and_each_is_told_all_that_it_missed() {
        let mut server = Server::new("127.0.84.9");
        let _peers = [(); 3].map(|()| server.connect());
        for id in 0..3 {
            perform(
                server.rpc.client(id).expect("is connected"),
                &[HANDSHAKE, Request::Stream { kind: b"*".to_vec() }],
            );
        }
        let event = StreamEvent::Members { kind: "member-join", members: Vec::new() };
        let missed = 100;
        for _ in 0..rpc::RECORDS_MAX + missed {
            server.rpc.publish(&event, None, &mut server.journal);
        }
        let first = server.lines("Dropping event to ipc.client: ");
        assert!((60..70).contains(&first), "{first}");
        server.rpc.forget(1);
        server.rpc.tell_all_missed(&mut server.journal);
        server.journal.release(true);
        let (mut lines, mut sum) = (0, 0);
        for line in server.journal.since(0) {
            let Some((_, told)) = line.text.split_once("Dropping event to ipc.client: 127.0.0.1:") else { continue };
            let more = told.split_once(" (and ").map_or("0", |(_, more)| more.trim_end_matches(" more like it)"));
            sum += 1 + more.parse::<usize>().expect("a number");
            lines += 1;
        }
        assert_eq!(sum, 3 * missed);
        assert!(lines <= first + 3, "{lines}");
    }
}
