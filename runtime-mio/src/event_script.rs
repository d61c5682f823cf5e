//! Event handlers as they are configured: `[FILTER=]SCRIPT` (cli.md 4.1).

use std::fmt;

use villein_core::event::MemberEventKind;

/// A script and the events it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventScript {
    /// Which events.
    pub event: EventKind,
    /// The user event or query meant; empty for all. Always empty for the other kinds.
    pub name: String,
    /// Handed to the shell as it stands.
    pub script: String,
}

/// The events that a handler can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// All of them.
    Any,
    /// Changes of members.
    Members(MemberEventKind),
    /// User events.
    User,
    /// Queries.
    Query,
}

impl EventKind {
    const ALL: [Self; 8] = [
        Self::Any,
        Self::Members(MemberEventKind::Join),
        Self::Members(MemberEventKind::Leave),
        Self::Members(MemberEventKind::Failed),
        Self::Members(MemberEventKind::Update),
        Self::Members(MemberEventKind::Reap),
        Self::User,
        Self::Query,
    ];

    /// The word that stands for the kind in a filter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "*",
            Self::Members(MemberEventKind::Join) => "member-join",
            Self::Members(MemberEventKind::Leave) => "member-leave",
            Self::Members(MemberEventKind::Failed) => "member-failed",
            Self::Members(MemberEventKind::Update) => "member-update",
            Self::Members(MemberEventKind::Reap) => "member-reap",
            Self::User => "user",
            Self::Query => "query",
        }
    }
}

/// A filter that names no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEventScript {
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
    ///
    /// # Errors
    /// A filter names no event.
    pub fn parse(text: &str) -> Result<Vec<Self>, InvalidEventScript> {
        let (filters, script) = match text.split_once('=') {
            Some(("", script)) => ("*", script),
            Some(split) => split,
            None => ("*", text),
        };
        filters.split(',').map(|filter| Self::with_filter(filter, script)).collect()
    }

    /// The filter as `serf info` shows it: the kind, a colon and the name, be it empty.
    pub fn filter(&self) -> String {
        format!("{}:{}", self.event.as_str(), self.name)
    }

    /// Whether the script is for an event of that kind and name; names are compared whole.
    pub fn is_for(&self, kind: EventKind, name: &[u8]) -> bool {
        self.event == EventKind::Any || (self.event == kind && (self.name.is_empty() || self.name.as_bytes() == name))
    }

    /// Whether it is a shell that is given nothing to run but what it reads: `sh`, `/bin/bash -s`, `argv:/bin/sh -x`.
    pub fn runs_its_input(&self) -> bool {
        let line = self.script.strip_prefix("argv:").unwrap_or(&self.script);
        let mut words = line.split_whitespace();
        let program = words.next().unwrap_or_default();
        let is_shell = SHELLS.contains(&program.rsplit('/').next().unwrap_or_default());
        // A word that is no flag is a file of commands, and behind -c stand the commands themselves; `2>&1` is neither.
        is_shell && words.all(|word| word.contains('>') || (word.starts_with('-') && word != "-c"))
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

const SHELLS: [&str; 11] = ["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "rbash", "csh", "tcsh", "fish"];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(&'static str, String, String)> {
        let scripts = EventScript::parse(text).expect("reads");
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
    fn a_filter_is_shown_with_its_colon() {
        let scripts = EventScript::parse("*,member-reap,user:,user:a:b,query:x=y").expect("reads");
        let filters: Vec<String> = scripts.iter().map(EventScript::filter).collect();
        assert_eq!(filters, ["*:", "member-reap:", "user:", "user:a:b", "query:x"]);
    }

    #[test]
    fn a_script_is_for_the_events_that_its_filter_names() {
        let is_for = |filter: &str, kind, name: &str| {
            EventScript::parse(&format!("{filter}=x")).expect("reads")[0].is_for(kind, name.as_bytes())
        };
        let join = EventKind::Members(MemberEventKind::Join);
        assert!(is_for("*", join, "") && is_for("*", EventKind::User, "a") && is_for("*", EventKind::Query, "a"));
        assert!(is_for("member-join", join, "") && !is_for("member-leave", join, "") && !is_for("user", join, ""));
        assert!(is_for("user", EventKind::User, "a") && is_for("user:a", EventKind::User, "a"));
        assert!(!is_for("user:a", EventKind::User, "ab") && !is_for("user:a", EventKind::Query, "a"));
        assert!(is_for("query:a", EventKind::Query, "a") && is_for("query:", EventKind::Query, "a"));
    }

    #[test]
    fn a_shell_without_a_file_or_commands_of_its_own_runs_its_input() {
        let runs = |script: &str| EventScript::parse(&format!("query:x={script}")).expect("reads")[0].runs_its_input();
        for script in [
            "sh",
            "bash",
            "/bin/sh",
            " /usr/bin/bash -s ",
            "sh -e -x 2>&1",
            "argv:/bin/sh",
            "argv:sh -s",
            "tcsh",
            "fish",
        ] {
            assert!(runs(script), "{script}");
        }
        for script in
            ["sh deploy.sh", "bash -c 'echo x'", "sh -e deploy.sh", "shred", "cat", "", "argv:", "./deploy.sh"]
        {
            assert!(!runs(script), "{script}");
        }
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
            let error = EventScript::parse(text).expect_err("is refused");
            assert_eq!(error.to_string(), format!("Invalid event script: Event '{event}' invoking '{script}'"));
        }
    }
}
