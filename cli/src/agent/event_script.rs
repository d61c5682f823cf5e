//! Event handlers as they are configured: `[FILTER=]SCRIPT`.

use std::fmt;

/// A script and the events it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventScript {
    pub(crate) event: EventKind,
    /// The user event or query meant; empty for all. Always empty for the other kinds.
    pub(crate) name: String,
    /// Handed to the shell as it stands.
    pub(crate) script: String,
}

/// The events that a handler can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Any,
    MemberJoin,
    MemberLeave,
    MemberFailed,
    MemberUpdate,
    MemberReap,
    User,
    Query,
}

impl EventKind {
    const ALL: [Self; 8] = [
        Self::Any,
        Self::MemberJoin,
        Self::MemberLeave,
        Self::MemberFailed,
        Self::MemberUpdate,
        Self::MemberReap,
        Self::User,
        Self::Query,
    ];

    /// The word that stands for the kind in a filter.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Any => "*",
            Self::MemberJoin => "member-join",
            Self::MemberLeave => "member-leave",
            Self::MemberFailed => "member-failed",
            Self::MemberUpdate => "member-update",
            Self::MemberReap => "member-reap",
            Self::User => "user",
            Self::Query => "query",
        }
    }
}

/// A filter that names no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvalidEventScript {
    event: String,
    script: String,
}

impl fmt::Display for InvalidEventScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invalid event script: Event '{}' invoking '{}'", self.event, self.script)
    }
}

impl EventScript {
    /// Reads one configured handler: a script for each filter of the comma list before the first `=`.
    pub(crate) fn parse(text: &str) -> Result<Vec<Self>, InvalidEventScript> {
        let (filters, script) = match text.split_once('=') {
            Some(("", script)) => ("*", script),
            Some(split) => split,
            None => ("*", text),
        };
        filters.split(',').map(|filter| Self::with_filter(filter, script)).collect()
    }

    /// The one filter of this script in the form in which it is configured: `*`, `member-join`, `user:deploy`.
    pub(crate) fn filter(&self) -> String {
        let separator = if self.name.is_empty() { "" } else { ":" };
        format!("{}{separator}{}", self.event.as_str(), self.name)
    }

    fn with_filter(filter: &str, script: &str) -> Result<Self, InvalidEventScript> {
        let (kind, name) = match filter.split_once(':') {
            Some((kind @ ("user" | "query"), name)) => (kind, name),
            Some(_) | None => (filter, ""),
        };
        let event = EventKind::ALL.into_iter().find(|event| event.as_str() == kind);
        let invalid = || InvalidEventScript { event: filter.into(), script: script.into() };
        Ok(Self { event: event.ok_or_else(invalid)?, name: name.into(), script: script.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(&'static str, String, String)> {
        let scripts = EventScript::parse(text).unwrap();
        scripts.into_iter().map(|script| (script.event.as_str(), script.name, script.script)).collect()
    }

    #[test]
    fn the_first_equals_sign_ends_the_filter() {
        assert_eq!(read("deploy.sh"), [("*", "".into(), "deploy.sh".into())]);
        assert_eq!(read("=x=y"), [("*", "".into(), "x=y".into())]);
        assert_eq!(read("*=FOO=1 ./x"), [("*", "".into(), "FOO=1 ./x".into())]);
        assert_eq!(read(""), [("*", "".into(), "".into())]);
    }

    #[test]
    fn a_list_of_filters_gives_a_script_for_each() {
        let expected = [
            ("member-join", "".into(), "x".into()),
            ("user", "a:b".into(), "x".into()),
            ("user", "".into(), "x".into()),
            ("query", "load".into(), "x".into()),
        ];
        assert_eq!(read("member-join,user:a:b,user:,query:load=x"), expected);
    }

    #[test]
    fn a_filter_is_shown_as_it_is_configured() {
        let scripts = EventScript::parse("*,member-reap,user:,user:a:b,query:x=y").unwrap();
        let filters: Vec<String> = scripts.iter().map(EventScript::filter).collect();
        assert_eq!(filters, ["*", "member-reap", "user", "user:a:b", "query:x"]);
    }

    #[test]
    fn filters_that_name_no_event_are_refused() {
        for (text, event, script) in [
            ("foo=bar", "foo", "bar"),
            ("query:a,foo:b:c=x", "foo:b:c", "x"),
            ("query,=x", "", "x"),
            ("member-join:x=y", "member-join:x", "y"),
            (" user=x", " user", "x"),
            ("FOO=1 ./x", "FOO", "1 ./x"),
        ] {
            let error = EventScript::parse(text).unwrap_err();
            assert_eq!(error.to_string(), format!("Invalid event script: Event '{event}' invoking '{script}'"));
        }
    }
}
