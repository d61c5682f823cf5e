//! Who a query is for (protocol.md 2.8).

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::go_regex::{ErrorCode, GoRegex, GoRegexError};
use crate::limits;
use crate::serf::allowance::Allowance;
use crate::time::Time;
use crate::types::{Name, Tags};
use crate::wire::Filter;

/// A filter of a query, ready to be asked.
enum Ready<'a> {
    Nodes(&'a [Name]),
    Tag(&'a [u8], Box<GoRegex>),
    Unreadable,
}

/// A filter's pattern that cannot be compiled, or costs too much: it matches nobody.
pub(super) struct BadPattern {
    pub(super) pattern: Box<[u8]>,
    pub(super) error: GoRegexError,
}

impl<'a> Ready<'a> {
    /// Compiles a pattern to what is left of the `bytes` of a query.
    fn new(filter: &'a Filter, bytes: &mut usize) -> Result<Self, BadPattern> {
        Ok(match filter {
            Filter::Nodes(names) => Self::Nodes(names),
            Filter::Tag { key, pattern } => {
                let bad = |error| BadPattern { pattern: pattern.clone(), error };
                Self::Tag(key, Box::new(GoRegex::within(pattern, bytes).map_err(bad)?))
            }
            Filter::Unreadable => Self::Unreadable,
        })
    }

    /// Whether the filter matches the node of that name and tags; a missing tag is empty. What that may cost is taken from
    /// `bytes`; `None`: they are too few.
    fn matches(&self, name: &Name, tags: &Tags, bytes: &mut usize) -> Option<bool> {
        Some(match self {
            Self::Nodes(names) => names.contains(name),
            Self::Tag(key, regex) => {
                let text = tags.get(*key).map_or(&[][..], Vec::as_slice);
                let cost = regex.memory().saturating_mul(text.len()) / limits::FILTER_TEXT_BYTES;
                *bytes = bytes.checked_sub(cost)?;
                regex.is_match(text)
            }
            Self::Unreadable => false,
        })
    }
}

/// Whether every filter matches the node of that name and tags. They are asked in their order, up to the first that does not;
/// what stands behind it costs nothing and is not complained about, as upstream does it. `allowance` is that of all
/// queries that come by gossip, in bytes: one packet has room for hundreds.
pub(super) fn match_node(
    allowance: &mut Allowance,
    now: Time,
    filters: &[Filter],
    name: &Name,
    tags: &Tags,
) -> Result<bool, BadPattern> {
    for filter in filters {
        // What most patterns take is there whatever others have used.
        let allowed = allowance.left(now);
        let left = allowed.max(limits::FILTER_PROGRAM_BYTES_MIN);
        let mut bytes = left;
        let matched = Ready::new(filter, &mut bytes)
            .and_then(|ready| ready.matches(name, tags, &mut bytes).ok_or_else(|| too_costly(filter)));
        allowance.take(now, left.saturating_sub(bytes).min(allowed));
        if !matched? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A pattern that would take too long to match.
fn too_costly(filter: &Filter) -> BadPattern {
    let pattern = match filter {
        Filter::Tag { pattern, .. } => pattern.clone(),
        Filter::Nodes(_) | Filter::Unreadable => Box::default(),
    };
    BadPattern { error: GoRegexError::new(ErrorCode::InternalError, &pattern), pattern }
}

/// All filters of a query of our own, to be asked about many nodes.
pub(super) struct Filters<'a>(Vec<Ready<'a>>);

impl<'a> Filters<'a> {
    pub(super) fn new(filters: &'a [Filter]) -> Result<Self, BadPattern> {
        let mut bytes = limits::FILTERS_PROGRAM_BYTES_MAX as usize;
        filters.iter().map(|filter| Ready::new(filter, &mut bytes)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether all match; as [`Ready::matches`].
    pub(super) fn match_node(&self, name: &Name, tags: &Tags, bytes: &mut usize) -> Option<bool> {
        for filter in &self.0 {
            if !filter.matches(name, tags, bytes)? {
                return Some(false);
            }
        }
        Some(true)
    }
}
