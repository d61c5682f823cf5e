//! The cluster's own queries (protocol.md 2.9): never shown to the application.

use alloc::boxed::Box;

use super::keys::KeyTask;
use super::query::Origin;
use super::{conflict, key_payload};
use crate::ctx::Ctx;
use crate::log::Log;
use crate::serf::Serf;
use crate::swim::Swim;

/// How the names of all of them begin.
pub(super) const PREFIX: &[u8] = b"_serf_";
/// Asks for nothing but an ack.
pub(super) const PING: &[u8] = b"_serf_ping";
/// Asks who bears a name.
pub(super) const CONFLICT: &[u8] = b"_serf_conflict";
/// Adds a key.
pub(super) const INSTALL_KEY: &[u8] = b"_serf_install-key";
/// Makes a key the primary one.
pub(super) const USE_KEY: &[u8] = b"_serf_use-key";
/// Removes a key.
pub(super) const REMOVE_KEY: &[u8] = b"_serf_remove-key";
/// Asks which keys there are.
pub(super) const LIST_KEYS: &[u8] = b"_serf_list-keys";

impl Serf {
    /// Handles a query of the cluster's own; `kind` is its name behind the prefix.
    pub(super) fn on_internal_query(
        &mut self,
        ctx: &mut Ctx<'_>,
        swim: &mut Swim,
        origin: Origin,
        kind: &[u8],
        payload: &[u8],
    ) {
        match kind {
            b"ping" => (),
            b"conflict" => {
                // The bearers of the name have no vote.
                if payload != ctx.config.name.as_bytes()
                    && let Err(error) = self.say(ctx, swim, &origin, false, conflict::testimony(ctx, payload))
                {
                    ctx.log(Log::InternalQueryFailed(kind.into(), alloc::format!("{error}")));
                }
            }
            b"install-key" | b"use-key" | b"remove-key" | b"list-keys" => {
                let Some(key) = key_payload::read_request(payload) else {
                    return ctx.log(Log::InternalQueryFailed(kind.into(), "the key cannot be read".into()));
                };
                let task = match kind {
                    b"install-key" => KeyTask::Install,
                    b"use-key" => KeyTask::Use,
                    b"remove-key" => KeyTask::Remove,
                    _ => KeyTask::List,
                };
                self.on_key_task(ctx, swim, origin, task, &key);
            }
            _ => ctx.log(Log::UnknownInternalQuery(Box::from(kind))),
        }
    }
}
