//! A cluster that strangers send rubbish to.

use std::net::{SocketAddr, UdpSocket};

use crate::process::{Net, three};

/// Datagrams to each agent.
const DATAGRAMS: u32 = 3_000;

/// Lines that an agent may print because of all of them together.
const LINES_MAX: usize = 50;

/// A sequence that is the same at every run (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Random bytes; every second datagram begins as one of ours does.
    fn datagram(&mut self) -> Vec<u8> {
        let len = self.next() % 1_400;
        let mut bytes: Vec<u8> = (0..len).map(|_| self.next().to_le_bytes()[3]).collect();
        if self.next().is_multiple_of(2)
            && let Some(first) = bytes.first_mut()
        {
            *first = 0xb5;
        }
        bytes
    }
}

#[test]
fn random_datagrams_fail_nobody_and_fill_no_log() {
    let net = Net(40);
    let agents = three(net, &["-profile=local"]);
    let before = agents.each_ref().map(|agent| agent.process.output.text().lines().count());
    let socket = UdpSocket::bind((net.ip(66), 0)).expect("binds");
    let mut noise = Noise(0x5eed);
    for _ in 0..DATAGRAMS {
        for agent in &agents {
            let to = SocketAddr::new(agent.ip.parse().expect("an address"), 7946);
            socket.send_to(&noise.datagram(), to).expect("is sent");
        }
    }
    for (agent, before) in agents.iter().zip(before) {
        agent.wait_for_members("n1 alive, n2 alive, n3 alive");
        agent.process.output.wait_for("[ERR] memberlist: ");
        let text = agent.process.output.text();
        let lines = text.lines().count() - before;
        assert!(lines <= LINES_MAX, "{lines} lines:\n{text}");
        assert!(!text.contains("EventMemberFailed"), "{text}");
    }
    // What they say to each other still comes through.
    let [one, two, three] = agents;
    assert_eq!(three.ask(&["leave"]), "Graceful leave complete\n");
    for agent in [&one, &two] {
        agent.wait_for_members("n1 alive, n2 alive, n3 left");
        let text = agent.process.output.text();
        assert!(!text.contains("EventMemberFailed"), "{text}");
    }
}
