//! members-filtered, so much of it in each turn of the loop: to match a pattern may take a thousand times what it takes to
//! compile it, for each member.

use std::time::Duration;
use std::vec;

use villein_core::Time;
use villein_core::node::MemberView;
use villein_core::rpc::{self, Body, Request};

use super::filter::Filter;
use crate::limits::{SEARCH_MAX, SEARCH_PER_TURN};
use crate::views;

/// What a client waits with until there is room for it in a turn.
pub(crate) enum Postponed {
    /// A request that has not been looked at.
    Request(Request),
    /// A search under way.
    Search(Box<Search>),
}

/// The members that fit a filter, of those that there were when it began.
pub(crate) struct Search {
    filter: Filter,
    left: vec::IntoIter<MemberView>,
    found: Vec<rpc::Member>,
    /// Whether what members understand is wanted, too.
    encodings: bool,
    /// How long it has taken.
    taken: Duration,
}

/// How a search stands.
pub(super) enum Stage {
    /// There are members left.
    UnderWay(Box<Search>),
    /// This is the answer.
    Over(rpc::Reply),
    /// It has taken more than [`SEARCH_MAX`].
    TooLong,
}

impl Search {
    /// Nobody has been looked at yet.
    pub(super) fn new(filter: Filter, members: Vec<MemberView>, encodings: bool) -> Box<Self> {
        Box::new(Self { filter, left: members.into_iter(), found: Vec::new(), encodings, taken: Duration::ZERO })
    }

    /// Looks at members for [`SEARCH_PER_TURN`] by a clock, at one at least. Gives how long that took.
    pub(super) fn go_on(mut self: Box<Self>, clock: impl Fn() -> Time) -> (Stage, Duration) {
        let begun = clock();
        let mut taken = Duration::ZERO;
        for member in self.left.by_ref() {
            if self.filter.matches(&member.info) {
                self.found.push(views::listed(&member, self.encodings));
            }
            taken = clock().since(begun);
            if taken >= SEARCH_PER_TURN {
                break;
            }
        }
        self.taken += taken;
        let stage = match self.left.len() {
            0 => Stage::Over(rpc::Reply::with(Body::Members(self.found))),
            _ if self.taken > SEARCH_MAX => Stage::TooLong,
            _ => Stage::UnderWay(self),
        };
        (stage, taken)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use villein_core::Config;
    use villein_core::config::Profile;
    use villein_core::event::{MemberInfo, Status};
    use villein_core::lamport::LamportTime;
    use villein_core::types::{Incarnation, Meta, Versions};

    use super::*;

    fn member(number: usize) -> MemberView {
        let bind = std::net::SocketAddr::from(([127, 0, 0, 1], 7946));
        MemberView {
            info: MemberInfo {
                name: format!("{number}-{}", "a".repeat(40)).as_str().into(),
                addr: Config::new("t1".into(), bind.into(), Profile::Local).advertise,
                meta: Meta::default(),
                status: Status::Alive,
                versions: Versions::CURRENT,
            },
            incarnation: Incarnation(1),
            state: None,
            status_ltime: LamportTime(0),
            native: true,
        }
    }

    /// A search among so many members, of which each tenth is found.
    pub(crate) fn among(members: usize) -> Box<Search> {
        let filter = Filter::new(&[], b"", b"[0-9]*7-a*").0.expect("it can be compiled");
        Search::new(filter, (0..members).map(member).collect(), false)
    }

    /// A clock that goes on by so much each time it is looked at.
    fn clock(step: Duration) -> impl Fn() -> Time {
        let looks = Cell::new(0);
        move || {
            looks.set(looks.get() + 1);
            Time::ZERO + step * looks.get()
        }
    }

    #[test]
    fn a_search_takes_as_many_turns_as_it_needs_and_finds_the_same() {
        let (Stage::Over(reply), _) = among(100).go_on(|| Time::ZERO) else { panic!("it takes no time") };
        let Body::Members(found) = &reply.body else { panic!("members are found") };
        assert_eq!(found.len(), 10);
        let clock = clock(SEARCH_PER_TURN / 8);
        let (mut stage, mut turns) = (Stage::UnderWay(among(100)), 0);
        while let Stage::UnderWay(search) = stage {
            let (next, taken) = search.go_on(&clock);
            assert!(taken <= SEARCH_PER_TURN, "{taken:?}");
            (stage, turns) = (next, turns + 1);
        }
        let Stage::Over(sliced) = stage else { panic!("it does not take too long") };
        assert_eq!((sliced, turns), (reply, 13), "eight in each");
    }

    #[test]
    fn a_search_that_takes_too_long_is_given_up() {
        let clock = clock(SEARCH_MAX / 2);
        let (Stage::UnderWay(search), taken) = among(4).go_on(&clock) else { panic!("there are more") };
        assert_eq!(taken, SEARCH_MAX / 2);
        let (Stage::UnderWay(search), _) = search.go_on(&clock) else { panic!("that is the bound") };
        assert!(matches!(search.go_on(&clock).0, Stage::TooLong));
    }
}
