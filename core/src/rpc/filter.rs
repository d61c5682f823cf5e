//! Which events a stream wants (rpc.md 6, stream).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{FILTER_BYTES_MAX, FILTER_KINDS_MAX, StreamEvent};

/// A comma-separated list of event kinds; one that fits is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFilter(BTreeSet<Kind>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    All,
    Members(&'static str),
    User(Vec<u8>),
    Query(Vec<u8>),
}

const MEMBER_KINDS: [&str; 5] = ["member-join", "member-leave", "member-failed", "member-update", "member-reap"];

impl StreamFilter {
    /// Reads a filter; nothing is trimmed, and an empty one is `*`. A kind that stands there twice counts once. `None`: it
    /// cannot be read, or is longer than [`FILTER_BYTES_MAX`], or has more than [`FILTER_KINDS_MAX`] different kinds.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() {
            return Some(Self([Kind::All].into()));
        }
        if text.len() > FILTER_BYTES_MAX {
            return None;
        }
        let kinds: BTreeSet<Kind> = text.split(|&byte| byte == b',').map(Kind::parse).collect::<Option<_>>()?;
        (kinds.len() <= FILTER_KINDS_MAX).then_some(Self(kinds))
    }

    /// Whether the stream wants `event`.
    pub fn matches(&self, event: &StreamEvent) -> bool {
        self.0.iter().any(|kind| kind.matches(event))
    }
}

impl Kind {
    fn parse(text: &[u8]) -> Option<Self> {
        let named = |prefix: &[u8]| text.strip_prefix(prefix).map(<[u8]>::to_vec);
        match text {
            b"*" => Some(Self::All),
            b"user" => Some(Self::User(Vec::new())),
            b"query" => Some(Self::Query(Vec::new())),
            _ => named(b"user:")
                .map(Self::User)
                .or_else(|| named(b"query:").map(Self::Query))
                .or_else(|| MEMBER_KINDS.iter().find(|kind| kind.as_bytes() == text).map(|kind| Self::Members(kind))),
        }
    }

    fn matches(&self, event: &StreamEvent) -> bool {
        let fits = |wanted: &Vec<u8>, name: &Vec<u8>| wanted.is_empty() || wanted == name;
        match (self, event) {
            (Self::All, _) => true,
            (Self::Members(wanted), StreamEvent::Members { kind, .. }) => wanted == kind,
            (Self::User(wanted), StreamEvent::User { name, .. })
            | (Self::Query(wanted), StreamEvent::Query { name, .. }) => fits(wanted, name),
            (Self::Members(_) | Self::User(_) | Self::Query(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    #[test]
    fn the_grammar_is_upstreams() {
        for text in ["", "*", "user", "user:", "user:deploy", "query,member-join", "member-reap,*", "user:a b"] {
            assert!(StreamFilter::parse(text.as_bytes()).is_some(), "{text:?}");
        }
        for text in ["user, query", ",", "user:a,b", "member-join:foo", "bogus", "User", "member-join,"] {
            assert!(StreamFilter::parse(text.as_bytes()).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_name_is_compared_whole_and_an_empty_one_fits_all() {
        let user = |name: &str| StreamEvent::User { ltime: 1, name: name.into(), payload: None, coalesce: false };
        let wants =
            |filter: &str, name: &str| StreamFilter::parse(filter.as_bytes()).is_some_and(|f| f.matches(&user(name)));
        assert!(wants("user:deploy", "deploy") && !wants("user:deploy", "deploy2"));
        assert!(wants("user:", "anything") && wants("user", "anything") && !wants("query", "anything"));
    }

    #[test]
    fn a_filter_of_more_kinds_or_bytes_than_the_bounds_is_not_read_and_a_repeated_kind_is_one() {
        let users = |count: usize| (0..count).map(|number| format!("user:{number}")).collect::<Vec<String>>().join(",");
        let kinds = |text: &str| StreamFilter::parse(text.as_bytes()).map(|filter| filter.0.len());
        assert_eq!(kinds(&users(FILTER_KINDS_MAX)), Some(FILTER_KINDS_MAX));
        assert_eq!(kinds(&users(FILTER_KINDS_MAX + 1)), None);
        let twice = [users(FILTER_KINDS_MAX), users(FILTER_KINDS_MAX)].join(",");
        assert_eq!(kinds(&twice), Some(FILTER_KINDS_MAX));
        let named = |bytes: usize| format!("user:{}", "x".repeat(bytes - "user:".len()));
        assert_eq!((kinds(&named(FILTER_BYTES_MAX)), kinds(&named(FILTER_BYTES_MAX + 1))), (Some(1), None));
        let same = |count: usize| ["user"].repeat(count).join(",");
        assert_eq!((kinds(&same(3_000)), kinds(&same(200_000))), (Some(1), None));
    }
}
