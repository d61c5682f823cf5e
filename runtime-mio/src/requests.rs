//! x
/// Who
pub(crate) enum Asker { /// x
 Start, /// x
 Signal, /// x
 Client(u64) }
use crate::agent::Agent;
use villein_core::{Time, command::Reply};
impl Agent {
    pub(crate) fn answer_client(&mut self, _t: u64, _r: Reply) {}
    pub(crate) fn serve_clients(&mut self, _now: Time) {}
    pub(crate) fn close_clients(&mut self) {}
}
