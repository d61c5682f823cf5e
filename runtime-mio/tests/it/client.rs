//! An RPC client that writes and reads bytes itself, so that the server is not tested with its own codec.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A MessagePack value; bytes and text are one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Nil,
    Bool(bool),
    Int(u64),
    /// A number with a fraction, by its bits.
    Float(u64),
    Text(Vec<u8>),
    List(Vec<Self>),
    Map(BTreeMap<Vec<u8>, Self>),
}

impl Value {
    pub(crate) fn field(&self, key: &str) -> &Self {
        match self {
            Self::Map(map) => map.get(key.as_bytes()).unwrap_or(&Self::Nil),
            other => panic!("{other:?} has no fields"),
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => panic!("{other:?} is no text"),
        }
    }

    pub(crate) fn int(&self) -> u64 {
        match self {
            Self::Int(number) => *number,
            other => panic!("{other:?} is no number"),
        }
    }

    pub(crate) fn list(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            Self::Nil => &[],
            other => panic!("{other:?} is no list"),
        }
    }
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.as_bytes().to_vec())
}

pub(crate) fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Map(fields.into_iter().map(|(key, value)| (key.as_bytes().to_vec(), value)).collect())
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    let len16 = |len: usize| u16::try_from(len).expect("is short").to_be_bytes();
    match value {
        Value::Nil => out.push(0xc0),
        Value::Bool(set) => out.push(if *set { 0xc3 } else { 0xc2 }),
        Value::Int(number) => {
            out.push(0xcf);
            out.extend(number.to_be_bytes());
        }
        Value::Float(bits) => {
            out.push(0xcb);
            out.extend(bits.to_be_bytes());
        }
        Value::Text(text) => {
            out.push(0xda);
            out.extend(len16(text.len()));
            out.extend(text);
        }
        Value::List(list) => {
            out.push(0xdc);
            out.extend(len16(list.len()));
            list.iter().for_each(|item| encode(item, out));
        }
        Value::Map(map) => {
            out.push(0xde);
            out.extend(len16(map.len()));
            for (key, value) in map {
                encode(&Value::Text(key.clone()), out);
                encode(value, out);
            }
        }
    }
}

/// Reads one value from a byte source.
fn decode(next: &mut dyn FnMut(usize) -> Option<Vec<u8>>) -> Option<Value> {
    let lead = next(1)?[0];
    let mut uint = |bytes: usize| next(bytes).map(|raw| raw.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    let count = |number: u64| usize::try_from(number).expect("fits");
    let (kind, len) = match lead {
        0..=0x7f => return Some(Value::Int(u64::from(lead))),
        0xc0 => return Some(Value::Nil),
        0xc2 | 0xc3 => return Some(Value::Bool(lead == 0xc3)),
        0xcb => return uint(8).map(Value::Float),
        0xcc => return uint(1).map(Value::Int),
        0xcd => return uint(2).map(Value::Int),
        0xce => return uint(4).map(Value::Int),
        0xcf => return uint(8).map(Value::Int),
        0x80..=0x8f => ('m', usize::from(lead & 0xf)),
        0x90..=0x9f => ('l', usize::from(lead & 0xf)),
        0xa0..=0xbf => ('t', usize::from(lead & 0x1f)),
        0xc4 | 0xd9 => ('t', count(uint(1)?)),
        0xc5 | 0xda => ('t', count(uint(2)?)),
        0xc6 | 0xdb => ('t', count(uint(4)?)),
        0xdc => ('l', count(uint(2)?)),
        0xdd => ('l', count(uint(4)?)),
        0xde => ('m', count(uint(2)?)),
        0xdf => ('m', count(uint(4)?)),
        other => panic!("unexpected byte {other:#x}"),
    };
    match kind {
        't' => next(len).map(Value::Text),
        'l' => (0..len).map(|_| decode(next)).collect::<Option<_>>().map(Value::List),
        _ => (0..len)
            .map(|_| match decode(next)? {
                Value::Text(key) => Some((key, decode(next)?)),
                other => panic!("{other:?} as a key"),
            })
            .collect::<Option<_>>()
            .map(Value::Map),
    }
}

pub(crate) struct Client {
    stream: TcpStream,
    seq: u64,
}

impl Client {
    /// Connects without a handshake.
    pub(crate) fn raw(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("the agent listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("is set");
        Self { stream, seq: 0 }
    }

    /// Connects and shakes hands.
    pub(crate) fn new(addr: SocketAddr) -> Self {
        let mut client = Self::raw(addr);
        assert_eq!(client.call("handshake", Some(map([("Version", Value::Int(1))]))), "");
        client
    }

    pub(crate) fn send(&mut self, command: &str, body: Option<Value>) -> u64 {
        let seq = self.seq;
        self.seq += 1;
        let mut bytes = Vec::new();
        encode(&map([("Command", text(command)), ("Seq", Value::Int(seq))]), &mut bytes);
        if let Some(body) = body {
            encode(&body, &mut bytes);
        }
        self.stream.write_all(&bytes).expect("is sent");
        seq
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("is sent");
    }

    /// Another hand on the same connection.
    pub(crate) fn sender(&mut self) -> Self {
        Self { stream: self.stream.try_clone().expect("is cloned"), seq: self.seq }
    }

    /// Sends a command many times and reads nothing; ends early when the connection does.
    pub(crate) fn flood(&mut self, command: &str, times: u64) {
        let mut bytes = Vec::new();
        for seq in 0..times {
            bytes.clear();
            encode(&map([("Command", text(command)), ("Seq", Value::Int(seq))]), &mut bytes);
            if self.stream.write_all(&bytes).is_err() {
                return;
            }
        }
    }

    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("is closed");
    }

    /// The next value; `None` at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let stream = &mut self.stream;
        decode(&mut |len| {
            let mut bytes = vec![0; len];
            match stream.read_exact(&mut bytes) {
                Ok(()) => Some(bytes),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer in time"),
                Err(_) => None,
            }
        })
    }

    /// The error of the next header, which must be for `seq`.
    pub(crate) fn header(&mut self, seq: u64) -> String {
        let header = self.next().expect("a header");
        assert_eq!(header.field("Seq").int(), seq, "{header:?}");
        header.field("Error").text()
    }

    /// Sends a command and reads its header.
    pub(crate) fn call(&mut self, command: &str, body: Option<Value>) -> String {
        let seq = self.send(command, body);
        self.header(seq)
    }

    /// Sends a command that must succeed and reads its body.
    pub(crate) fn ask(&mut self, command: &str, body: Option<Value>) -> Value {
        assert_eq!(self.call(command, body), "", "{command}");
        self.next().expect("a body")
    }

    /// Name and status of every member.
    pub(crate) fn members(&mut self) -> Vec<(String, String)> {
        let body = self.ask("members", None);
        let members = body.field("Members").list().iter();
        members.map(|member| (member.field("Name").text(), member.field("Status").text())).collect()
    }
}
