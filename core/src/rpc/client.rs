//! The client side of one connection: requests out as bytes, replies and records in.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::codec::{BodyKind, write_request};
use super::{Body, Request, texts};
use crate::msgpack::{Limits, ReadError, Reader, Scan, Value};

/// What a client reads: an agent may have many members, and is trusted more than a stranger.
const LIMITS: Limits = Limits { length: 1 << 28, depth: 16 };

/// Errors of an agent that has not looked at the command: no body follows, whatever the command.
const REFUSALS: [&str; 3] = [texts::AUTH_REQUIRED, texts::UNSUPPORTED_COMMAND, texts::HANDSHAKE_REQUIRED];

/// One connection to an agent.
#[derive(Clone, Debug, Default)]
pub struct Client {
    sent: u64,
    input: Vec<u8>,
    /// How far the header at the front of `input` has been looked through, or what follows it.
    scan: Scan,
    /// Bytes of a header that is whole, if something follows it.
    header: Option<usize>,
    /// The body that each unanswered request waits for, by its number.
    waiting: BTreeMap<u64, BodyKind>,
    /// Requests whose records follow their reply.
    subscribed: BTreeSet<u64>,
}

/// Something that an agent has sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// The answer to a request.
    Reply {
        /// The request's number.
        seq: u64,
        /// Empty: success.
        error: Vec<u8>,
        /// What followed the header.
        body: Body,
    },
    /// A record of a stream, a monitor or a query.
    Record {
        /// The number of the request that asked for it.
        seq: u64,
        /// The record, in whatever fields it has.
        value: Value,
    },
}

impl Client {
    /// Makes a client that has sent nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Numbers a request and returns its number and its bytes.
    pub fn request(&mut self, request: &Request) -> (u64, Vec<u8>) {
        self.sent = self.sent.saturating_add(1);
        self.waiting.insert(self.sent, BodyKind::of(request));
        if matches!(request, Request::Stream { .. } | Request::Monitor { .. } | Request::Query(_)) {
            self.subscribed.insert(self.sent);
        }
        (self.sent, write_request(self.sent, request))
    }

    /// Takes bytes of the agent in.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next reply or record that has come whole.
    ///
    /// # Errors
    /// The agent's bytes are none.
    pub fn next_incoming(&mut self) -> Result<Option<Incoming>, ReadError> {
        if !self.is_whole()? {
            return Ok(None);
        }
        let mut reader = Reader::new(&self.input, LIMITS);
        match Self::read(&self.waiting, &self.subscribed, &mut reader) {
            Ok(incoming) => {
                let bytes = reader.position();
                self.input.drain(..bytes.min(self.input.len()));
                if let Incoming::Reply { seq, error, .. } = &incoming {
                    self.waiting.remove(seq);
                    if !error.is_empty() {
                        self.subscribed.remove(seq);
                    }
                }
                Ok(Some(incoming))
            }
            Err(ReadError::Incomplete) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether all of the next reply or record is there. A long one comes in many pieces: each byte is looked at once until
    /// then, and only read when it is whole.
    fn is_whole(&mut self) -> Result<bool, ReadError> {
        let mut begin = self.header.unwrap_or(0);
        loop {
            match self.scan.end(self.input.get(begin..).unwrap_or_default(), LIMITS) {
                Ok(_) => self.scan = Scan::NEW,
                Err(ReadError::Incomplete) => return Ok(false),
                Err(error @ ReadError::Invalid(_)) => return Err(error),
            }
            if self.header.take().is_some() {
                return Ok(true);
            }
            let mut reader = Reader::new(&self.input, LIMITS);
            let (seq, error) = read_header(&mut reader)?;
            match Self::follows(&self.waiting, &self.subscribed, seq, &error) {
                Follows::Body(BodyKind::None) => return Ok(true),
                Follows::Body(_) | Follows::Record => begin = *self.header.insert(reader.position()),
            }
        }
    }

    fn read(
        waiting: &BTreeMap<u64, BodyKind>,
        subscribed: &BTreeSet<u64>,
        reader: &mut Reader<'_>,
    ) -> Result<Incoming, ReadError> {
        let (seq, error) = read_header(reader)?;
        Ok(match Self::follows(waiting, subscribed, seq, &error) {
            Follows::Body(kind) => Incoming::Reply { seq, error, body: kind.read(reader)? },
            Follows::Record => Incoming::Record { seq, value: Value::read(reader)? },
        })
    }

    fn follows(waiting: &BTreeMap<u64, BodyKind>, subscribed: &BTreeSet<u64>, seq: u64, error: &[u8]) -> Follows {
        // A reply comes before every record of the same number.
        match waiting.get(&seq) {
            Some(_) if REFUSALS.iter().any(|text| error == text.as_bytes()) => Follows::Body(BodyKind::None),
            Some(kind) if !error.is_empty() && has_no_error_body(*kind) => Follows::Body(BodyKind::None),
            Some(kind) => Follows::Body(*kind),
            None if subscribed.contains(&seq) => Follows::Record,
            None => Follows::Body(BodyKind::None),
        }
    }
}

/// What follows a header.
enum Follows {
    Body(BodyKind),
    Record,
}

/// Reads the number of a reply or record, and the error.
fn read_header(reader: &mut Reader<'_>) -> Result<(u64, Vec<u8>), ReadError> {
    let (mut seq, mut error) = (0, Vec::new());
    reader.structure(&["Error", "Seq"], |reader, field| {
        match field {
            "Error" => error = reader.text()?.to_vec(),
            _ => seq = reader.uint()?,
        }
        Ok(())
    })?;
    Ok((seq, error))
}

/// Whether an error stands alone although the command has a body otherwise (rpc.md 6).
const fn has_no_error_body(kind: BodyKind) -> bool {
    match kind {
        BodyKind::None | BodyKind::Members | BodyKind::Stats => true,
        BodyKind::Joined | BodyKind::Keys | BodyKind::Coordinate => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack::{Dialect, Writer};

    #[test]
    fn of_a_long_reply_that_comes_in_pieces_each_byte_is_looked_at_once() {
        let mut client = Client::new();
        let (seq, _) = client.request(&Request::Stats);
        let mut writer = Writer::new(Dialect::Rpc);
        writer.map(2).text("Error").text("").text("Seq").uint(seq);
        let header = writer.finish();
        let mut writer = Writer::new(Dialect::Rpc);
        writer.map(1).text("agent").map(3_000);
        for number in 0_u32..3_000 {
            writer.text(alloc::format!("key {number}")).text("value");
        }
        let bytes = [header.clone(), writer.finish()].concat();
        let (most, last) = bytes.split_at(bytes.len() - 1);
        let mut came = 0_usize;
        for piece in most.chunks(1_000) {
            client.receive(piece);
            came += piece.len();
            assert_eq!(client.next_incoming(), Ok(None));
            assert_eq!((client.header, client.scan.position()), (Some(header.len()), came - header.len()));
        }
        client.receive(last);
        let Ok(Some(Incoming::Reply { body: Body::Stats(stats), .. })) = client.next_incoming() else {
            panic!("the reply is whole")
        };
        assert_eq!((stats.len(), client.input.len(), client.header), (1, 0, None));
    }
}
