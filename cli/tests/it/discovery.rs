//! Agents that find each other by multicast DNS, in networks of their own.

use crate::namespaces::Hosts;
use crate::process::{Process, Program, original};

const UP: &str = "==> Log data will now stream in as it occurs:";

/// Waits until an agent has found both, and joins them in one go or one after the other.
fn finds(agent: &Process, addresses: &[&str]) {
    let joining = |text: &str, address: &str| {
        text.lines().any(|line| line.contains("[INFO] agent: joining: [") && line.contains(address))
    };
    for address in addresses {
        agent.output.wait_for_text(address, |text| joining(text, address));
    }
}

#[test]
fn agents_of_one_name_find_and_join_each_other() {
    let Some(hosts) = Hosts::new() else { return };
    for words in [
        &["-discover=c"][..],
        &["-discover=c", "-mdns-disable-ipv6", "-replay"],
        &["-discover=c", "-mdns-disable-ipv4"],
        // No name of a service as the standards want it, but upstream takes it.
        &["-discover=dev.example.test", "-mdns-iface=cable"],
        &["-discover=A very long name of a cluster, with blanks", "-iface=cable"],
    ] {
        let one = hosts.agent(&Program::Ours, 0, "n1", words);
        one.output.wait_for("[INFO] agent.mdns: Joined 1 hosts\n");
        let two = hosts.agent(&Program::Ours, 1, "n2", words);
        finds(&two, &["10.43.0.1:7946", "10.43.0.2:7946"]);
        one.output.wait_for("[INFO] serf: EventMemberJoin: n2 10.43.0.2\n");
        two.output.wait_for("[INFO] agent.mdns: Joined ");
        let replay = words.contains(&"-replay");
        two.output.wait_for(&format!("] replay: {replay}\n"));
        let text = two.output.text();
        let cluster = words[0].strip_prefix("-discover=").expect("the name comes first");
        assert!(text.contains(&format!("                   mDNS cluster: {cluster}\n\n{UP}")), "{text}");
        let on = text.contains("[INFO] agent: Starting mDNS listener on interface cable\n");
        assert_eq!(on, words.iter().any(|word| word.ends_with("iface=cable")), "{text}");
        let members = hosts.ask(0, &["members"]);
        assert_eq!(members, "n1  10.43.0.1:7946  alive  \nn2  10.43.0.2:7946  alive\n");
    }
}

#[test]
fn agents_of_another_name_are_not_seen() {
    let Some(hosts) = Hosts::new() else { return };
    let one = hosts.agent(&Program::Ours, 0, "n1", &["-discover=c"]);
    one.output.wait_for("[INFO] agent.mdns: Joined 1 hosts\n");
    let two = hosts.agent(&Program::Ours, 1, "n2", &["-discover=other"]);
    two.output.wait_for("[INFO] agent.mdns: Joined 1 hosts\n");
    finds(&two, &["10.43.0.2:7946"]);
    assert!(!two.output.text().contains("10.43.0.1"), "{}", two.output.text());
}

#[test]
fn ours_and_the_original_find_each_other() {
    let Some(original) = original() else { return };
    let Some(hosts) = Hosts::new() else { return };
    for cluster in ["-discover=c", "-discover=dev.example.test"] {
        for programs in [[&Program::Ours, &original], [&original, &Program::Ours]] {
            let one = hosts.agent(programs[0], 0, "n1", &[cluster]);
            one.output.wait_for(UP);
            finds(&one, &["10.43.0.1:7946"]);
            let two = hosts.agent(programs[1], 1, "n2", &[cluster]);
            finds(&two, &["10.43.0.1:7946", "10.43.0.2:7946"]);
            for agent in [&one, &two] {
                agent.output.wait_for(if std::ptr::eq(agent, &one) {
                    "EventMemberJoin: n2"
                } else {
                    "EventMemberJoin: n1"
                });
            }
        }
    }
}

#[test]
fn a_network_without_multicast_is_refused() {
    let Some(hosts) = Hosts::new() else { return };
    let agent = hosts.agent(&Program::Ours, 0, "n1", &["-discover=c", "-mdns-iface=loose"]);
    let want =
        "==> Starting Serf agent...\n==> Error starting mDNS listener: No multicast listeners could be started\n";
    assert_eq!(agent.end(), (Some(1), want.to_owned()));
    let agent = hosts.agent(&Program::Ours, 0, "n1", &["-discover=a..b"]);
    let (code, text) = agent.end();
    assert_eq!(code, Some(1));
    assert!(text.contains("==> Error starting mDNS listener: the cluster name 'a..b' does not fit into DNS"), "{text}");
}
