//! The digest: a 128-bit keyed hash over every output of every node, with its time and its host.

use std::fmt;

use villein_core::Output;
use villein_core::record::OutputHash;

use crate::scenario::HostId;
use crate::units::Seconds;

/// What a play came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub u128);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Hashes outputs as they come.
pub(crate) struct Trace {
    hash: OutputHash,
    /// The digest at each whole second: shows where two plays part.
    marks: Vec<Digest>,
    /// Outputs of this window are written down, to show where two plays part.
    window: Option<(u64, u64)>,
    lines: Vec<String>,
}

impl Trace {
    /// A trace whose hash depends on `key`.
    pub(crate) fn new(key: (u64, u64), window: Option<(u64, u64)>) -> Self {
        Self { hash: OutputHash::new(key), marks: Vec::new(), window, lines: Vec::new() }
    }

    /// Takes in the outputs of one input.
    pub(crate) fn record(&mut self, now: u64, host: HostId, outputs: &[Output]) {
        while (self.marks.len() as u64 + 1) * 1_000_000_000 <= now {
            self.marks.push(self.digest());
        }
        for output in outputs {
            self.hash.number(now);
            self.hash.number(u64::from(host.0));
            self.hash.output(output);
        }
        if self.window.is_some_and(|(from, to)| (from..to).contains(&now)) {
            self.lines.extend(outputs.iter().map(|output| format!("{now} ns, host {}: {output:?}", host.0)));
        }
    }

    /// The digest so far.
    pub(crate) fn digest(&self) -> Digest {
        Digest(self.hash.digest())
    }

    /// The first whole second at which two traces differ.
    pub(crate) fn parting(&self, other: &Self) -> Seconds {
        let second = self.marks.iter().zip(&other.marks).take_while(|(one, two)| one == two).count();
        Seconds(second as u64 * 1_000_000_000)
    }

    /// The first outputs that differ within the window, of both.
    pub(crate) fn first_difference<'a>(&'a self, other: &'a Self) -> Option<(&'a str, &'a str)> {
        let longest = self.lines.len().max(other.lines.len());
        let line = |trace: &'a Self, place: usize| trace.lines.get(place).map_or("nothing", String::as_str);
        (0..longest).map(|place| (line(self, place), line(other, place))).find(|(one, two)| one != two)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use villein_core::io::ResolveId;

    fn datagram(byte: u8) -> Output {
        let to = crate::network::addr(HostId(1));
        Output::Datagram { activity: villein_core::Activity::Probe, to, bytes: Box::new([byte]) }
    }

    #[test]
    fn every_part_of_an_output_counts() {
        let digest = |now, host, output: Output| {
            let mut trace = Trace::new((1, 2), None);
            trace.record(now, HostId(host), &[output]);
            trace.digest()
        };
        let one = digest(5, 0, datagram(1));
        assert_eq!(one, digest(5, 0, datagram(1)));
        assert_ne!(one, digest(6, 0, datagram(1)));
        assert_ne!(one, digest(5, 1, datagram(1)));
        assert_ne!(one, digest(5, 0, datagram(2)));
        let resolve = |name: &str| Output::Resolve {
            id: ResolveId(0),
            host: Box::new(villein_core::io::Host { name: name.to_owned(), port: 1 }),
        };
        assert_ne!(digest(5, 0, resolve("a")), digest(5, 0, resolve("b")));
    }

    #[test]
    fn the_second_and_the_output_at_which_two_plays_part_are_found() {
        let window = Some((3_000_000_000, 4_000_000_000));
        let (mut one, mut two) = (Trace::new((1, 2), window), Trace::new((1, 2), window));
        for (trace, byte) in [(&mut one, 7), (&mut two, 8)] {
            for second in 0..6_u64 {
                let byte = if second == 3 { byte } else { 0 };
                trace.record(second * 1_000_000_000 + 5, HostId(0), &[datagram(byte)]);
            }
        }
        assert_eq!(one.parting(&two), Seconds(3_000_000_000));
        let (left, right) = one.first_difference(&two).expect("a difference");
        assert!(left.contains("[7]") && right.contains("[8]"), "{left} / {right}");
    }
}
