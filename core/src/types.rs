//! The small values that messages, members and commands are made of.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of which up to 22 stand in the value itself: reading or copying so few allocates nothing.
#[derive(Clone)]
enum FewBytes {
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

const SHORT: usize = 22;
const _: () = assert!(size_of::<FewBytes>() == 24, "few bytes take the room of many");

impl FewBytes {
    fn new(bytes: &[u8]) -> Self {
        let mut short = [0; SHORT];
        match (short.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(bytes);
                Self::Short(len, short)
            }
            (Some(_) | None, _) => Self::Long(bytes.into()),
        }
    }

    const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => bytes.split_at(*len as usize).0,
            Self::Long(bytes) => bytes,
        }
    }

    const fn allocated(&self) -> usize {
        match self {
            Self::Short(..) => 0,
            Self::Long(bytes) => bytes.len(),
        }
    }
}

/// A node's name: any bytes, compared as bytes, shown lossily to people. A short one allocates nothing.
#[derive(Clone)]
pub struct Name(FewBytes);

impl Name {
    /// Makes a name of the given bytes.
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        Self(FewBytes::new(bytes.as_ref()))
    }

    /// The bytes as they travel.
    pub const fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Bytes that it takes beside those of the value itself.
    pub(crate) const fn allocated(&self) -> usize {
        self.0.allocated()
    }
}

impl Name {
    /// Whether the name has 1 to 128 characters, all of them ASCII letters, digits, `-` or `.`: upstream's optional rule.
    ///
    /// # Errors
    /// What is wrong with it, in upstream's words.
    pub fn check(&self) -> Result<(), NameError> {
        let bytes = self.as_bytes();
        if bytes.iter().any(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))) {
            return Err(NameError::Characters(self.clone()));
        }
        if bytes.is_empty() || bytes.len() > STRICT_NAME {
            return Err(NameError::Length(bytes.len()));
        }
        Ok(())
    }
}

/// Longest name that is valid by upstream's optional rule.
const STRICT_NAME: usize = 128;

/// What is wrong with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NameError {
    /// It has characters that it must not have.
    Characters(Name),
    /// It has none or too many.
    Length(usize),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Characters(name) => write!(
                f,
                "Node name contains invalid characters {name} , Valid characters include all alpha-numerics and dashes and \
                 '.'"
            ),
            Self::Length(length) => {
                write!(f, "Node name is {length} characters. Valid length is between 1 and {STRICT_NAME} characters")
            }
        }
    }
}

/// What is bytes to everybody else: equal, ordered, hashed and written like them.
macro_rules! like_bytes {
    ($name:ty) => {
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl Eq for $name {}

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.as_bytes().cmp(other.as_bytes())
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                // Without the length, which only tells keys of several parts apart.
                state.write(self.as_bytes());
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.as_bytes())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <&[u8]>::deserialize(deserializer).map(Self::new)
            }
        }
    };
}

like_bytes!(Name);
like_bytes!(Meta);

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

/// An IP address in the 4 or 16 bytes in which it came, with a port.
///
/// Two forms of one address are different values, as upstream compares them (gossip-wire.md 4.7);
/// [`GossipAddr::socket_addr`] normalises for sending.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GossipAddr {
    ip: IpBytes,
    port: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum IpBytes {
    Four([u8; 4]),
    Sixteen([u8; 16]),
}

impl GossipAddr {
    /// Makes an address of 4 or 16 bytes; `None` for any other length.
    pub fn from_bytes(ip: &[u8], port: u16) -> Option<Self> {
        let ip = match ip.len() {
            4 => IpBytes::Four(ip.try_into().ok()?),
            16 => IpBytes::Sixteen(ip.try_into().ok()?),
            _ => return None,
        };
        Some(Self { ip, port })
    }

    /// The bytes of the address as they travel.
    pub const fn ip_bytes(&self) -> &[u8] {
        match &self.ip {
            IpBytes::Four(bytes) => bytes,
            IpBytes::Sixteen(bytes) => bytes,
        }
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address with `port` where it has none (gossip-wire.md 2.1 and 4.2).
    #[must_use]
    pub const fn with_port_or(mut self, port: u16) -> Self {
        if self.port == 0 {
            self.port = port;
        }
        self
    }

    /// The address as people write it: an IPv4 address in 16 bytes is shown as IPv4.
    pub fn ip(&self) -> IpAddr {
        match self.ip {
            IpBytes::Four(bytes) => IpAddr::V4(Ipv4Addr::from(bytes)),
            IpBytes::Sixteen(bytes) => Ipv6Addr::from(bytes).to_canonical(),
        }
    }

    /// Where to send: an IPv4 address in 16 bytes becomes IPv4.
    pub fn socket_addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip(), self.port)
    }
}

impl From<SocketAddr> for GossipAddr {
    fn from(addr: SocketAddr) -> Self {
        let ip = match addr.ip() {
            IpAddr::V4(ip) => IpBytes::Four(ip.octets()),
            IpAddr::V6(ip) => IpBytes::Sixteen(ip.octets()),
        };
        Self { ip, port: addr.port() }
    }
}

impl fmt::Display for GossipAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket_addr().fmt(f)
    }
}

impl fmt::Debug for GossipAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The six version bytes `[pmin, pmax, pcur, dmin, dmax, dcur]` (gossip-wire.md 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Versions(pub [u8; 6]);

impl Versions {
    /// What this implementation speaks: memberlist 1..=5 as 2, Serf 2..=5 as 5.
    pub const CURRENT: Self = Self([1, 5, 2, 2, 5, 5]);

    /// Smallest memberlist protocol understood.
    pub const fn protocol_min(self) -> u8 {
        self.0[0]
    }
    /// Largest memberlist protocol understood.
    pub const fn protocol_max(self) -> u8 {
        self.0[1]
    }
    /// Memberlist protocol spoken.
    pub const fn protocol_current(self) -> u8 {
        self.0[2]
    }
    /// Smallest Serf protocol understood.
    pub const fn delegate_min(self) -> u8 {
        self.0[3]
    }
    /// Largest Serf protocol understood.
    pub const fn delegate_max(self) -> u8 {
        self.0[4]
    }
    /// Serf protocol spoken.
    pub const fn delegate_current(self) -> u8 {
        self.0[5]
    }

    /// Whether the memberlist range makes sense; an alive message with another one is ignored (protocol.md 1.7).
    pub const fn is_sane(self) -> bool {
        self.protocol_min() != 0 && self.protocol_max() != 0 && self.protocol_min() <= self.protocol_max()
    }

    /// Whether a member with these versions and one with `other` can speak with each other.
    pub const fn accepts(self, other: Self) -> bool {
        self.protocol_min() <= other.protocol_current()
            && other.protocol_current() <= self.protocol_max()
            && self.delegate_min() <= other.delegate_current()
            && other.delegate_current() <= self.delegate_max()
    }
}

/// A member's opaque metadata: the tags and whatever stands behind them. A short one allocates nothing.
#[derive(Clone)]
pub struct Meta(FewBytes);

impl Meta {
    /// Makes metadata of the given bytes.
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        Self(FewBytes::new(bytes.as_ref()))
    }

    /// The bytes as they travel.
    pub const fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Bytes that it takes beside those of the value itself.
    pub(crate) const fn allocated(&self) -> usize {
        self.0.allocated()
    }
}

impl Default for Meta {
    fn default() -> Self {
        Self::new([])
    }
}

impl fmt::Debug for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meta({})", String::from_utf8_lossy(self.as_bytes()))
    }
}

/// How often a member has spoken for itself; larger is newer. The first one used is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u32);

impl Incarnation {
    /// The next incarnation; saturates and never wraps (protocol.md 3.2, U-13).
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number that ties an ack or a nack to its ping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeqNo(pub u32);

/// The random half of a query's identity; 31 bits where we draw it (gossip-wire.md 6.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueryId(pub u32);

/// A member's place in the member table; what the layers hold instead of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u32);

impl Slot {
    /// The one behind it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// A target of a join as people write it: `[name/]host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JoinTarget(Box<[u8]>);

/// What a join target says once it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetAddr {
    /// An address that needs no resolver.
    Addr(SocketAddr),
    /// A host name and a port.
    Host(String, u16),
    /// Text that is no address, with the reason in upstream's words.
    Bad(String),
}

impl JoinTarget {
    /// Keeps the text as given.
    pub fn new(text: impl Into<Box<[u8]>>) -> Self {
        Self(text.into())
    }

    /// Reads the target; a missing port is `default_port` (cli.md 2.6). A bare IPv6 address needs no brackets. The
    /// reasons of bad targets are those that a Serf agent gives.
    pub fn read(&self, default_port: u16) -> TargetAddr {
        let text = String::from_utf8_lossy(&self.0);
        let host = match text.split_once('/') {
            Some(("", _)) => return TargetAddr::Bad("empty node name provided".into()),
            Some((_, host)) => host,
            None => &text,
        };
        if let Ok(addr) = host.parse::<SocketAddr>() {
            return TargetAddr::Addr(addr);
        }
        if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return TargetAddr::Addr(SocketAddr::new(ip, default_port));
        }
        match host.rsplit_once(':') {
            None if host.is_empty() => TargetAddr::Bad("lookup : no such host".into()),
            None => TargetAddr::Host(host.into(), default_port),
            // Rust's numbers may have a plus sign, Go's may not.
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => match port.parse() {
                Ok(number) if !port.starts_with('+') => TargetAddr::Host(name.into(), number),
                Ok(_) | Err(_) => TargetAddr::Bad(bad_port(port)),
            },
            Some(_) => TargetAddr::Bad(alloc::format!("lookup {host}: no such host")),
        }
    }
}

/// What Go says of a text that is no port.
fn bad_port(port: &str) -> String {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let problem = if digits { "value out of range" } else { "invalid syntax" };
    alloc::format!("strconv.ParseUint: parsing {port:?}: {problem}")
}

impl From<&str> for JoinTarget {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl fmt::Display for JoinTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// Serialises a socket address field by field: serde's own form drops flow and scope of IPv6.
pub mod socket_addr {
    use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    enum Fields {
        V4 { ip: [u8; 4], port: u16 },
        V6 { ip: [u8; 16], port: u16, flow: u32, scope: u32 },
    }

    /// Writes the address.
    pub fn serialize<S: Serializer>(addr: &SocketAddr, serializer: S) -> Result<S::Ok, S::Error> {
        match addr {
            SocketAddr::V4(addr) => Fields::V4 { ip: addr.ip().octets(), port: addr.port() },
            SocketAddr::V6(addr) => {
                Fields::V6 { ip: addr.ip().octets(), port: addr.port(), flow: addr.flowinfo(), scope: addr.scope_id() }
            }
        }
        .serialize(serializer)
    }

    /// Reads the address.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
        Ok(match Fields::deserialize(deserializer)? {
            Fields::V4 { ip, port } => SocketAddrV4::new(Ipv4Addr::from(ip), port).into(),
            Fields::V6 { ip, port, flow, scope } => SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into(),
        })
    }
}

/// Bytes shown in error texts and logs as a Go list: `[a b c]`.
pub struct GoList<'a, T>(pub &'a [T]);

impl<T: fmt::Display> fmt::Display for GoList<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, item) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            item.fmt(f)?;
        }
        f.write_str("]")
    }
}

/// Tags as given by the operator: keys and values are bytes, sorted by key.
pub type Tags = alloc::collections::BTreeMap<Vec<u8>, Vec<u8>>;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn both_forms_of_an_ipv4_address_go_to_one_place_and_differ() {
        let short = GossipAddr::from_bytes(&[127, 0, 0, 1], 7946).expect("4 bytes");
        let long = GossipAddr::from_bytes(&Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets(), 7946).expect("16 bytes");
        assert_eq!(short.socket_addr(), long.socket_addr());
        assert_ne!(short, long);
        assert_eq!(format!("{long}"), "127.0.0.1:7946");
        assert_eq!(GossipAddr::from_bytes(&[1, 2, 3], 1), None);
    }

    #[test]
    fn a_join_target_is_read_in_every_form() {
        let addr = |text: &str| TargetAddr::Addr(text.parse().expect("address"));
        for (text, want) in [
            ("10.0.0.1", addr("10.0.0.1:7946")),
            ("10.0.0.1:1", addr("10.0.0.1:1")),
            ("::1", addr("[::1]:7946")),
            ("[::1]", addr("[::1]:7946")),
            ("[::1]:5", addr("[::1]:5")),
            ("n1/10.0.0.1:1", addr("10.0.0.1:1")),
            ("db", TargetAddr::Host("db".to_string(), 7946)),
            ("db:12", TargetAddr::Host("db".to_string(), 12)),
            ("a:b:c", TargetAddr::Bad("lookup a:b:c: no such host".to_string())),
            ("n/", TargetAddr::Bad("lookup : no such host".to_string())),
            ("/10.0.0.1", TargetAddr::Bad("empty node name provided".to_string())),
            ("[10.0.0.1", addr("10.0.0.1:7946")),
        ] {
            assert_eq!(JoinTarget::from(text).read(7946), want, "{text}");
        }
        for (port, problem) in
            [("x", "invalid syntax"), ("", "invalid syntax"), ("+5", "invalid syntax"), ("99999", "value out of range")]
        {
            for host in ["db", "127.0.0.1", "[::1]"] {
                let reason = format!("strconv.ParseUint: parsing {port:?}: {problem}");
                assert_eq!(
                    JoinTarget::from(&*format!("{host}:{port}")).read(1),
                    TargetAddr::Bad(reason),
                    "{host}:{port}"
                );
            }
        }
    }
}
