//! A stimulus as it is recorded. Addresses are written field by field: serde's own form loses an IPv6 scope.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::io::{
    Activity, PersistError, PersistId, RequestId, ResolveError, ResolveId, Stimulus, StreamError, StreamEvent, StreamId,
};

/// An address with all its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Addr {
    /// Address and port.
    V4([u8; 4], u16),
    /// Address, port, flow label and scope.
    V6([u8; 16], u16, u32, u32),
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Self {
        match addr {
            SocketAddr::V4(addr) => Self::V4(addr.ip().octets(), addr.port()),
            SocketAddr::V6(addr) => Self::V6(addr.ip().octets(), addr.port(), addr.flowinfo(), addr.scope_id()),
        }
    }
}

impl From<Addr> for SocketAddr {
    fn from(addr: Addr) -> Self {
        match addr {
            Addr::V4(ip, port) => Self::V4(SocketAddrV4::new(Ipv4Addr::from(ip), port)),
            Addr::V6(ip, port, flow, scope) => Self::V6(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope)),
        }
    }
}

/// A [`Stimulus`] as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the variants and fields are those of Stimulus")]
pub enum Recorded<'a> {
    Tick,
    Datagram { from: Addr, bytes: &'a [u8] },
    SendFailed { to: Addr, activity: Activity },
    Accepted { id: StreamId, from: Addr },
    Connected { id: StreamId },
    Bytes { id: StreamId, bytes: &'a [u8] },
    Closed { id: StreamId },
    Failed { id: StreamId, error: StreamError },
    Resolved { id: ResolveId, result: Result<Vec<Addr>, ResolveError> },
    Persisted { id: PersistId, result: Result<(), PersistError> },
    Stalled { activity: Activity },
    Resumed { activity: Activity },
    Entropy { bytes: [u8; 32] },
    Command { id: RequestId, command: Cow<'a, Command> },
}

impl<'a> Recorded<'a> {
    /// What is recorded of a stimulus.
    pub fn of(stimulus: &'a Stimulus<'_>) -> Self {
        match stimulus {
            Stimulus::Tick => Self::Tick,
            Stimulus::Datagram { from, bytes } => Self::Datagram { from: (*from).into(), bytes },
            Stimulus::SendFailed { to, activity } => Self::SendFailed { to: (*to).into(), activity: *activity },
            Stimulus::Stream { id, event } => match event {
                StreamEvent::Accepted { from } => Self::Accepted { id: *id, from: (*from).into() },
                StreamEvent::Connected => Self::Connected { id: *id },
                StreamEvent::Bytes(bytes) => Self::Bytes { id: *id, bytes },
                StreamEvent::Closed => Self::Closed { id: *id },
                StreamEvent::Failed(error) => Self::Failed { id: *id, error: *error },
            },
            Stimulus::Resolved { id, result } => {
                let result = result.as_ref().map(|addrs| addrs.iter().map(|addr| Addr::from(*addr)).collect());
                Self::Resolved { id: *id, result: result.map_err(Clone::clone) }
            }
            Stimulus::Persisted { id, result } => Self::Persisted { id: *id, result: result.clone() },
            Stimulus::Stalled { activity } => Self::Stalled { activity: *activity },
            Stimulus::Resumed { activity } => Self::Resumed { activity: *activity },
            Stimulus::Entropy { bytes } => Self::Entropy { bytes: *bytes },
            Stimulus::Command { id, command } => Self::Command { id: *id, command: Cow::Borrowed(command) },
        }
    }

    /// The stimulus that was recorded.
    pub fn stimulus(&self) -> Stimulus<'a> {
        let stream = |id: &StreamId, event| Stimulus::Stream { id: *id, event };
        match self {
            Self::Tick => Stimulus::Tick,
            Self::Datagram { from, bytes } => Stimulus::Datagram { from: (*from).into(), bytes },
            Self::SendFailed { to, activity } => Stimulus::SendFailed { to: (*to).into(), activity: *activity },
            Self::Accepted { id, from } => stream(id, StreamEvent::Accepted { from: (*from).into() }),
            Self::Connected { id } => stream(id, StreamEvent::Connected),
            Self::Bytes { id, bytes } => stream(id, StreamEvent::Bytes(bytes)),
            Self::Closed { id } => stream(id, StreamEvent::Closed),
            Self::Failed { id, error } => stream(id, StreamEvent::Failed(*error)),
            Self::Resolved { id, result } => {
                let result = result.as_ref().map(|addrs| addrs.iter().map(|addr| SocketAddr::from(*addr)).collect());
                Stimulus::Resolved { id: *id, result: result.map_err(Clone::clone) }
            }
            Self::Persisted { id, result } => Stimulus::Persisted { id: *id, result: result.clone() },
            Self::Stalled { activity } => Stimulus::Stalled { activity: *activity },
            Self::Resumed { activity } => Stimulus::Resumed { activity: *activity },
            Self::Entropy { bytes } => Stimulus::Entropy { bytes: *bytes },
            Self::Command { id, command } => Stimulus::Command { id: *id, command: command.clone().into_owned() },
        }
    }
}
