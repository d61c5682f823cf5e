//! Which address an agent listens on and tells others, in networks of a test's own.

use rustix::process::Signal;

use crate::namespaces::Hosts;
use crate::process::{Program, original};

#[test]
fn the_interface_gives_the_address() {
    let Some(hosts) = Hosts::new() else { return };
    for words in [&["-iface=cable"][..], &["-iface=cable", "-bind=10.43.0.1"]] {
        let agent = hosts.agent(&Program::Ours, 0, "n1", words);
        agent.output.wait_for("[INFO] serf: EventMemberJoin: n1 10.43.0.1\n");
        let text = agent.output.text();
        assert!(text.contains("\n                      Bind addr: '10.43.0.1:7946'\n"), "{text}");
        let notice = "==> Using interface 'cable' address '10.43.0.1'\n==> Starting Serf agent...\n";
        assert_eq!(text.starts_with(notice), words.len() == 1, "{text}");
    }
}

#[test]
fn without_an_address_of_its_own_a_private_one_is_told() {
    let Some(hosts) = Hosts::new() else { return };
    let agent = hosts.agent(&Program::Ours, 0, "n1", &[]);
    agent.output.wait_for("[INFO] serf: EventMemberJoin: n1 10.43.0.1\n");
    assert!(agent.output.text().contains("Bind addr: '0.0.0.0:7946'\n"), "{}", agent.output.text());
    agent.signal(Signal::TERM);
    agent.end();
}

#[test]
fn what_is_wrong_with_an_interface_is_said_in_the_originals_words() {
    let Some(hosts) = Hosts::new() else { return };
    let mut programs = vec![Program::Ours];
    programs.extend(original());
    let refused = |words: &[&str], want: &str| {
        for program in &programs {
            let (code, text) = hosts.agent(program, 0, "n1", words).end();
            assert_eq!((code, text.lines().last()), (Some(1), Some(want)), "{program:?} {words:?}\n{text}");
        }
    };
    refused(&["-iface=nosuch"], "==> Invalid network interface: route ip+net: no such network interface");
    refused(&["-iface=loose"], "==> Interface 'loose' has no addresses");
    refused(&["-iface=cable", "-bind=10.43.0.9"], "==> Interface 'cable' has no '10.43.0.9' address");
    hosts.run(0, "ip address del 10.43.0.1/24 dev cable");
    refused(&["-iface=cable"], "==> Failed to find usable address for interface 'cable'");
    refused(
        &[],
        "==> Failed to start the Serf agent: Error creating Serf: Failed to create memberlist: Failed to get final \
         advertise address: No private IP address found, and explicit IP not provided",
    );
}
