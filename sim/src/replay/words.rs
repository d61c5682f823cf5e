//! What a difference shows of inputs and outputs: never a key, nor what nonces are made of.

use villein_core::command::{Command, KeyRequest, Reply};
use villein_core::io::StreamEvent;
use villein_core::{Output, Stimulus};

/// A stimulus without its bytes.
pub(super) fn stimulus(stimulus: &Stimulus<'_>) -> String {
    match stimulus {
        Stimulus::Datagram { from, bytes } => format!("a datagram of {} bytes from {from}", bytes.len()),
        Stimulus::Stream { id, event: StreamEvent::Bytes(bytes) } => {
            format!("{} bytes of stream {}", bytes.len(), id.0)
        }
        Stimulus::Entropy { bytes } => format!("Entropy of {} bytes", bytes.len()),
        Stimulus::Command { id, command: Command::Key(request) } => format!("Command {} about {}", id.0, key(request)),
        other => format!("{other:?}"),
    }
}

fn key(request: &KeyRequest) -> String {
    match request {
        KeyRequest::Install(key) => format!("installing a key of {} bytes", key.len()),
        KeyRequest::Use(key) => format!("using a key of {} bytes", key.len()),
        KeyRequest::Remove(key) => format!("removing a key of {} bytes", key.len()),
        KeyRequest::List => "listing keys".to_owned(),
        KeyRequest::Status => "listing who has which keys".to_owned(),
    }
}

/// An output. A key of the core's own type shows nothing but its length; the answer of all members holds them as text.
pub(super) fn output(output: &Output) -> String {
    if let Output::Reply { id, reply } = output
        && let Reply::Keys(outcome) = &**reply
    {
        return format!(
            "Reply {}: {} keys, {} members, {} answers, {} errors, missing: {:?}",
            id.0,
            outcome.keys.len(),
            outcome.nodes,
            outcome.responses,
            outcome.errors,
            outcome.missing
        );
    }
    format!("{output:?}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use villein_core::command::KeyOutcome;
    use villein_core::io::{Persist, PersistId, RequestId};
    use villein_core::keyring::Key;

    #[test]
    fn no_key_is_shown() {
        let bytes = [201; 16];
        let key = Key::new(&bytes).expect("16 bytes");
        let text = key.to_base64();
        let command = |request| Stimulus::Command { id: RequestId(1), command: Command::Key(request) };
        let count = || BTreeMap::from([(text.clone(), 3)]);
        let outcome = KeyOutcome { nodes: 3, responses: 3, keys: count(), primaries: count(), ..KeyOutcome::default() };
        let shown = [
            stimulus(&command(KeyRequest::Install(bytes.into()))),
            stimulus(&command(KeyRequest::Use(bytes.into()))),
            stimulus(&command(KeyRequest::Remove(bytes.into()))),
            stimulus(&Stimulus::Entropy { bytes: [201; 32] }),
            output(&Output::Reply { id: RequestId(1), reply: Box::new(Reply::Keys(Box::new(outcome))) }),
            output(&Output::Persist { id: PersistId(1), record: Box::new(Persist::Keyring(vec![key])) }),
        ];
        for words in shown {
            assert!(!words.contains("201") && !words.contains(&text), "{words}");
        }
    }
}
