//! The links between the hosts: delay, loss, copies, holding back, turned bits, and cuts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::draw::{Draw, Purpose};
use crate::faults::Faults;
use crate::scenario::{Block, HostId, Link, LinkRule};

/// The port of every simulated agent.
pub(crate) const PORT: u16 = 7946;

const FIRST: u32 = 0x0a00_0001;

/// The address of a host: 10.0.0.1 is the first one's. A pure value; nothing is opened.
pub(crate) fn addr(host: HostId) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(FIRST.saturating_add(host.0))), PORT)
}

/// The host at an address, if the port is the agent's and the cluster has so many hosts.
pub(crate) fn host_at(addr: SocketAddr, hosts: usize) -> Option<HostId> {
    let IpAddr::V4(ip) = addr.ip() else { return None };
    let place = u32::from(ip).checked_sub(FIRST)?;
    (addr.port() == PORT && (place as usize) < hosts).then_some(HostId(place))
}

/// A set of hosts.
#[derive(Clone, Debug)]
struct Hosts(Vec<bool>);

impl Hosts {
    fn new(hosts: Option<&[HostId]>, count: usize) -> Self {
        let mut set = vec![hosts.is_none(); count];
        for host in hosts.unwrap_or_default() {
            set[host.index()] = true;
        }
        Self(set)
    }

    fn has(&self, host: HostId) -> bool {
        self.0[host.index()]
    }
}

struct Rule {
    from: Hosts,
    to: Hosts,
    rule: LinkRule,
}

/// What becomes of one packet: the travel times of its copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    /// The packet itself; `None`: lost or cut off.
    pub(crate) first: Option<u64>,
    /// Its copy, if it has one.
    pub(crate) second: Option<u64>,
    /// Whether bits of the packet (not of its copy) are turned over.
    pub(crate) corrupt: bool,
    /// Whether its end (not that of its copy) is missing.
    pub(crate) truncate: bool,
}

/// All links.
pub(crate) struct Network {
    hosts: usize,
    base: Link,
    rules: Vec<Rule>,
    /// One bit for each pair of sender and receiver; empty while nothing is cut.
    cut: Vec<u64>,
    draw: Draw,
    fault: Draw,
}

impl Network {
    /// A network without rules and cuts.
    pub(crate) fn new(seed: u64, hosts: usize, base: Link) -> Self {
        Self {
            hosts,
            base,
            rules: Vec::new(),
            cut: Vec::new(),
            draw: Draw::new(seed, Purpose::Network),
            fault: Draw::new(seed, Purpose::Fault),
        }
    }

    /// Sets what every link does where no rule says otherwise, and the first rules.
    pub(crate) fn begin(&mut self, base: Link, rules: &[LinkRule]) {
        self.base = base;
        rules.iter().for_each(|rule| self.add_rule(rule));
    }

    /// Adds a rule over the others.
    pub(crate) fn add_rule(&mut self, rule: &LinkRule) {
        if rule.from.is_none() && rule.to.is_none() && self.rules.is_empty() {
            rule.apply(&mut self.base);
            return;
        }
        self.rules.push(Rule {
            from: Hosts::new(rule.from.as_deref(), self.hosts),
            to: Hosts::new(rule.to.as_deref(), self.hosts),
            rule: rule.clone(),
        });
    }

    /// What the link from one host to another does now.
    pub(crate) fn link(&self, from: HostId, to: HostId) -> Link {
        let mut link = self.base;
        for rule in &self.rules {
            let there = rule.from.has(from) && rule.to.has(to);
            let back = rule.rule.both && rule.from.has(to) && rule.to.has(from);
            if there || back {
                rule.rule.apply(&mut link);
            }
        }
        link
    }

    /// Decides what becomes of a packet of so many bytes that is sent now.
    pub(crate) fn packet(&mut self, (from, to): (HostId, HostId), bytes: usize, now: u64, faults: &mut Faults) -> Fate {
        faults.packets += 1;
        if self.is_cut(from, to) {
            faults.cut += 1;
            return Fate::default();
        }
        let link = self.link(from, to);
        let mut fate = Fate::default();
        if link.block == Block::Datagrams {
            faults.udp_blocked += 1;
            return fate;
        }
        if link.mtu.is_some_and(|mtu| bytes > mtu as usize) {
            faults.oversized += 1;
            return fate;
        }
        if link.loss.happens(&mut self.draw) {
            faults.lost += 1;
        } else {
            fate.first = Some(self.travel(&link, now, faults));
            fate.corrupt = link.corrupt.happens(&mut self.draw);
            fate.truncate = link.truncate.happens(&mut self.draw);
        }
        if link.duplicate.happens(&mut self.draw) {
            faults.duplicated += 1;
            fate.second = Some(self.travel(&link, now, faults));
        }
        fate
    }

    fn travel(&mut self, link: &Link, now: u64, faults: &mut Faults) -> u64 {
        let mut delay = link.delay.draw(&mut self.draw);
        if link.reorder.happens(&mut self.draw) {
            faults.reordered += 1;
            delay = delay.saturating_add(link.reorder_delay.draw(&mut self.draw));
        }
        if link.clog > 0 {
            faults.clogged += 1;
            delay = now.saturating_add(delay).next_multiple_of(link.clog).saturating_sub(now);
        }
        delay
    }

    /// Takes the end of a packet away.
    pub(crate) fn truncate(&mut self, bytes: &mut Box<[u8]>, faults: &mut Faults) {
        faults.truncated += 1;
        let left = self.fault.index(bytes.len());
        *bytes = bytes[..left].into();
    }

    /// Turns over one to three bits: what a checksum always notices.
    pub(crate) fn corrupt(&mut self, bytes: &mut [u8], faults: &mut Faults) {
        if bytes.is_empty() {
            return;
        }
        faults.corrupted += 1;
        for _ in 0..=self.fault.below(3) {
            let bit = self.fault.below(bytes.len() as u64 * 8);
            let place = usize::try_from(bit / 8).unwrap_or_default();
            bytes[place] ^= 1 << (bit % 8);
        }
    }

    /// How long a stream segment travels, with what a lost one costs: it is sent again after `rto`, twice that, …
    pub(crate) fn segment(&mut self, from: HostId, to: HostId, rto: u64, faults: &mut Faults) -> u64 {
        let link = self.link(from, to);
        let mut wait = 0_u64;
        for again in 0..6 {
            if !link.loss.happens(&mut self.draw) {
                break;
            }
            faults.resent += 1;
            wait = wait.saturating_add(rto << again);
        }
        wait.saturating_add(link.delay.draw(&mut self.draw))
    }

    /// Whether a stream segment gets through at all.
    pub(crate) fn stops_segment(&self, from: HostId, to: HostId, faults: &mut Faults) -> bool {
        if self.is_cut(from, to) {
            faults.cut += 1;
            return true;
        }
        let blocked = self.link(from, to).block == Block::Streams;
        faults.tcp_blocked += u64::from(blocked);
        blocked
    }

    /// Whether this segment meets a reset on its way.
    pub(crate) fn resets(&mut self, from: HostId, to: HostId) -> bool {
        self.link(from, to).reset.happens(&mut self.draw)
    }

    /// Whether this connection is refused although somebody listens.
    pub(crate) fn refuses(&mut self, from: HostId, to: HostId) -> bool {
        self.link(from, to).refuse.happens(&mut self.draw)
    }

    /// A number below `count`, for what else the network decides.
    pub(crate) fn below(&mut self, count: u64) -> u64 {
        self.draw.below(count)
    }

    /// Whether nothing passes from one host to another.
    pub(crate) fn is_cut(&self, from: HostId, to: HostId) -> bool {
        if self.cut.is_empty() {
            return false;
        }
        let (word, bit) = self.bit(from, to);
        self.cut[word] & bit != 0
    }

    /// Cuts one direction.
    pub(crate) fn cut(&mut self, from: HostId, to: HostId) {
        if self.cut.is_empty() {
            self.cut = vec![0; (self.hosts * self.hosts).div_ceil(64)];
        }
        let (word, bit) = self.bit(from, to);
        self.cut[word] |= bit;
    }

    /// Opens one direction.
    pub(crate) fn heal(&mut self, from: HostId, to: HostId) {
        if !self.cut.is_empty() {
            let (word, bit) = self.bit(from, to);
            self.cut[word] &= !bit;
        }
    }

    /// Opens everything.
    pub(crate) fn heal_all(&mut self) {
        self.cut = Vec::new();
    }

    const fn bit(&self, from: HostId, to: HostId) -> (usize, u64) {
        let place = from.index() * self.hosts + to.index();
        (place / 64, 1 << (place % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Chance, Delay};

    const A: HostId = HostId(0);
    const B: HostId = HostId(1);

    #[test]
    fn addresses_and_hosts_are_one_to_one() {
        assert_eq!(addr(HostId(300)).to_string(), "10.0.1.45:7946");
        assert_eq!(host_at(addr(HostId(300)), 301), Some(HostId(300)));
        assert_eq!(host_at(addr(HostId(300)), 300), None);
        assert_eq!(host_at(SocketAddr::new(addr(A).ip(), 1), 5), None);
    }

    #[test]
    fn each_fault_happens_about_as_often_as_the_link_says() {
        let link = Link {
            delay: Delay::Uniform(1_000, 5_000),
            loss: Chance(100_000),
            duplicate: Chance(50_000),
            reorder: Chance(200_000),
            ..Link::PERFECT
        };
        let (mut network, mut faults) = (Network::new(7, 2, link), Faults::default());
        let fates: Vec<Fate> = (0..20_000).map(|_| network.packet((A, B), 100, 0, &mut faults)).collect();
        assert_eq!(faults.packets, 20_000);
        assert!((1_800..2_200).contains(&faults.lost), "{faults:?}");
        assert!((900..1_100).contains(&faults.duplicated), "{faults:?}");
        assert!((3_500..4_200).contains(&faults.reordered), "{faults:?}");
        assert_eq!(fates.iter().filter(|fate| fate.first.is_none()).count() as u64, faults.lost);
        assert_eq!(fates.iter().filter(|fate| fate.second.is_some()).count() as u64, faults.duplicated);
    }

    #[test]
    fn a_one_way_cut_leaves_the_way_back_open() {
        let (mut network, mut faults) = (Network::new(7, 2, Link::PERFECT), Faults::default());
        network.cut(A, B);
        assert_eq!(network.packet((A, B), 100, 0, &mut faults), Fate::default());
        assert!(network.packet((B, A), 100, 0, &mut faults).first.is_some());
        network.heal(A, B);
        assert!(network.packet((A, B), 100, 0, &mut faults).first.is_some());
        assert_eq!(faults.cut, 1);
    }

    #[test]
    fn a_later_rule_wins_and_leaves_what_it_does_not_name() {
        let mut network = Network::new(7, 3, Link::PERFECT);
        network.add_rule(&LinkRule { loss: Some(Chance(5)), ..LinkRule::default() });
        let from_a = LinkRule { from: Some(vec![A]), both: true, ..LinkRule::default() };
        network.add_rule(&LinkRule { delay: Some(Delay::Fixed(9)), to: Some(vec![B]), ..from_a });
        let link = Link { loss: Chance(5), ..Link::PERFECT };
        let slow = Link { delay: Delay::Fixed(9), ..link };
        assert_eq!((network.link(A, B), network.link(B, A)), (slow, slow));
        assert_eq!(network.link(A, HostId(2)), link);
    }

    #[test]
    fn corruption_turns_one_to_three_bits() {
        let (mut network, mut faults) = (Network::new(7, 2, Link::PERFECT), Faults::default());
        let mut most = 0;
        for _ in 0..200 {
            let mut bytes = [0_u8; 64];
            network.corrupt(&mut bytes, &mut faults);
            let turned: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
            assert!(turned <= 3);
            most = most.max(turned);
        }
        assert_eq!((most, faults.corrupted), (3, 200));
    }
}
