//! A 128-bit keyed hash over outputs: two lives that put out the same have the same.

use core::fmt::{self, Write as _};
use core::hash::Hasher as _;
use core::net::{IpAddr, SocketAddr};

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::io::{Output, StreamAction};

/// Hashes outputs as they come.
#[derive(Clone)]
pub struct OutputHash(SipHasher13);

impl OutputHash {
    /// A hash that depends on `key`.
    pub fn new(key: (u64, u64)) -> Self {
        Self(SipHasher13::new_with_keys(key.0, key.1))
    }

    /// The hash so far.
    pub fn digest(&self) -> u128 {
        self.0.finish128().as_u128()
    }

    /// Half of it.
    pub fn short(&self) -> u64 {
        self.0.finish128().h1
    }

    /// Takes in a number.
    pub fn number(&mut self, number: u64) {
        self.0.write(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.write(bytes);
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

    /// Takes in an output. Rare ones are hashed as `Debug` shows them: no field can be forgotten.
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
            Output::Resolve { .. }
            | Output::Event(_)
            | Output::Reply { .. }
            | Output::Persist { .. }
            | Output::Log(_) => {
                self.number(0x200);
                let written = write!(Words(&mut self.0), "{output:?}");
                debug_assert!(written.is_ok(), "hashing cannot fail");
            }
        }
    }
}

impl fmt::Debug for OutputHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OutputHash({:032x})", self.digest())
    }
}

struct Words<'a>(&'a mut SipHasher13);

impl fmt::Write for Words<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
