//! The client side of one connection: requests out as bytes, replies and records in.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::codec::{BodyKind, write_request};
use super::{Body, Request, texts};
use crate::msgpack::{Limits, ReadError, Reader, Value};

/// What a client reads: an agent may have many members, and is trusted more than a stranger.
const LIMITS: Limits = Limits { length: 1 << 28, depth: 16 };

/// Errors of an agent that has not looked at the command: no body follows, whatever the command.
const REFUSALS: [&str; 3] = [texts::AUTH_REQUIRED, texts::UNSUPPORTED_COMMAND, texts::HANDSHAKE_REQUIRED];

/// One connection to an agent.
#[derive(Clone, Debug, Default)]
pub struct Client {
    sent: u64,
    input: Vec<u8>,
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

    fn read(
        waiting: &BTreeMap<u64, BodyKind>,
        subscribed: &BTreeSet<u64>,
        reader: &mut Reader<'_>,
    ) -> Result<Incoming, ReadError> {
        let (mut error, mut seq) = (Vec::new(), 0);
        reader.structure(&["Error", "Seq"], |reader, field| {
            match field {
                "Error" => error = reader.text()?.to_vec(),
                _ => seq = reader.uint()?,
            }
            Ok(())
        })?;
        // A reply comes before every record of the same number.
        if let Some(kind) = waiting.get(&seq) {
            let refused = REFUSALS.iter().any(|text| error == text.as_bytes());
            let bare = refused || (!error.is_empty() && has_no_error_body(*kind));
            let kind = if bare { BodyKind::None } else { *kind };
            return Ok(Incoming::Reply { seq, error, body: kind.read(reader)? });
        }
        if subscribed.contains(&seq) {
            return Ok(Incoming::Record { seq, value: Value::read(reader)? });
        }
        Ok(Incoming::Reply { seq, error, body: Body::None })
    }
}

/// Whether an error stands alone although the command has a body otherwise (rpc.md 6).
const fn has_no_error_body(kind: BodyKind) -> bool {
    match kind {
        BodyKind::None | BodyKind::Members | BodyKind::Stats => true,
        BodyKind::Joined | BodyKind::Keys | BodyKind::Coordinate => false,
    }
}
