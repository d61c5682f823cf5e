//! Keys: what a member does with its own, and what all of them do together (protocol.md 2.9).

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::key_payload::{self, KeyAnswer};
use super::query::{Ask, Asker, Origin, default_timeout};
use super::{Kept, internal_query};
use crate::command::{CommandError, KeyOutcome, KeyRequest, Question, Reply};
use crate::ctx::Ctx;
use crate::io::{Persist, PersistError, RequestId};
use crate::keyring::{Key, KeyError};
use crate::limits;
use crate::log::Log;
use crate::serf::{Serf, reply};
use crate::swim::Swim;
use crate::time::Time;
use crate::timers::TimerKind;
use crate::types::Name;
use crate::wire::Filter;

/// Keys that a list begins with: one fits about every 25 bytes of an answer (protocol.md 2.9).
const BYTES_PER_LISTED_KEY: usize = 25;
/// Bytes of the longest key in base64.
const KEY_TEXT_BYTES: usize = 44;
/// What a key query takes besides the names in its filter, at most.
const QUERY_OVERHEAD: usize = 320;

/// What a member is asked to do with its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum KeyTask {
    Install,
    Use,
    Remove,
    List,
}

impl KeyTask {
    /// The task of a query, by the query's name behind the prefix.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        [Self::Install, Self::Use, Self::Remove, Self::List].into_iter().find(|task| task.name().as_bytes() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Install => "install-key",
            Self::Use => "use-key",
            Self::Remove => "remove-key",
            Self::List => "list-keys",
        }
    }

    /// What upstream's log says that it failed to do.
    const fn words(self) -> &'static str {
        match self {
            Self::Install => "install key",
            Self::Use => "change primary key",
            Self::Remove => "remove key",
            Self::List => "list keys",
        }
    }
}

/// The key operations that operators have asked for, the first one under way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct KeyRuns {
    queue: VecDeque<KeyRun>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeyRun {
    request: RequestId,
    operation: KeyRequest,
    begun: bool,
    /// Who is asked and has not answered.
    missing: BTreeSet<Name>,
    /// When the first question ends.
    until: Time,
    /// Questions under way: the first one, and the one that asks again.
    questions: u8,
    /// Keys in the rings of the outcome.
    shown: usize,
    outcome: KeyOutcome,
}

impl KeyRun {
    /// Notes which keys a member has, primary first: how many there was no room for. What is too long is no key.
    fn show(&mut self, from: Name, primary: &str, keys: &[String]) -> u64 {
        let others = keys.iter().map(String::as_str).filter(|&key| key != primary);
        let has = core::iter::once(primary).chain(others).filter(|key| (1..=KEY_TEXT_BYTES).contains(&key.len()));
        let ring: Vec<String> = has.map(ToString::to_string).collect();
        let shown = self.shown.saturating_add(ring.len());
        if shown > limits::KEYS_SHOWN_MAX {
            return 1;
        }
        self.shown = shown;
        self.outcome.rings.insert(from, ring);
        0
    }
}

impl Serf {
    /// Queues a key operation; one runs at a time.
    pub(super) fn key_operation(
        &mut self,
        ctx: &mut Ctx<'_>,
        swim: &mut Swim,
        request: RequestId,
        operation: KeyRequest,
    ) {
        if self.key_runs.queue.len() >= limits::KEY_REQUESTS_MAX {
            return reply(ctx, request, Reply::Failed(CommandError::Busy));
        }
        self.key_runs.queue.push_back(KeyRun {
            request,
            operation,
            begun: false,
            missing: BTreeSet::new(),
            until: ctx.now,
            questions: 0,
            shown: 0,
            outcome: KeyOutcome::default(),
        });
        self.advance_keys(ctx, swim);
    }

    fn advance_keys(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim) {
        while let Some(run) = self.key_runs.queue.front_mut() {
            if core::mem::replace(&mut run.begun, true) {
                return;
            }
            let timeout = default_timeout(ctx);
            let live = ctx.table.live().iter().filter_map(|&slot| ctx.table.find(slot));
            run.missing = live.map(|member| member.name().clone()).collect();
            run.outcome.nodes = u32::try_from(run.missing.len()).unwrap_or(u32::MAX);
            run.until = ctx.now + timeout;
            // U-26: who has not answered after half the time is asked again, alone.
            ctx.arm(TimerKind::KeyRetry, ctx.now + timeout / 2);
            match self.ask_keys(ctx, swim, timeout, Vec::new()) {
                Ok(()) => return,
                Err(error) => {
                    ctx.timers.disarm(TimerKind::KeyRetry);
                    if let Some(run) = self.key_runs.queue.pop_front() {
                        reply(ctx, run.request, Reply::Failed(error));
                    }
                }
            }
        }
    }

    fn ask_keys(
        &mut self,
        ctx: &mut Ctx<'_>,
        swim: &mut Swim,
        timeout: Duration,
        filters: Vec<Filter>,
    ) -> Result<(), CommandError> {
        let Some(run) = self.key_runs.queue.front_mut() else { return Ok(()) };
        let (name, key): (&[u8], &[u8]) = match &run.operation {
            KeyRequest::Install(key) => (internal_query::INSTALL_KEY, key),
            KeyRequest::Use(key) => (internal_query::USE_KEY, key),
            KeyRequest::Remove(key) => (internal_query::REMOVE_KEY, key),
            KeyRequest::List | KeyRequest::Status => (internal_query::LIST_KEYS, &[]),
        };
        let question = Question {
            name: name.into(),
            payload: key_payload::write_request(key),
            filters,
            ack: false,
            relay_factor: 0,
            timeout: None,
        };
        run.questions = run.questions.saturating_add(1);
        let asked = self.ask(ctx, swim, Ask { asker: Asker::Keys, question, timeout });
        if let (Err(_), Some(run)) = (&asked, self.key_runs.queue.front_mut()) {
            run.questions = run.questions.saturating_sub(1);
        }
        asked
    }

    /// Asks those again who have not answered (U-26).
    pub(super) fn on_key_retry(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim) {
        let Some(run) = self.key_runs.queue.front() else { return };
        let left = run.until.since(ctx.now);
        // As many as a query has room for: each name and its length, and the query itself.
        let mut room = ctx.config.serf.query_bytes.saturating_sub(QUERY_OVERHEAD);
        let names: Vec<Name> = run
            .missing
            .iter()
            .take_while(|name| {
                let cost = name.as_bytes().len().saturating_add(3);
                let fits = cost <= room;
                room = room.saturating_sub(cost);
                fits
            })
            .cloned()
            .collect();
        if names.is_empty() || left.is_zero() {
            return;
        }
        if let Err(error) = self.ask_keys(ctx, swim, left, [Filter::Nodes(names)].into()) {
            ctx.log(Log::InternalQueryFailed(b"keys".as_slice().into(), error.to_string()));
        }
    }

    /// A member's answer; each counts once.
    pub(super) fn on_key_response(&mut self, ctx: &mut Ctx<'_>, from: Name, payload: &[u8]) {
        let Some(run) = self.key_runs.queue.front_mut() else { return };
        if !run.missing.remove(&from) {
            return;
        }
        let outcome = &mut run.outcome;
        outcome.responses = outcome.responses.saturating_add(1);
        let Some(answer) = key_payload::read_answer(payload) else {
            outcome.errors = outcome.errors.saturating_add(1);
            outcome.messages.insert(from, "the answer cannot be read".into());
            return;
        };
        if !answer.result {
            outcome.errors = outcome.errors.saturating_add(1);
        }
        if !answer.message.is_empty() {
            outcome.messages.insert(from.clone(), answer.message);
        }
        let mut left_out = 0_u64;
        if run.operation == KeyRequest::Status && answer.result {
            left_out = run.show(from, &answer.primary, &answer.keys);
        }
        let outcome = &mut run.outcome;
        for key in answer.keys {
            left_out = left_out.saturating_add(u64::from(!count(&mut outcome.keys, key)));
        }
        // U-26: only a list names a primary key.
        if !answer.primary.is_empty() {
            left_out = left_out.saturating_add(u64::from(!count(&mut outcome.primaries, answer.primary)));
        }
        if left_out > 0 {
            ctx.dropped("list of keys", limits::KEYS_LISTED_MAX, left_out);
        }
    }

    /// One question of the running operation is over: the operation is, when none is left or everybody has answered.
    pub(super) fn on_key_query_end(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim) {
        let Some(run) = self.key_runs.queue.front_mut() else { return };
        run.questions = run.questions.saturating_sub(1);
        if run.questions > 0 || (!run.missing.is_empty() && ctx.now < run.until) {
            return;
        }
        ctx.timers.disarm(TimerKind::KeyRetry);
        let Some(mut run) = self.key_runs.queue.pop_front() else { return };
        run.outcome.missing = run.missing.into_iter().collect();
        if !run.outcome.missing.is_empty() {
            ctx.log(Log::KeysUnanswered(run.outcome.missing.clone()));
        }
        reply(ctx, run.request, Reply::Keys(Box::new(run.outcome)));
        self.advance_keys(ctx, swim);
    }

    /// Does with our own keys what a query asks for; where there is a keyring file, the answer waits for it.
    pub(super) fn on_key_query(
        &mut self,
        ctx: &mut Ctx<'_>,
        swim: &mut Swim,
        origin: Origin,
        task: KeyTask,
        payload: &[u8],
    ) {
        // Upstream does not look at what comes with the question for a list.
        let key = if task == KeyTask::List { Some(Zeroizing::default()) } else { key_payload::read_request(payload) };
        let Some(key) = key else {
            ctx.log(Log::TaskFailed("decode key request", "it is no map with a key".into()));
            return self.answer_key(ctx, swim, &origin, Err(String::new()));
        };
        if ctx.keyring.is_empty() {
            let why = match task {
                KeyTask::List => "Keyring is empty (encryption not enabled)",
                KeyTask::Install | KeyTask::Use | KeyTask::Remove => "No keyring to modify (encryption not enabled)",
            };
            ctx.log(Log::NoKeyring(why));
            return self.answer_key(ctx, swim, &origin, Err(why.into()));
        }
        ctx.log(Log::KeyQuery(task.name()));
        let is_kept = ctx.config.serf.keyring_file;
        let result = match task {
            KeyTask::List => return self.list_keys(ctx, swim, &origin),
            // Before the ring changes: what is refused must not happen.
            KeyTask::Install | KeyTask::Use | KeyTask::Remove if is_kept && self.kept.len() >= limits::PERSISTS_MAX => {
                Err(CommandError::Busy.to_string())
            }
            KeyTask::Install | KeyTask::Use | KeyTask::Remove => {
                change_ring(ctx, task, &key).map_err(|error| error.to_string())
            }
        };
        if let Err(message) = &result {
            ctx.log(Log::TaskFailed(task.words(), message.clone()));
        }
        if result.is_ok() && is_kept {
            let id = ctx.persist(Persist::Keyring(ctx.keyring.keys().cloned().collect()));
            self.kept.insert(id, Kept::Keyring(origin));
        } else {
            self.answer_key(ctx, swim, &origin, result);
        }
    }

    /// The keyring file is written, or is not.
    pub(super) fn on_keyring_kept(
        &mut self,
        ctx: &mut Ctx<'_>,
        swim: &mut Swim,
        origin: &Origin,
        result: Result<(), PersistError>,
    ) {
        if let Err(error) = &result {
            ctx.log(Log::TaskFailed("write keyring file", error.to_string()));
        }
        self.answer_key(ctx, swim, origin, result.map_err(|error| error.to_string()));
    }

    fn answer_key(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, origin: &Origin, result: Result<(), String>) {
        let answer =
            KeyAnswer { result: result.is_ok(), message: result.err().unwrap_or_default(), ..KeyAnswer::default() };
        if let Err(error) = self.say(ctx, swim, origin, false, key_payload::write_answer(&answer)) {
            ctx.log(Log::TaskFailed("respond to key query", error.to_string()));
        }
    }

    /// Lists our keys: as many as fit into an answer, and says so where some do not.
    fn list_keys(&mut self, ctx: &mut Ctx<'_>, swim: &mut Swim, origin: &Origin) {
        let keys: Vec<String> = ctx.keyring.keys().map(Key::to_base64).collect();
        let primary = keys.first().cloned().unwrap_or_default();
        let most = ctx.config.serf.query_response_bytes / BYTES_PER_LISTED_KEY;
        for shown in (0..=keys.len().min(most)).rev() {
            let message = if shown < keys.len() {
                alloc::format!("truncated key list response, showing first {shown} of {} keys", keys.len())
            } else {
                String::new()
            };
            let listed = keys.iter().take(shown).cloned().collect();
            let answer = KeyAnswer { result: true, message, keys: listed, primary: primary.clone() };
            match self.say(ctx, swim, origin, false, key_payload::write_answer(&answer)) {
                Err(CommandError::ResponseTooLong { .. }) => (),
                Ok(()) | Err(_) => return,
            }
        }
    }
}

fn change_ring(ctx: &mut Ctx<'_>, task: KeyTask, key: &[u8]) -> Result<(), KeyError> {
    match task {
        KeyTask::Install => ctx.keyring.add(Key::new(key)?),
        KeyTask::Use => ctx.keyring.make_primary(&Key::new(key).map_err(|_| KeyError::Unknown)?),
        // Removing what is not there is no error (cli.md 2.5), whatever it is.
        KeyTask::Remove => Key::new(key).map_or(Ok(()), |key| ctx.keyring.remove(&key)),
        KeyTask::List => Ok(()),
    }
}

/// Counts a key; false: there are too many different ones.
fn count(counts: &mut alloc::collections::BTreeMap<String, u32>, key: String) -> bool {
    let fits = counts.len() < limits::KEYS_LISTED_MAX || counts.contains_key(&key);
    if fits {
        let count = counts.entry(key).or_default();
        *count = count.saturating_add(1);
    }
    fits
}
