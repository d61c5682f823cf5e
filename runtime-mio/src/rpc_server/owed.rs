//! What clients have not read, of all of them together.

use villein_core::log::Level;

use super::{Client, RpcServer};
use crate::limits::CLIENTS_OWED_BYTES_MAX;
use crate::log_ring::Journal;
use crate::rpc_socket::Peer;

impl RpcServer {
    /// Counts what a client is owed now; while all are owed more than there is room for, the one that is owed most loses
    /// records, or goes where it has none that can be dropped.
    pub(crate) fn settle(&mut self, id: u64, journal: &mut Journal) {
        if let Some(client) = self.clients.get_mut(&id) {
            let now = client.owed_bytes();
            self.owed = self.owed.saturating_sub(client.owed).saturating_add(now);
            client.owed = now;
        }
        if self.owed > CLIENTS_OWED_BYTES_MAX {
            self.make_room_for_records(journal);
        }
    }

    fn make_room_for_records(&mut self, journal: &mut Journal) {
        // What was written since it was counted is not owed any more.
        for client in self.clients.values_mut() {
            client.owed = client.owed_bytes();
        }
        self.owed = self.clients.values().map(|client| client.owed).sum();
        while self.owed > CLIENTS_OWED_BYTES_MAX
            && let Some((&id, client)) = self.clients.iter_mut().max_by_key(|(_, client)| client.owed)
        {
            let before = client.owed;
            let dropped = client.session.drop_records(self.owed - CLIENTS_OWED_BYTES_MAX);
            client.owed = client.owed_bytes();
            client.missed += dropped.events as u64;
            client.lost_lines |= dropped.lines > 0;
            if dropped.words > 0 {
                say_dropped_words(client.peer, dropped.words as u64, journal);
            }
            self.owed -= before - client.owed;
            if client.owed < before {
                continue;
            }
            // One reply may be longer than what there is room for.
            if self.owed - client.owed <= CLIENTS_OWED_BYTES_MAX {
                return;
            }
            let problem = "there is no room for all that clients have not read";
            journal.log(Level::Warn, format_args!("agent.ipc: Closing client: {}: {problem}", client.peer));
            self.forget(id);
        }
    }
}

impl Client {
    /// Bytes that wait for it.
    pub(super) fn owed_bytes(&self) -> usize {
        self.session.owed_bytes() + self.unsent.as_ref().map_or(0, |(bytes, _)| bytes.len())
    }
}

/// Says that so many words of queries were dropped.
pub(super) fn say_dropped_words(peer: Peer, words: u64, journal: &mut Journal) {
    let place =
        (crate::log_pace::Kind::Place(std::panic::Location::caller()), crate::log_pace::Pace::of_level(Level::Warn));
    journal.log_at(place, Level::Warn, words, format_args!("agent.ipc: Dropping query record to ipc.client: {peer}"));
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HANDSHAKE, Server, perform};
    use super::*;
    use villein_core::rpc::{QueryRecord, Request, StreamEvent};

    fn subscribers(server: &mut Server, count: usize) -> Vec<std::net::TcpStream> {
        let peers = (0..count).map(|_| server.connect()).collect();
        for id in server.rpc.ids() {
            let requests = [HANDSHAKE, Request::Stream { kind: b"*".to_vec() }];
            perform(server.rpc.client(id).expect("is connected"), &requests);
        }
        peers
    }

    fn event(bytes: usize) -> StreamEvent {
        StreamEvent::User { ltime: 1, name: b"e".to_vec(), payload: Some(vec![0; bytes]), coalesce: false }
    }

    fn owed(server: &mut Server, id: u64) -> usize {
        server.rpc.client(id).expect("is connected").owed_bytes()
    }

    #[test]
    fn of_clients_that_do_not_read_those_that_are_owed_most_lose_records() {
        let mut server = Server::new("127.0.84.12");
        let _peers = subscribers(&mut server, 12);
        for _ in 0..4 {
            server.rpc.publish(&event(1 << 20), None, &mut server.journal);
        }
        let all = |server: &mut Server| server.rpc.ids().into_iter().map(|id| owed(server, id)).sum::<usize>();
        assert_eq!((server.lines("Dropping event"), all(&mut server) > 48 << 20), (0, true), "there is room");
        for _ in 0..4 {
            server.rpc.publish(&event(1 << 20), None, &mut server.journal);
        }
        let held = all(&mut server);
        assert!(held <= CLIENTS_OWED_BYTES_MAX && held > CLIENTS_OWED_BYTES_MAX - (2 << 20), "{held}");
        assert_eq!(server.rpc.owed, held);
        let told = server.lines("Dropping event to ipc.client: 127.0.0.1:");
        assert_eq!(told, 12 * 8 - held / (1 << 20), "each that is missed is told");
        let each: Vec<usize> = server.rpc.ids().into_iter().map(|id| owed(&mut server, id) >> 20).collect();
        assert!(each.iter().all(|mebibytes| (4..=7).contains(mebibytes)), "{each:?}");
        // Another one, who reads, misses nothing.
        let _peer = server.connect();
        perform(server.rpc.client(12).expect("is connected"), &[HANDSHAKE, Request::Stream { kind: b"*".to_vec() }]);
        server.rpc.publish(&event(100), None, &mut server.journal);
        assert!(server.rpc.client(12).expect("is connected").session.has_output());
        assert_eq!(server.rpc.ids().len(), 13);
    }

    #[test]
    fn a_client_that_is_owed_most_in_what_cannot_be_dropped_must_go_unless_it_alone_is() {
        let mut server = Server::new("127.0.84.13");
        let _peers = subscribers(&mut server, 3);
        let unsent = |server: &mut Server, id, bytes| {
            server.rpc.client(id).expect("is connected").unsent = Some((vec![0; bytes], 0));
            server.rpc.settle(id, &mut server.journal);
        };
        unsent(&mut server, 0, CLIENTS_OWED_BYTES_MAX + 1);
        assert_eq!(server.rpc.ids(), [0, 1, 2], "one may be longer");
        unsent(&mut server, 1, CLIENTS_OWED_BYTES_MAX);
        assert_eq!((server.rpc.ids(), server.lines("Closing client")), (vec![0, 1, 2], 0), "it is the limit");
        unsent(&mut server, 2, 1);
        assert_eq!((server.rpc.ids(), server.lines("have not read")), (vec![1, 2], 1));
        assert_eq!(server.rpc.owed, CLIENTS_OWED_BYTES_MAX + 1);
    }

    #[test]
    fn ends_of_queries_are_not_dropped_and_words_are_said_to_be() {
        let mut server = Server::new("127.0.84.14");
        let _peers = subscribers(&mut server, 2);
        let word = QueryRecord::Response { from: b"n1".to_vec(), payload: Some(vec![b'x'; 1 << 20]) };
        server.rpc.query_record(0, 7, &word, &mut server.journal);
        server.rpc.query_record(0, 7, &QueryRecord::Done, &mut server.journal);
        server.rpc.client(1).expect("is connected").unsent = Some((vec![0; 1 << 19], 0));
        let client = server.rpc.client(0).expect("is connected");
        let before = client.session.owed_bytes();
        let dropped = client.session.drop_records(1);
        assert_eq!((dropped.words, dropped.events, dropped.lines), (1, 0, 0));
        assert!(client.session.owed_bytes() < before - (1 << 20));
        assert_eq!(client.session.drop_records(1).words, 0);
        assert!(client.session.next_output().is_some() && client.session.next_output().is_none());
    }
}
