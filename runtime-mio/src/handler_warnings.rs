//! What is said of event handlers before it does harm (reliability.md 2d).

use villein_core::go_quote::GoQuoted;
use villein_core::log::Level;
use villein_core::types::Tags;

use crate::agent::Agent;
use crate::event_script::EventScript;
use crate::invocation;

impl Agent {
    /// Says which tags handlers cannot tell apart, again only when these are others. Without handlers nobody is misled.
    pub(crate) fn warn_of_tags(&mut self) {
        let shared = if self.live.event_handlers.is_empty() { Vec::new() } else { shared_lines(&self.node.tags()) };
        if shared != self.shared_variables {
            for line in &shared {
                self.journal.log(Level::Warn, format_args!("agent: {line}"));
            }
            self.shared_variables = shared;
        }
    }

    /// Says which handlers run what anybody on the network may send; `known` are those of which it was said.
    pub(crate) fn warn_of_shells(&mut self, known: &[EventScript]) {
        if self.node.stats().encrypted {
            return;
        }
        for handler in self.live.event_handlers.iter().filter(|handler| handler.runs_its_input()) {
            if !known.contains(handler) {
                let problem = format_args!(
                    "agent: The event handler '{}={}' runs what it is sent, and gossip is not encrypted: whoever can reach this \
                     agent can run commands",
                    handler.filter(),
                    handler.script
                );
                self.journal.log(Level::Warn, problem);
            }
        }
    }
}

fn shared_lines(tags: &Tags) -> Vec<String> {
    let line = |(variable, tags): (String, Vec<&[u8]>)| {
        let (last, others) = tags.split_last()?;
        let others: Vec<String> = others.iter().map(|tag| GoQuoted(tag).to_string()).collect();
        let (last, others) = (GoQuoted(last), others.join(", "));
        Some(format!("The tags {others} and {last} are one variable for event handlers: {variable} is that of {last}"))
    };
    invocation::shared_variables(tags).into_iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tags_of_a_variable_are_named_and_the_one_that_counts() {
        let tags = |names: &[&str]| names.iter().map(|name| (name.as_bytes().to_vec(), Vec::new())).collect();
        assert_eq!(shared_lines(&tags(&["a-b", "a", "role"])), [""; 0]);
        let wanted = [
            "The tags \"A_B\", \"a-b\" and \"a_b\" are one variable for event handlers: SERF_TAG_A_B is that of \"a_b\"",
            "The tags \"X\" and \"x\" are one variable for event handlers: SERF_TAG_X is that of \"x\"",
        ];
        assert_eq!(shared_lines(&tags(&["x", "a_b", "A_B", "X", "a-b", "y"])), wanted);
    }
}
