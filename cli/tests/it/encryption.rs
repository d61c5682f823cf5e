//! A cluster with a key, and strangers to it.

use crate::process::{Agent, Net, three};
use crate::serf::{serf, transcript};

#[test]
fn a_cluster_with_a_key_keeps_strangers_out() {
    let net = Net(10);
    let (key, other) = (serf(&["keygen"]).stdout, serf(&["keygen"]).stdout);
    let cluster = three(net, &["-encrypt", key.trim()]);
    let info = cluster[1].ask(&["info"]);
    assert!(info.contains("\tencrypted = true\n"), "{info}");

    for (words, name, reason) in [
        (&["-encrypt", other.trim()][..], "agent-wrong-key", "No installed keys could decrypt the message"),
        (&[], "agent-no-key", "Encryption is configured but remote state is not encrypted"),
    ] {
        let words = [words, &["-join", &cluster[0].ip]].concat();
        let (code, text) = Agent::refused(net, 14, "bad", &words);
        assert_eq!((code, text), (Some(1), transcript(name)), "{words:?}");
        cluster[0].process.output.wait_for(&format!("[ERR] memberlist: failed to receive: {reason} from="));
    }
    for agent in &cluster {
        agent.wait_for_members("n1 alive, n2 alive, n3 alive");
    }
}

#[test]
fn an_agent_with_a_key_is_not_taken_in_by_a_cluster_without() {
    let net = Net(11);
    let key = serf(&["keygen"]).stdout;
    let open = Agent::start(net, 11, "n1", &[]);
    let (code, text) = Agent::refused(net, 12, "n2", &["-encrypt", key.trim(), "-join", &open.ip]);
    assert_eq!(code, Some(1));
    assert!(text.contains("==> 1 error occurred:\n\t* Failed to join 127.0.0.11: "), "{text}");
    open.process.output.wait_for("Remote state is encrypted and encryption is not configured from=");
    open.wait_for_members("n1 alive");
}
