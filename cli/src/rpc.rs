//! The connection of a command to an agent: blocking, one request at a time, records in between.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::time::Duration;

use villein_core::msgpack::Value;
use villein_core::rpc::{self, Body, Coordinate, Incoming, KeyOperation, KeyReport, Member, Pairs, Request, Stats};
use villein_runtime_mio::connect_unix;

use crate::go;
use crate::token::TokenFile;

/// Longest time that connecting may take, or that a request may wait for room in the connection. Answers may take any
/// time: a join or a leave is answered when it is done.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where an agent listens that was not told otherwise.
const ADDRESS: &str = "127.0.0.1:7373";

/// Bytes taken from the connection at once; the answer about a thousand members comes in few steps.
const READ_BYTES: usize = 64 * 1024;

/// Records that may come before the reply that is awaited, and bytes of them. An agent holds back fewer.
const RECORDS_WAITING_MAX: usize = 4_096;
const RECORDS_WAITING_BYTES_MAX: usize = 4 << 20;

/// Where the agent is, and how to be let in.
#[derive(Debug, clap::Args)]
pub(crate) struct RpcArgs {
    /// RPC address of the agent, HOST:PORT or unix:PATH. By default what SERF_RPC_ADDR holds, else 127.0.0.1:7373.
    #[arg(long, value_name = "ADDR")]
    rpc_addr: Option<String>,
    /// Token that the agent asks for; here every user of this host can see it. By default what SERF_RPC_AUTH holds, else
    /// what the file holds that SERF_RPC_AUTH_FILE names, else none.
    #[arg(long, value_name = "TOKEN")]
    rpc_auth: Option<OsString>,
}

impl RpcArgs {
    /// A flag wins over the environment, even when it is empty; an empty variable counts as unset.
    fn address(&self) -> String {
        let text = |value: OsString| value.to_string_lossy().into_owned();
        let address = || variable("SERF_RPC_ADDR").map_or_else(|| ADDRESS.into(), text);
        self.rpc_addr.clone().unwrap_or_else(address)
    }

    /// The token, where there is one. The error is the command's whole sentence.
    fn token(&self) -> Result<Option<Vec<u8>>, String> {
        if let Some(token) = self.rpc_auth.clone().or_else(|| variable("SERF_RPC_AUTH")) {
            return Ok(Some(token.into_encoded_bytes()).filter(|token| !token.is_empty()));
        }
        let path = variable("SERF_RPC_AUTH_FILE");
        path.map(|path| TokenFile::read(Path::new(&path)).map(|file| file.token)).transpose()
    }
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RpcError {
    /// The agent says why.
    Refused(Vec<u8>),
    /// The agent closed the connection, or what it sent is not the protocol.
    Closed,
    /// The agent sends records without an end where it owes a reply.
    Flooded,
    /// The request could not be sent.
    Unsent(String),
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) => f.write_str(&String::from_utf8_lossy(text)),
            Self::Closed => f.write_str("client closed"),
            Self::Flooded => {
                write!(
                    f,
                    "more than {RECORDS_WAITING_MAX} records or {RECORDS_WAITING_BYTES_MAX} bytes before the reply"
                )
            }
            Self::Unsent(text) => f.write_str(text),
        }
    }
}

/// What comes without being asked for, again and again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    /// A line of the agent's log.
    Log(Vec<u8>),
    /// The fields of an event.
    Event(Vec<(Value, Value)>),
}

/// What a member says on a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// That it has got it.
    Ack {
        /// Who says so.
        from: Vec<u8>,
    },
    /// An answer.
    Response {
        /// Who gives it.
        from: Vec<u8>,
        /// What it says.
        payload: Vec<u8>,
    },
}

/// A connection, over a port or over a socket file.
trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// Connects to `host:port` or `unix:PATH`; the error is the text that Go's `net.Dial` gives.
fn dial(address: &str) -> Result<Box<dyn Stream>, String> {
    let set_up = |result: io::Result<()>| result.map_err(|error| go::os_error(&error));
    if let Some(path) = address.strip_prefix("unix:") {
        let failed = |error: io::Error| {
            let call = if error.kind() == ErrorKind::WouldBlock { "" } else { "connect: " };
            format!("dial unix {path}: {call}{}", go::os_error(&error))
        };
        return Ok(Box::new(connect_unix(Path::new(path), TIMEOUT).map_err(failed)?));
    }
    let agent = go::net::dial_tcp(address, TIMEOUT)?;
    set_up(agent.set_write_timeout(Some(TIMEOUT)).and_then(|()| agent.set_nodelay(true)))?;
    Ok(Box::new(agent))
}

/// An agent that has let us in.
pub(crate) struct Client {
    agent: Box<dyn Stream>,
    protocol: rpc::Client,
    /// Whose records are log lines; all others are events.
    monitor_seq: Option<u64>,
    /// Records that came while a reply was awaited.
    waiting: VecDeque<(u64, Value)>,
    /// Bytes that have come since the last request.
    came: usize,
}

impl Client {
    fn new(agent: Box<dyn Stream>) -> Self {
        Self { agent, protocol: rpc::Client::new(), monitor_seq: None, waiting: VecDeque::new(), came: 0 }
    }

    /// Connects, shakes hands and authenticates. The error is the command's whole sentence.
    pub(crate) fn connect(args: &RpcArgs) -> Result<Self, String> {
        let failed = |error: &dyn fmt::Display| format!("Error connecting to Serf agent: {error}");
        let token = args.token()?;
        let agent = dial(&args.address()).map_err(|error| failed(&error))?;
        let mut client = Self::new(agent);
        client.ask(&Request::Handshake { version: rpc::VERSION }).map_err(|error| failed(&error))?;
        if let Some(key) = token {
            client.ask(&Request::Auth { key }).map_err(|error| failed(&error))?;
        }
        Ok(client)
    }

    /// The members that match: texts are regular expressions, which the agent evaluates; an empty status or name
    /// matches all. `encodings`: whether what each understands is wanted too, which only our agents tell.
    pub(crate) fn members_filtered(
        &mut self,
        tags: BTreeMap<Vec<u8>, Vec<u8>>,
        status: Vec<u8>,
        name: Vec<u8>,
        encodings: bool,
    ) -> Result<Vec<Member>, RpcError> {
        let tags = tags.into_iter().collect();
        self.ask_members(&Request::MembersFiltered { tags, status, name, encodings })
    }

    /// All members.
    pub(crate) fn members(&mut self) -> Result<Vec<Member>, RpcError> {
        self.ask_members(&Request::Members)
    }

    fn ask_members(&mut self, request: &Request) -> Result<Vec<Member>, RpcError> {
        match self.ask(request)? {
            Body::Members(members) => Ok(members),
            Body::None | Body::Joined(_) | Body::Stats(_) | Body::Keys(_) | Body::Coordinate(_) => {
                Err(RpcError::Closed)
            }
        }
    }

    /// What the agent tells of itself, by section.
    pub(crate) fn stats(&mut self) -> Result<Stats, RpcError> {
        match self.ask(&Request::Stats)? {
            Body::Stats(stats) => Ok(stats),
            Body::None | Body::Joined(_) | Body::Members(_) | Body::Keys(_) | Body::Coordinate(_) => {
                Err(RpcError::Closed)
            }
        }
    }

    /// Joins through the given addresses; how many were contacted.
    pub(crate) fn join(&mut self, existing: Vec<Vec<u8>>, replay: bool) -> Result<i64, RpcError> {
        match self.ask(&Request::Join { existing, replay })? {
            Body::Joined(contacted) => Ok(contacted),
            Body::None | Body::Members(_) | Body::Stats(_) | Body::Keys(_) | Body::Coordinate(_) => {
                Err(RpcError::Closed)
            }
        }
    }

    /// Returns when the agent has left its cluster.
    pub(crate) fn leave(&mut self) -> Result<(), RpcError> {
        self.ask(&Request::Leave).map(drop)
    }

    /// Turns a failed member into one that has left.
    pub(crate) fn force_leave(&mut self, node: Vec<u8>, prune: bool) -> Result<(), RpcError> {
        self.ask(&Request::ForceLeave { node, prune }).map(drop)
    }

    /// Subscribes to all events.
    pub(crate) fn stream(&mut self) -> Result<(), RpcError> {
        self.ask(&Request::Stream { kind: b"*".to_vec() }).map(drop)
    }

    /// Subscribes to the agent's log.
    pub(crate) fn monitor(&mut self, level: Vec<u8>) -> Result<(), RpcError> {
        let seq = self.send(&Request::Monitor { level })?;
        self.monitor_seq = Some(seq);
        self.reply(seq).map(drop)
    }

    /// Sends a user event.
    pub(crate) fn event(&mut self, name: Vec<u8>, payload: Option<Vec<u8>>, coalesce: bool) -> Result<(), RpcError> {
        self.ask(&Request::Event { name, payload, coalesce }).map(drop)
    }

    /// Changes the agent's tags.
    pub(crate) fn tags(&mut self, tags: Pairs, delete: Vec<Vec<u8>>) -> Result<(), RpcError> {
        self.ask(&Request::Tags { tags, delete }).map(drop)
    }

    /// Does something with the keys of all members: why it is no success, if it is none, and what the members say.
    pub(crate) fn keys(&mut self, operation: KeyOperation, key: Vec<u8>) -> Result<(Vec<u8>, KeyReport), RpcError> {
        let seq = self.send(&Request::Key { operation, key })?;
        match self.whole_reply(seq)? {
            (error, Body::Keys(report)) => Ok((error, report)),
            (error, _) if !error.is_empty() => Err(RpcError::Refused(error)),
            (_, _) => Err(RpcError::Closed),
        }
    }

    /// Where a member is in the network, if it is known.
    pub(crate) fn coordinate(&mut self, node: Vec<u8>) -> Result<Option<Coordinate>, RpcError> {
        match self.ask(&Request::GetCoordinate { node })? {
            Body::Coordinate(coordinate) => Ok(coordinate),
            Body::None | Body::Joined(_) | Body::Members(_) | Body::Stats(_) | Body::Keys(_) => Err(RpcError::Closed),
        }
    }

    /// Asks the cluster; [`Client::next_word`] tells what it says.
    pub(crate) fn query(&mut self, query: rpc::Query) -> Result<(), RpcError> {
        self.ask(&Request::Query(query)).map(drop)
    }

    /// The next word on the query; `None` when it is over or the agent is gone. A word of nobody ends it too.
    pub(crate) fn next_word(&mut self) -> Option<Word> {
        loop {
            let (_, record) = self.next_value()?;
            let bytes = |field| match record.get(field) {
                Some(Value::Text(bytes) | Value::Blob(bytes)) => bytes.clone(),
                Some(_) | None => Vec::new(),
            };
            let word = match &bytes("Type")[..] {
                b"ack" => Word::Ack { from: bytes("From") },
                b"response" => Word::Response { from: bytes("From"), payload: bytes("Payload") },
                b"done" => return None,
                // Said by an agent that knows more than we do.
                _ => continue,
            };
            let (Word::Ack { from } | Word::Response { from, .. }) = &word;
            return (!from.is_empty()).then_some(word);
        }
    }

    /// The next event or log line; `None` when the agent is gone.
    pub(crate) fn next_record(&mut self) -> Option<Record> {
        let (seq, value) = self.next_value()?;
        if self.monitor_seq == Some(seq) {
            return match value.get("Log") {
                Some(Value::Text(line) | Value::Blob(line)) => Some(Record::Log(line.clone())),
                Some(_) | None => None,
            };
        }
        match value {
            Value::Map(fields) => Some(Record::Event(fields)),
            Value::Nil
            | Value::Bool(_)
            | Value::Uint(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Blob(_)
            | Value::Array(_) => None,
        }
    }

    /// The next record; `None` when the agent is gone.
    fn next_value(&mut self) -> Option<(u64, Value)> {
        if let Some(waiting) = self.waiting.pop_front() {
            return Some(waiting);
        }
        loop {
            match self.incoming().ok()? {
                Incoming::Record { seq, value } => return Some((seq, value)),
                // The reply to a request that is over; there is nobody to hand it to.
                Incoming::Reply { .. } => {}
            }
        }
    }

    /// Sends a request and waits for its reply, however long that takes.
    fn ask(&mut self, request: &Request) -> Result<Body, RpcError> {
        let seq = self.send(request)?;
        self.reply(seq)
    }

    fn send(&mut self, request: &Request) -> Result<u64, RpcError> {
        self.came = 0;
        let (seq, bytes) = self.protocol.request(request);
        self.agent.write_all(&bytes).map_err(|error| RpcError::Unsent(go::os_error(&error)))?;
        Ok(seq)
    }

    fn reply(&mut self, wanted: u64) -> Result<Body, RpcError> {
        let (error, body) = self.whole_reply(wanted)?;
        if error.is_empty() { Ok(body) } else { Err(RpcError::Refused(error)) }
    }

    /// The error, empty for none, and the body, which some commands have in either case.
    fn whole_reply(&mut self, wanted: u64) -> Result<(Vec<u8>, Body), RpcError> {
        loop {
            match self.incoming()? {
                Incoming::Reply { seq, error, body } if seq == wanted => return Ok((error, body)),
                // An agent that wants a token sends the header of a refusal twice.
                Incoming::Reply { .. } => {}
                Incoming::Record { seq, value } => {
                    // What has come so far is these records, but for what was read behind the last one.
                    if self.waiting.len() >= RECORDS_WAITING_MAX || self.came > RECORDS_WAITING_BYTES_MAX + READ_BYTES {
                        return Err(RpcError::Flooded);
                    }
                    self.waiting.push_back((seq, value));
                }
            }
        }
    }

    /// Reads until something has come whole.
    fn incoming(&mut self) -> Result<Incoming, RpcError> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if let Some(incoming) = self.protocol.next_incoming().map_err(|_| RpcError::Closed)? {
                return Ok(incoming);
            }
            match self.agent.read(&mut buffer) {
                Ok(0) => return Err(RpcError::Closed),
                Ok(came) => {
                    self.came = self.came.saturating_add(came);
                    self.protocol.receive(&buffer[..came]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(RpcError::Closed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// An agent that says what it says, whatever it is told.
    struct Told(Cursor<Vec<u8>>);

    impl Read for Told {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn header(seq: u8) -> Vec<u8> {
        [&b"\x82\xa5Error\xa0\xa3Seq"[..], &[seq]].concat()
    }

    /// A monitor whose reply comes behind so many records of that many bytes.
    fn monitor(records: usize, bytes: usize) -> (Result<(), RpcError>, Client) {
        let text = [&b"\x81\xa3Log\xdb"[..], &u32::try_from(bytes).unwrap().to_be_bytes(), &vec![b'x'; bytes]].concat();
        let record = [header(1), text].concat();
        let said = [header(1), record.repeat(records), header(2)].concat();
        let mut client = Client::new(Box::new(Told(Cursor::new(said))));
        client.stream().unwrap();
        (client.monitor(b"info".to_vec()), client)
    }

    #[test]
    fn records_before_a_reply_are_kept_up_to_a_bound() {
        let (monitored, mut client) = monitor(RECORDS_WAITING_MAX, 1);
        assert_eq!(monitored, Ok(()));
        let mut records = 0;
        while let Some(Record::Event(_)) = client.next_record() {
            records += 1;
        }
        assert_eq!(records, RECORDS_WAITING_MAX);
        assert_eq!(monitor(RECORDS_WAITING_MAX + 1, 1).0, Err(RpcError::Flooded));
    }

    #[test]
    fn records_before_a_reply_are_bounded_in_bytes_too() {
        let bytes = 1 << 19;
        assert_eq!(monitor(RECORDS_WAITING_BYTES_MAX / bytes, bytes).0, Ok(()));
        assert_eq!(monitor(RECORDS_WAITING_BYTES_MAX / bytes + 2, bytes).0, Err(RpcError::Flooded));
    }
}
