//! A 128-bit keyed hash over outputs: two lives that put out the same have the same.

use alloc::vec::Vec;
use core::fmt;
use core::hash::Hasher as _;
use core::net::{IpAddr, SocketAddr};

use serde::Serialize;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::io::{Output, StreamAction};

/// Hashes outputs as they come.
#[derive(Clone)]
pub struct OutputHash {
    hasher: SipHasher13,
    scratch: Vec<u8>,
}

impl OutputHash {
    /// A hash that depends on `key`.
    pub fn new(key: (u64, u64)) -> Self {
        Self { hasher: SipHasher13::new_with_keys(key.0, key.1), scratch: Vec::new() }
    }

    /// The hash so far.
    pub fn digest(&self) -> u128 {
        self.hasher.finish128().as_u128()
    }

    /// Half of it.
    pub fn short(&self) -> u64 {
        self.hasher.finish128().h1
    }

    /// Takes in a number.
    pub fn number(&mut self, number: u64) {
        self.hasher.write(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.hasher.write(bytes);
    }

    fn addr(&mut self, addr: SocketAddr) {
        match addr.ip() {
            IpAddr::V4(ip) => self.bytes(&ip.octets()),
            IpAddr::V6(ip) => self.bytes(&ip.octets()),
        }
        self.number(u64::from(addr.port()));
        if let SocketAddr::V6(addr) = addr {
            self.number(u64::from(addr.flowinfo()));
            self.number(u64::from(addr.scope_id()));
        }
    }

    /// Takes in an output.
    pub fn output(&mut self, output: &Output) {
        match output {
            Output::Datagram { activity, to, bytes } => {
                self.number(*activity as u64);
                self.addr(*to);
                self.bytes(bytes);
            }
            Output::Stream { activity, id, action } => {
                self.number((*activity as u64).wrapping_add(0x100));
                self.number(id.0);
                match action {
                    StreamAction::Connect(to) => self.addr(*to),
                    StreamAction::Write(bytes) => self.bytes(bytes),
                    StreamAction::Finish => self.number(1),
                    StreamAction::Abort => self.number(2),
                }
            }
            Output::Resolve { id, host } => self.tagged(0x200, &(id, host)),
            Output::Event(event) => self.tagged(0x201, event),
            Output::Reply { id, reply } => self.tagged(0x202, &(id, reply)),
            Output::Persist { id, record } => self.tagged(0x203, &(id, record)),
            Output::Log(log) => self.tagged(0x204, log),
        }
    }

    /// What has no bytes of its own is hashed as postcard writes it: no field can be forgotten.
    fn tagged(&mut self, tag: u64, value: &impl Serialize) {
        self.number(tag);
        let mut scratch = core::mem::take(&mut self.scratch);
        scratch.clear();
        let written = postcard::to_extend(value, scratch);
        debug_assert!(written.is_ok(), "all lengths are known");
        let scratch = written.unwrap_or_default();
        self.bytes(&scratch);
        self.scratch = scratch;
    }
}

impl fmt::Debug for OutputHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OutputHash({:032x})", self.digest())
    }
}
