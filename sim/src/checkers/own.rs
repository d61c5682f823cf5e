//! What a node shows of itself, and what it sends and keeps.

use villein_core::Time;
use villein_core::command::Reply;
use villein_core::coordinate::Coordinate;
use villein_core::event::Status;
use villein_core::lamport::LamportTime;
use villein_core::node::{MemberView, Stats};
use villein_core::types::{Name, Tags};

use super::{Broken, Checkers, Life, broken};
use crate::scenario::HostId;

/// The three clocks of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clocks {
    now: [LamportTime; 3],
    /// The highest time of an event and of a query that was heard.
    pub(super) heard: [LamportTime; 2],
}

/// How long a member that is gone is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Remembered {
    /// One that failed.
    pub failed: std::time::Duration,
    /// One that left.
    pub left: std::time::Duration,
}

impl Checkers {
    /// What a node shows of itself after an input; `keys`: how many it has, if its cluster is encrypted.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub fn own(
        &mut self,
        host: HostId,
        own: Option<&MemberView>,
        stats: &Stats,
        keys: Option<usize>,
        coordinate: Option<&Coordinate>,
    ) -> Result<(), Broken> {
        let life = &mut self.lives[host.index()];
        clocks(life, stats)?;
        match own {
            None => return broken("a node knows itself", "it does not list itself"),
            Some(own) if matches!(own.info.status, Status::Failed | Status::None) => {
                return broken("a node knows itself", format!("it is {} to itself", own.info.status));
            }
            Some(_) => {}
        }
        if keys == Some(0) {
            return broken("an encrypted node has a key", "its keyring is empty");
        }
        if coordinate.is_some_and(|coordinate| !coordinate.is_valid()) {
            return broken("a coordinate is finite", format!("{coordinate:?}"));
        }
        Ok(())
    }

    /// A datagram is sent.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub fn datagram(&self, bytes: usize, most: usize) -> Result<(), Broken> {
        if bytes > most {
            return broken("no datagram is larger than a packet may be", format!("{bytes} bytes of at most {most}"));
        }
        Ok(())
    }

    /// A member is forgotten though nobody pruned it.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub fn reaped(&self, host: HostId, at: Time, name: &Name, remembered: Remembered) -> Result<(), Broken> {
        let Some(seen) = self.lives[host.index()].seen.get(name) else { return Ok(()) };
        let long = match seen.status {
            Status::Failed => remembered.failed,
            Status::Left => remembered.left,
            Status::Alive | Status::Leaving | Status::None => return Ok(()),
        };
        let since = at.since(seen.since);
        if since < long {
            let seen = format!("{name}, {} for {since:?}, is forgotten before {long:?}", seen.status);
            return broken("a member that is gone is remembered long enough", seen);
        }
        Ok(())
    }

    /// A tag change is acknowledged; `kept`: what stands on the disk.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub fn tags_set(&self, reply: &Reply, own: &Tags, kept: Option<&Tags>) -> Result<(), Broken> {
        match kept {
            Some(kept) if *reply == Reply::TagsSet && kept != own => {
                broken("acknowledged tags are on the disk", format!("{kept:?} on the disk, {own:?} announced"))
            }
            _ => Ok(()),
        }
    }
}

fn clocks(life: &mut Life, stats: &Stats) -> Result<(), Broken> {
    let now = [stats.member_time, stats.event_time, stats.query_time];
    let before = std::mem::replace(&mut life.clocks.now, now);
    for ((what, before), now) in ["member", "event", "query"].into_iter().zip(before).zip(now) {
        if now < before {
            return broken("a Lamport clock never goes back", format!("the {what} clock from {before} to {now}"));
        }
    }
    for ((what, heard), now) in ["event", "query"].into_iter().zip(life.clocks.heard).zip([now[1], now[2]]) {
        if heard >= now && heard > LamportTime(0) {
            return broken("what was heard is in the past", format!("{what} of time {heard}, the clock shows {now}"));
        }
    }
    Ok(())
}
