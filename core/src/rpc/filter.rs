//! Which events a stream wants (rpc.md 6, stream).

use alloc::vec::Vec;

use super::StreamEvent;

/// A comma-separated list of event kinds; one that fits is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFilter(Vec<Kind>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    All,
    Members(&'static str),
    User(Vec<u8>),
    Query(Vec<u8>),
}

const MEMBER_KINDS: [&str; 5] = ["member-join", "member-leave", "member-failed", "member-update", "member-reap"];

impl StreamFilter {
    /// Reads a filter; nothing is trimmed, and an empty one is `*`. `None`: it cannot be read.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() {
            return Some(Self([Kind::All].into()));
        }
        text.split(|&byte| byte == b',').map(Kind::parse).collect::<Option<_>>().map(Self)
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
}
