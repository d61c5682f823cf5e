//! The few DNS messages that finding agents needs (RFC 1035, 4; cli.md 3.10).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits::MDNS_ENTRIES_MAX;

/// Longest label.
const LABEL_BYTES_MAX: usize = 63;
/// Longest name, its length bytes included.
const NAME_BYTES_MAX: usize = 255;
/// Seconds that an answer holds.
const TTL: u32 = 120;
const CLASS_IN: u16 = 1;
/// The top bit of a class means something else in mDNS (RFC 6762, 5.4 and 10.2).
const CLASS_MASK: u16 = 0x7fff;
const RESPONSE: u16 = 0x8000;
const AUTHORITATIVE: u16 = 0x0400;

const TYPE_A: u16 = 1;
const TYPE_PTR: u16 = 12;
const TYPE_TXT: u16 = 16;
const TYPE_AAAA: u16 = 28;
const TYPE_SRV: u16 = 33;
const TYPE_ANY: u16 = 255;

/// A domain name as it is on the wire, without compression.
#[derive(Clone, Debug, Eq)]
pub(crate) struct DomainName(Vec<u8>);

impl DomainName {
    /// Makes a name of labels; `None` if one is empty or too long, or all together are.
    pub(crate) fn new<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut bytes = Vec::new();
        for label in labels {
            let len =
                u8::try_from(label.len()).ok().filter(|len| (1..=LABEL_BYTES_MAX).contains(&usize::from(*len)))?;
            bytes.push(len);
            bytes.extend(label);
        }
        bytes.push(0);
        (bytes.len() <= NAME_BYTES_MAX).then_some(Self(bytes))
    }

    /// Whether the name ends with all of `domain`.
    fn is_in(&self, domain: &Self) -> bool {
        let start = self.0.len().checked_sub(domain.0.len());
        start.and_then(|start| self.0.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(&domain.0))
    }
}

/// Names do not differ by case.
impl PartialEq for DomainName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// An instance of a service.
    Ptr(DomainName),
    /// Where an instance is reached.
    Srv { port: u16, target: DomainName },
    /// One line of text about an instance, cut to 255 bytes.
    Txt(Vec<u8>),
    /// An address of a host.
    Address(IpAddr),
}

/// A name and what is said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) name: DomainName,
    pub(crate) data: Data,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) name: DomainName,
    kind: u16,
}

impl Question {
    /// Whether the record answers the question.
    pub(crate) fn wants(&self, record: &Record) -> bool {
        self.name == record.name && (self.kind == TYPE_ANY || self.kind == record.data.kind())
    }

    /// Whether it asks for the instances of a service, or for everything.
    pub(crate) const fn wants_instances(&self) -> bool {
        matches!(self.kind, TYPE_PTR | TYPE_ANY)
    }
}

impl Data {
    const fn kind(&self) -> u16 {
        match self {
            Self::Ptr(_) => TYPE_PTR,
            Self::Srv { .. } => TYPE_SRV,
            Self::Txt(_) => TYPE_TXT,
            Self::Address(IpAddr::V4(_)) => TYPE_A,
            Self::Address(IpAddr::V6(_)) => TYPE_AAAA,
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ptr(name) => name.0.clone(),
            // Priority 10, weight 1: upstream's.
            Self::Srv { port, target } => [&[0, 10, 0, 1], &port.to_be_bytes()[..], &target.0].concat(),
            Self::Txt(line) => {
                let line = line.get(..255).unwrap_or(line);
                let len = u8::try_from(line.len()).unwrap_or(u8::MAX);
                [&[len][..], line].concat()
            }
            Self::Address(IpAddr::V4(ip)) => ip.octets().to_vec(),
            Self::Address(IpAddr::V6(ip)) => ip.octets().to_vec(),
        }
    }
}

/// A message, as far as we understand it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: u16,
    pub(crate) is_response: bool,
    pub(crate) questions: Vec<Question>,
    /// Of all sections. Types that we do not know are left out.
    pub(crate) records: Vec<Record>,
}

impl Message {
    /// The question for the instances of a service.
    pub(crate) fn query(service: &DomainName) -> Self {
        let question = Question { name: service.clone(), kind: TYPE_PTR };
        Self { id: 0, is_response: false, questions: vec![question], records: Vec::new() }
    }

    /// An answer; `id` is that of the question.
    pub(crate) const fn answer(id: u16, records: Vec<Record>) -> Self {
        Self { id, is_response: true, questions: Vec::new(), records }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let flags = if self.is_response { RESPONSE | AUTHORITATIVE } else { 0 };
        let count = |len: usize| u16::try_from(len).unwrap_or(u16::MAX);
        let mut bytes = Vec::new();
        for word in [self.id, flags, count(self.questions.len()), count(self.records.len()), 0, 0] {
            bytes.extend(word.to_be_bytes());
        }
        for question in &self.questions {
            bytes.extend(&question.name.0);
            bytes.extend([question.kind, CLASS_IN].map(u16::to_be_bytes).concat());
        }
        for record in &self.records {
            let data = record.data.encode();
            bytes.extend(&record.name.0);
            bytes.extend([record.data.kind(), CLASS_IN].map(u16::to_be_bytes).concat());
            bytes.extend(TTL.to_be_bytes());
            bytes.extend(count(data.len()).to_be_bytes());
            bytes.extend(data);
        }
        bytes
    }

    /// Reads a message; `None` if it is none, or was cut short.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let [id, flags, questions, answers, authorities, additional] = [(); 6].map(|()| reader.word());
        let mut message = Self { id: id?, is_response: flags? & RESPONSE != 0, questions: vec![], records: vec![] };
        let (questions, records) = (questions?, [answers?, authorities?, additional?].map(usize::from).iter().sum());
        if usize::from(questions) > MDNS_ENTRIES_MAX {
            return None;
        }
        for _ in 0..questions {
            let question = Question { name: reader.name()?, kind: reader.word()? };
            if reader.word()? & CLASS_MASK == CLASS_IN {
                message.questions.push(question);
            }
        }
        for _ in 0..MDNS_ENTRIES_MAX.min(records) {
            message.records.extend(reader.record()?);
        }
        Some(message)
    }

    /// Where the instances of `service` are reached; of several addresses an IPv4 one.
    pub(crate) fn instances<'a>(&'a self, service: &'a DomainName) -> impl Iterator<Item = (IpAddr, u16)> + 'a {
        self.records.iter().filter(|record| record.name.is_in(service)).filter_map(|record| match &record.data {
            Data::Srv { port, target } => Some((self.address(target)?, *port)),
            Data::Ptr(_) | Data::Txt(_) | Data::Address(_) => None,
        })
    }

    fn address(&self, host: &DomainName) -> Option<IpAddr> {
        let mut addresses = self.records.iter().filter(|record| record.name == *host).filter_map(|record| {
            match &record.data {
                // Without its interface a link-local address leads nowhere.
                Data::Address(IpAddr::V6(ip)) if ip.is_unicast_link_local() => None,
                Data::Address(ip) => Some(*ip),
                Data::Ptr(_) | Data::Srv { .. } | Data::Txt(_) => None,
            }
        });
        let first = addresses.next()?;
        Some(std::iter::once(first).chain(addresses).find(IpAddr::is_ipv4).unwrap_or(first))
    }
}

/// Reads a packet as the finder of agents does: what it understood, written again, and how many instances are reached
/// of all the services that are named; `None`: it is no packet.
pub fn reread_mdns(packet: &[u8]) -> Option<(Vec<u8>, usize)> {
    let message = Message::parse(packet)?;
    let found = message.records.iter().map(|record| message.instances(&record.name).count()).sum();
    Some((message.encode(), found))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn word(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// A name; each pointer must lead further back, and honest ones have a label each.
    fn name(&mut self) -> Option<DomainName> {
        let mut name = Vec::new();
        let mut before = self.at;
        let mut behind = None;
        for _ in 0..NAME_BYTES_MAX {
            let [len] = self.array()?;
            match len {
                0 => {
                    self.at = behind.unwrap_or(self.at);
                    name.push(0);
                    return Some(DomainName(name));
                }
                len if usize::from(len) <= LABEL_BYTES_MAX => {
                    name.push(len);
                    name.extend(self.take(len.into())?);
                    if name.len() >= NAME_BYTES_MAX {
                        return None;
                    }
                }
                len if len & 0xc0 == 0xc0 => {
                    let [low] = self.array()?;
                    behind.get_or_insert(self.at);
                    let to = usize::from(u16::from_be_bytes([len & 0x3f, low]));
                    if to >= before {
                        return None;
                    }
                    (before, self.at) = (to, to);
                }
                _ => return None,
            }
        }
        None
    }

    /// The next record; `Some(None)` for one that means nothing to us.
    fn record(&mut self) -> Option<Option<Record>> {
        let name = self.name()?;
        let [kind, class] = [self.word()?, self.word()?];
        self.take(4)?;
        let len = usize::from(self.word()?);
        let end = self.at.checked_add(len)?;
        let start = self.at;
        let data = match kind {
            TYPE_PTR => self.name().map(Data::Ptr),
            TYPE_SRV => {
                self.take(4)?;
                let port = self.word()?;
                self.name().map(|target| Data::Srv { port, target })
            }
            TYPE_TXT => {
                let [len] = self.array()?;
                self.take(len.into()).map(|line| Data::Txt(line.to_vec()))
            }
            TYPE_A => self.array::<4>().map(|octets| Data::Address(Ipv4Addr::from(octets).into())),
            TYPE_AAAA => self.array::<16>().map(|octets| Data::Address(Ipv6Addr::from(octets).into())),
            _ => None,
        };
        let fits = self.at <= end;
        self.at = start;
        self.take(len)?;
        let known = data.filter(|_| fits && class & CLASS_MASK == CLASS_IN);
        Some(known.map(|data| Record { name, data }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DomainName {
        DomainName::new(text.split('.').map(str::as_bytes)).expect("a name")
    }

    fn answer() -> Message {
        let (service, instance, host) = (name("_serf_c._tcp.local"), name("n1._serf_c._tcp.local"), name("h"));
        let record = |name: &DomainName, data| Record { name: name.clone(), data };
        Message::answer(
            7,
            vec![
                record(&service, Data::Ptr(instance.clone())),
                record(&instance, Data::Srv { port: 7946, target: host.clone() }),
                record(&host, Data::Address([10, 0, 0, 1].into())),
                record(&instance, Data::Txt(b"Serf 'c' cluster".to_vec())),
            ],
        )
    }

    #[test]
    fn a_query_has_the_bytes_of_upstreams() {
        let mut want = b"\0\0\0\0\0\x01\0\0\0\0\0\0\x07_serf_c\x04_tcp\x05local\0\0\x0c\0\x01".to_vec();
        assert_eq!(Message::query(&name("_serf_c._tcp.local")).encode(), want);
        assert_eq!(Message::parse(&want), Some(Message::query(&name("_SERF_c._tcp.local"))));
        // Whoever asks for an answer by unicast asks the same.
        let class = want.len() - 2;
        want[class] = 0x80;
        assert_eq!(Message::parse(&want), Some(Message::query(&name("_serf_c._tcp.local"))));
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let bytes = answer().encode();
        assert_eq!(Message::parse(&bytes), Some(answer()));
        let parsed = Message::parse(&bytes).expect("a message");
        let found: Vec<_> = parsed.instances(&name("_serf_c._tcp.local")).collect();
        assert_eq!(found, [(IpAddr::from([10, 0, 0, 1]), 7946)]);
        assert_eq!(parsed.instances(&name("_serf_d._tcp.local")).count(), 0);
        for len in 0..bytes.len() {
            assert_eq!(Message::parse(&bytes[..len]), None, "cut to {len} bytes");
        }
    }

    #[test]
    fn compressed_names_are_read_and_loops_are_refused() {
        let mut bytes = b"\0\0\x84\0\0\0\0\x02\0\0\0\0".to_vec();
        bytes.extend(b"\x02n1\x02_s\x05local\0\0\x21\x80\x01\0\0\0\x78\0\x0a\0\0\0\0\0\x09\x01h\xc0\x12");
        bytes.extend(b"\x01h\xc0\x12\0\x1c\x80\x01\0\0\0\x78\0\x10\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01");
        let message = Message::parse(&bytes).expect("a message");
        let ip: IpAddr = "fd00::1".parse().expect("an address");
        assert_eq!(message.instances(&name("_s.local")).collect::<Vec<_>>(), [(ip, 9)]);
        for pointer in [b"\xc0\x0c", b"\xc0\x0e", b"\xc0\xff"] {
            let looped = [&b"\0\0\0\0\0\x01\0\0\0\0\0\0"[..], pointer, b"\0\x0c\0\x01"].concat();
            assert_eq!(Message::parse(&looped), None);
        }
    }

    #[test]
    fn a_name_is_followed_through_so_many_pointers() {
        // Pointers to pointers, down to the empty name in the header's second byte.
        let asked = |pointers: usize| {
            let mut bytes = b"\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x0c\0\x01".to_vec();
            let mut to = 1_u16;
            for _ in 0..pointers {
                let at = bytes.len() as u16;
                bytes.extend((to | 0xc000).to_be_bytes());
                to = at;
            }
            let mut reader = Reader { bytes: &bytes, at: to.into() };
            reader.name().map(|name| (name, reader.at - usize::from(to)))
        };
        assert_eq!(asked(NAME_BYTES_MAX - 1), Some((DomainName(vec![0]), 2)));
        assert_eq!(asked(NAME_BYTES_MAX), None);
    }

    #[test]
    fn junk_is_refused_or_read_and_never_more() {
        let good = answer().encode();
        for at in 0..good.len() {
            for byte in [0, 1, 0x3f, 0x40, 0xc0, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = byte;
                if let Some(message) = Message::parse(&bytes) {
                    assert!(message.records.len() + message.questions.len() <= 2 * MDNS_ENTRIES_MAX);
                }
            }
        }
    }

    #[test]
    fn of_one_message_so_much_is_read() {
        let question = Question { name: name("a"), kind: TYPE_PTR };
        let record = Record { name: name("a"), data: Data::Address([10, 0, 0, 1].into()) };
        let parsed = |questions, records| {
            let questions = vec![question.clone(); questions];
            let message = Message { id: 0, is_response: false, questions, records: vec![record.clone(); records] };
            Message::parse(&message.encode()).map(|message| (message.questions.len(), message.records.len()))
        };
        assert_eq!(parsed(MDNS_ENTRIES_MAX, MDNS_ENTRIES_MAX), Some((MDNS_ENTRIES_MAX, MDNS_ENTRIES_MAX)));
        assert_eq!(parsed(0, MDNS_ENTRIES_MAX + 1), Some((0, MDNS_ENTRIES_MAX)));
        assert_eq!(parsed(MDNS_ENTRIES_MAX + 1, 0), None);
    }

    #[test]
    fn names_have_limits() {
        let labels = |label: &[u8], count| DomainName::new(std::iter::repeat_n(label, count));
        assert!(labels(&[b'x'; 63], 1).is_some() && labels(&[b'x'; 64], 1).is_none() && labels(b"", 1).is_none());
        assert!(labels(b"x", 127).is_some() && labels(b"x", 128).is_none());
    }

    #[test]
    fn a_question_wants_its_name_and_type() {
        let Message { records, .. } = answer();
        let wants = |text, kind| {
            let question = Question { name: name(text), kind };
            records.iter().filter(|record| question.wants(record)).count()
        };
        assert_eq!(wants("n1._serf_c._tcp.local", TYPE_ANY), 2);
        assert_eq!(wants("n1._serf_c._tcp.local", TYPE_SRV), 1);
        assert_eq!(wants("h", TYPE_AAAA), 0);
    }
}
