//! Who a query is for (protocol.md 2.8).

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::go_regex::{GoRegex, GoRegexError};
use crate::types::{Name, Tags};
use crate::wire::Filter;

/// The filters of a query, ready to be asked.
pub(super) struct Filters<'a>(Vec<Ready<'a>>);

enum Ready<'a> {
    Nodes(&'a [Name]),
    Tag(&'a [u8], GoRegex),
    Unreadable,
}

/// A filter's pattern that cannot be compiled: it matches nobody.
pub(super) struct BadPattern {
    pub(super) pattern: Box<[u8]>,
    pub(super) error: GoRegexError,
}

impl<'a> Filters<'a> {
    pub(super) fn new(filters: &'a [Filter]) -> Result<Self, BadPattern> {
        let ready = filters.iter().map(|filter| {
            Ok(match filter {
                Filter::Nodes(names) => Ready::Nodes(names),
                Filter::Tag { key, pattern } => {
                    let bad = |error| BadPattern { pattern: pattern.clone(), error };
                    Ready::Tag(key, GoRegex::new(pattern).map_err(bad)?)
                }
                Filter::Unreadable => Ready::Unreadable,
            })
        });
        ready.collect::<Result<_, _>>().map(Self)
    }

    /// Whether every filter matches the node of that name and tags; a missing tag is empty.
    pub(super) fn match_node(&self, name: &Name, tags: &Tags) -> bool {
        self.0.iter().all(|filter| match filter {
            Ready::Nodes(names) => names.contains(name),
            Ready::Tag(key, regex) => regex.is_match(tags.get(*key).map_or(b"", Vec::as_slice)),
            Ready::Unreadable => false,
        })
    }
}
