//! The patterns of members-filtered (rpc.md 6).

use villein_core::event::MemberInfo;
use villein_core::go_regex::{GoRegex, GoRegexError, anchored};

use crate::limits::{PATTERN_BYTE_COST, REQUEST_PROGRAM_BYTES_MAX};

/// The patterns of one request, or the first that is refused; and the bytes to which they were compiled.
pub(super) type Compiled = (Result<Filter, GoRegexError>, usize);

/// The patterns of one request, anchored as upstream anchors them.
pub(super) struct Filter {
    name: Option<GoRegex>,
    status: Option<GoRegex>,
    tags: Vec<(Vec<u8>, GoRegex)>,
}

impl Filter {
    /// Compiles the patterns. What is beyond [`REQUEST_PROGRAM_BYTES_MAX`] for all of them is refused as too large.
    pub(super) fn new(tags: &[(Vec<u8>, Vec<u8>)], status: &[u8], name: &[u8]) -> Compiled {
        let mut left = REQUEST_PROGRAM_BYTES_MAX;
        match Self::within(&mut left, tags, status, name) {
            Ok(filter) => (Ok(filter), REQUEST_PROGRAM_BYTES_MAX - left),
            // A pattern that is too large was compiled until that was seen.
            Err(error) => (Err(error), REQUEST_PROGRAM_BYTES_MAX),
        }
    }

    fn within(left: &mut usize, tags: &[(Vec<u8>, Vec<u8>)], status: &[u8], name: &[u8]) -> Result<Self, GoRegexError> {
        let mut pattern = |text: &[u8]| {
            *left = left.saturating_sub(text.len().saturating_mul(PATTERN_BYTE_COST));
            anchored(text, left)
        };
        let mut optional = |text: &[u8]| (!text.is_empty()).then(|| pattern(text)).transpose();
        let (name, status) = (optional(name)?, optional(status)?);
        let tags = tags.iter().map(|(key, text)| Ok((key.clone(), pattern(text)?)));
        Ok(Self { name, status, tags: tags.collect::<Result<_, _>>()? })
    }

    /// Whether a member fits; a missing tag is empty.
    pub(super) fn matches(&self, member: &MemberInfo) -> bool {
        let holds =
            |pattern: &Option<GoRegex>, text: &[u8]| pattern.as_ref().is_none_or(|pattern| pattern.is_match(text));
        holds(&self.name, member.name.as_bytes())
            && holds(&self.status, member.status.to_string().as_bytes())
            && (self.tags.is_empty() || {
                let tags = member.tags();
                self.tags.iter().all(|(key, pattern)| pattern.is_match(tags.get(key).map_or(b"", Vec::as_slice)))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(patterns: usize, text: &str) -> (bool, usize) {
        let tags: Vec<_> = (0..patterns).map(|key| (key.to_string().into_bytes(), text.as_bytes().to_vec())).collect();
        let (filter, bytes) = Filter::new(&tags, b"", b"");
        (filter.is_ok(), bytes)
    }

    #[test]
    fn the_patterns_of_one_request_share_what_they_may_compile_to() {
        let (fits, each) = compiled(1, r"\pL{50}");
        assert!(fits && each > 0);
        let most = REQUEST_PROGRAM_BYTES_MAX / each;
        assert!((2..20).contains(&most), "{most}");
        assert_eq!(compiled(most - 1, r"\pL{50}"), (true, (most - 1) * each));
        assert_eq!(compiled(most + 1, r"\pL{50}"), (false, REQUEST_PROGRAM_BYTES_MAX));
        let (fits, bytes) = compiled(100, "web.*");
        assert!(fits && bytes < REQUEST_PROGRAM_BYTES_MAX / 2, "ordinary patterns have room: {bytes}");
        let hosts: String = (0..2_000).map(|host| format!("host{host}|")).collect();
        assert!(compiled(1, &hosts).0, "a list of hosts, too");
        let (fits, bytes) = compiled(1, &"[a]".repeat(1_000));
        assert!(fits && bytes > 3_000 * PATTERN_BYTE_COST, "what is read costs, too: {bytes}");
    }

    #[test]
    fn a_pattern_that_is_too_large_is_refused_in_the_words_of_one_that_go_refuses_as_too_large() {
        let (filter, bytes) = Filter::new(&[], b"", br"\pL{200}");
        let error = filter.err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(r"error parsing regexp: regexp/syntax: internal error: `^\pL{200}$`"));
        assert_eq!(bytes, REQUEST_PROGRAM_BYTES_MAX);
    }
}
