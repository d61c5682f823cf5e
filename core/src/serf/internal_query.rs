//! The cluster's own queries (protocol.md 2.9): never shown to the application.

use alloc::boxed::Box;

use super::conflict;
use super::keys::KeyTask;
use super::query::Origin;
use crate::ctx::Ctx;
use crate::log::Log;
use crate::serf::Serf;
use crate::swim::Swim;
use crate::types::Name;

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
                if payload == ctx.config.name.as_bytes() {
                    return;
                }
                ctx.log(Log::ConflictQuery(Name::new(payload)));
                if let Err(error) = self.say(ctx, swim, &origin, false, conflict::testimony(ctx, payload)) {
                    ctx.log(Log::TaskFailed("respond to conflict query", alloc::format!("{error}")));
                }
            }
            _ => match KeyTask::of(kind) {
                Some(task) => self.on_key_query(ctx, swim, origin, task, payload),
                None => ctx.log(Log::UnknownInternalQuery(Box::from(kind))),
            },
        }
    }
}
