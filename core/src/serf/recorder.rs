//! What is worth knowing after a restart, as lines of the snapshot (protocol.md 2.13).

use serde::{Deserialize, Serialize};

use crate::ctx::Ctx;
use crate::io::{PersistError, PersistId};
use crate::lamport::LamportTime;
use crate::serf::Serf;
use crate::swim::Swim;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Recorder {}

impl Recorder {
    pub(super) fn event(&mut self, _ctx: &mut Ctx<'_>, _ltime: LamportTime) {}
    pub(super) fn query(&mut self, _ctx: &mut Ctx<'_>, _ltime: LamportTime) {}
}

impl Serf {
    pub(super) fn on_snapshot_kept(
        &mut self,
        _ctx: &mut Ctx<'_>,
        _swim: &mut Swim,
        _id: PersistId,
        _result: Result<(), PersistError>,
    ) {
    }
    pub(super) fn on_snapshot_clocks(&mut self, _ctx: &mut Ctx<'_>) {}
    pub(super) fn on_snapshot_retry(&mut self, _ctx: &mut Ctx<'_>) {}
    pub(super) fn on_snapshot_join(&mut self, _ctx: &mut Ctx<'_>, _swim: &mut Swim) {}
}
