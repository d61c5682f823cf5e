//! `serf keys -rotate`: a new key instead of all others, in steps that can be repeated.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use villein_core::keyring::Key;
use villein_core::rpc::KeyOperation;

use super::status::KeyStatus;
use crate::output::{Form, Output, lossy};
use crate::rpc::Client;
use crate::ui;

/// How long it is between two attempts to reach members that did not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// How often keys are removed that showed only when others were gone. An answer has room for about twenty.
const PASSES_MAX: usize = 100;

/// A rotation under way: which key, and with what patience.
pub(super) struct Rotation<'a> {
    pub(super) client: &'a mut Client,
    pub(super) form: Form,
    /// How long a step may wait for members that do not answer.
    pub(super) patience: Duration,
    /// How long the old keys stay when nobody seals with them any more.
    pub(super) grace: Duration,
}

/// What has become of it.
pub(super) struct Rotated {
    members: u64,
    removed: usize,
}

impl Rotation<'_> {
    /// Has all members install `key`, use it, and remove every other key. What is done already is not done again.
    ///
    /// # Errors
    /// Which step does not succeed and because of whom; all keys that are needed to go on are still there.
    pub(super) fn run(&mut self, key: &Key) -> Result<Rotated, String> {
        let text = key.to_base64().into_bytes();
        self.say(&format!("==> Rotating to {}; if this is interrupted, repeat the command", lossy(&text)));
        let installed = self.step("Installing it", KeyOperation::Install, &text, |status, done| {
            if done { status.without_though_installed(&text) } else { status.without(&text, false) }
        })?;
        if !installed.without(&text, true).is_empty() {
            self.nobody_is_away()?;
        }
        let primary = self.step("Using it", KeyOperation::Use, &text, |status, _| status.without(&text, true))?;
        if !self.grace.is_zero() && !primary.others(&text).is_empty() {
            self.say(&format!("==> Keeping the old for {:?}: what is on its way may need it", self.grace));
            pause(self.grace);
        }
        self.remove_others(&text, primary)
    }

    /// Removes every key but `key`, until nobody shows another. Who has more keys than it shows shows others then.
    fn remove_others(&mut self, key: &[u8], mut status: KeyStatus) -> Result<Rotated, String> {
        const STEP: &str = "Removing an old key";
        let mut removed = BTreeSet::new();
        for _ in 0..PASSES_MAX {
            let others = status.others(key);
            if others.is_empty() {
                break;
            }
            for one in others {
                status = self.step(STEP, KeyOperation::Remove, &one, |status, _| status.with(&one))?;
                removed.insert(one);
            }
        }
        let cut = status.cut();
        if !cut.is_empty() || !status.others(key).is_empty() {
            return Err(format!("{STEP}: there are more keys than members show: {}", cut.join(", ")));
        }
        Ok(Rotated { members: status.asked(), removed: removed.len() })
    }

    /// Repeats an operation until `missing` is empty, which is told whether all members have said that they did it.
    fn step(
        &mut self,
        what: &str,
        operation: KeyOperation,
        key: &[u8],
        missing: impl Fn(&KeyStatus, bool) -> Vec<String>,
    ) -> Result<KeyStatus, String> {
        #[expect(clippy::disallowed_methods, reason = "patience of the person who waits; no rule depends on it")]
        let start = Instant::now();
        let mut last = None;
        loop {
            let status = KeyStatus::ask(self.client)?;
            let waits_for = missing(&status, last == Some(true));
            if waits_for.is_empty() && status.error().is_none() {
                return Ok(status);
            }
            if start.elapsed() >= self.patience {
                let why = status.error().map(|error| format!(" ({error})")).unwrap_or_default();
                let named = if waits_for.is_empty() { String::new() } else { format!(": {}", waits_for.join(", ")) };
                return Err(format!("{what}: not all members have done it{named}{why}"));
            }
            // An operation need not fail where its effect does not show.
            if last.is_some() {
                pause(AGAIN);
            }
            self.say(&format!("==> {what}: {} of {} members to go", waits_for.len(), status.asked()));
            // What a member refuses shows in the next status; what it says is worth telling.
            let (error, report) = self.client.keys(operation, key.to_vec()).map_err(|error| error.to_string())?;
            for (node, words) in &report.messages {
                self.say(&format!("    {}: {}", lossy(node), lossy(words)));
            }
            last = Some(error.is_empty());
        }
    }

    /// Who has failed may come back, knows only an old key, and could read nothing that is sealed with the new one.
    fn nobody_is_away(&mut self) -> Result<(), String> {
        let members = self.client.members().map_err(|error| error.to_string())?;
        let mut away: Vec<String> =
            members.iter().filter(|member| member.status == b"failed").map(|member| lossy(&member.name)).collect();
        away.sort();
        if away.is_empty() {
            return Ok(());
        }
        Err(format!(
            "the new key is installed, and not used yet: {} failed, and could not come back without it; \
             repeat the command when it is back, or after force-leave if it is not to come back",
            away.join(", ")
        ))
    }

    fn say(&self, line: &str) {
        if self.form == Form::Text {
            ui::say(line);
        }
    }
}

fn pause(duration: Duration) {
    #[expect(clippy::disallowed_methods, reason = "nothing tells when the last packet has arrived")]
    thread::sleep(duration);
}

impl Output for Rotated {
    fn text(&self) -> Vec<u8> {
        let removed = if self.removed == 1 { "key was" } else { "keys were" };
        format!("==> Rotated: {} members have this key alone; {} other {removed} removed", self.members, self.removed)
            .into()
    }

    fn json(&self) -> Value {
        json!({ "nodes": self.members, "removed": self.removed })
    }
}
