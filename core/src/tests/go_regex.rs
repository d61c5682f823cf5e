use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::thread;

use serde_json::Value;

use crate::go_regex::{self, ErrorCode, GoRegex, GoRegexError, PATTERN_BYTES_MAX, PROGRAM_BYTES_MAX};

/// A pattern's error in Go's words, byte for byte, or whether it matches.
fn anchored(pattern: &[u8]) -> Result<GoRegex, GoRegexError> {
    go_regex::anchored(pattern, &mut { PROGRAM_BYTES_MAX })
}

fn outcome(compiled: Result<GoRegex, GoRegexError>, text: &[u8]) -> Result<bool, Vec<u8>> {
    match compiled {
        Ok(regex) => Ok(regex.is_match(text)),
        Err(error) => {
            Err([b"error parsing regexp: ", error.code().text().as_bytes(), b": `", error.expression(), b"`"].concat())
        }
    }
}

fn cases(json: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(json).unwrap();
    file["cases"].as_array().unwrap().clone()
}

/// A field that is text, or bytes under the same name with `_bytes` behind it.
fn bytes(case: &Value, field: &str) -> Option<Vec<u8>> {
    if let Some(text) = case[field].as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let bytes = case[&format!("{field}_bytes")].as_array()?;
    Some(bytes.iter().map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap()).collect())
}

fn texts(list: &Value) -> Vec<&[u8]> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().as_bytes()).collect()
}

fn error_of(pattern: impl AsRef<[u8]>) -> String {
    GoRegex::new(pattern.as_ref()).unwrap_err().to_string()
}

fn code_of(pattern: impl AsRef<[u8]>) -> Option<ErrorCode> {
    GoRegex::new(pattern.as_ref()).err().map(|error| error.code())
}

fn is_match(pattern: &str, text: impl AsRef<[u8]>) -> bool {
    GoRegex::new(pattern.as_bytes()).unwrap().is_match(text.as_ref())
}

#[test]
fn filters_agree_with_go() {
    let cases = cases(include_str!("regex-vectors/filters.json"));
    assert!(cases.len() > 90);
    for case in cases {
        let expected = case["go"].as_bool();
        assert!(expected.is_some() || case["go"] == "error", "{case}");
        let found = outcome(anchored(&bytes(&case, "pattern").unwrap()), &bytes(&case, "text").unwrap());
        assert_eq!(found.ok(), expected, "{case}");
    }
}

#[test]
fn filters_agree_with_a_serf_agent_to_the_last_byte_of_its_errors() {
    let cases = cases(include_str!("regex-vectors/agent-filters.json"));
    assert!(cases.len() > 250);
    for case in cases {
        let expected = case["match"].as_bool().ok_or_else(|| bytes(&case, "error").unwrap());
        let found = outcome(anchored(&bytes(&case, "pattern").unwrap()), &bytes(&case, "text").unwrap());
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn searches_agree_with_go() {
    let cases = cases(include_str!("regex-vectors/searches.json"));
    assert!(cases.len() > 350);
    for case in cases {
        let compiled = GoRegex::new(&bytes(&case, "pattern").unwrap());
        if let Some(error) = case["error"].as_str() {
            assert_eq!(compiled.unwrap_err().to_string(), error, "{case}");
            continue;
        }
        let regex = compiled.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(texts(&case["matches"]).into_iter().all(|text| regex.is_match(text)), "{case}");
        assert!(!texts(&case["misses"]).into_iter().any(|text| regex.is_match(text)), "{case}");
    }
}

#[test]
fn error_quotes_the_wrapping_of_a_filter() {
    let error = anchored(b"(").unwrap_err();
    assert_eq!(error.to_string(), "error parsing regexp: missing closing ): `^($`");
    assert_eq!(anchored(b"a\\").map(|regex| regex.is_match(b"a$")).ok(), Some(true));
}

#[test]
fn error_that_is_not_utf8_keeps_its_bytes_and_is_displayed_all_the_same() {
    let error = GoRegex::new(b"ab\xE2\x82c").unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidUtf8);
    assert_eq!(error.expression(), b"\xE2\x82c");
    assert_eq!(error.to_string(), "error parsing regexp: invalid UTF-8: `\u{FFFD}\u{FFFD}c`");
}

#[test]
fn every_byte_of_text_that_is_not_utf8_is_one_character() {
    assert!(is_match("^a..b$", b"a\xE2\x82b"));
    assert!(is_match("^a.b$", "a\u{20AC}b"));
    assert!(is_match("^[^a]$", b"\xFF"));
    assert!(is_match("a*\u{FFFD}", b"\xFF"));
    assert!(!is_match("a.b", b"a\xFF\xFFb"));
    assert!(!is_match("^\\xFF$", b"\xFF"));
}

#[test]
fn boundary_is_never_inside_a_character() {
    assert!(!is_match("\\B", "aéa"));
    assert!(is_match("\\B", "éé"));
}

#[test]
fn repetitions_multiply_up_to_a_thousand() {
    assert_eq!(code_of("((a{10}){10}){10}"), None);
    assert_eq!(code_of("(a{143}){7}"), Some(ErrorCode::InvalidRepeatSize));
    assert_eq!(code_of("(a{142}){7}"), None);
    assert_eq!(code_of("a{1000}"), None);
    assert_eq!(error_of("a{1001}"), "error parsing regexp: invalid repeat count: `{1001}`");
}

#[test]
fn nesting_ends_at_a_thousand_levels() {
    let captures = |levels: usize| format!("{}a{}", "(".repeat(levels), ")".repeat(levels));
    assert_eq!(code_of(captures(999)), None);
    let too_deep = captures(1000);
    assert_eq!(error_of(&too_deep), format!("error parsing regexp: expression nests too deeply: `{too_deep}`"));
    assert_eq!(code_of("(?:".repeat(5000) + "a" + &")".repeat(5000)), None);
}

#[test]
fn deepest_pattern_needs_little_stack() {
    let branches = |levels: usize| format!("{}a{}", "(?:a|bc".repeat(levels), "+)".repeat(levels));
    let compile = move || {
        for levels in [1, 100, 130, 150, 400, 1000] {
            let regex = GoRegex::new(branches(levels).as_bytes());
            assert_eq!(regex.is_ok(), levels < 150, "{levels} levels");
            if let Ok(regex) = regex {
                assert!(regex.is_match(b"xa"));
            }
        }
    };
    thread::Builder::new().stack_size(1 << 20).spawn(compile).unwrap().join().unwrap();
}

#[test]
fn pattern_that_would_grow_too_large_is_refused() {
    assert_eq!(code_of("\\pL{100}"), None);
    assert_eq!(code_of(".{1000}".repeat(10)), None);
    assert_eq!(code_of("\\pL{1000}".repeat(100)), Some(ErrorCode::InternalError));
    assert_eq!(code_of("a".repeat(PATTERN_BYTES_MAX + 1)), Some(ErrorCode::InternalError));
    assert_eq!(error_of("\\pL{1000}"), "error parsing regexp: regexp/syntax: internal error: `\\pL{1000}`");
}

#[test]
fn case_folds_as_in_gos_tables() {
    let file: Value = serde_json::from_str(include_str!("regex-vectors/unicode.json")).unwrap();
    let orbits = texts(&file["folds"]);
    assert!(orbits.len() > 1300);
    let mut previous = "";
    for orbit in orbits {
        let orbit = str::from_utf8(orbit).unwrap();
        for pattern in [format!("(?i)^{}+$", orbit.chars().next().unwrap()), format!("(?i)^[{orbit}]+$")] {
            let regex = GoRegex::new(pattern.as_bytes()).unwrap();
            assert!(regex.is_match(orbit.as_bytes()), "{pattern} misses some of {orbit}");
            assert!(
                !previous.chars().any(|other| regex.is_match(other.encode_utf8(&mut [0; 4]).as_bytes())),
                "{pattern}"
            );
        }
        previous = orbit;
    }
}

#[test]
fn pairs_of_case_that_are_newer_than_go_do_not_fold() {
    for (lower, upper) in
        [('ΐ', '\u{1FD3}'), ('ΰ', '\u{1FE3}'), ('\u{FB05}', '\u{FB06}'), ('ɤ', '\u{A7CB}'), ('\u{10597}', '\u{10570}')]
    {
        for pattern in [format!("(?i)^{lower}$"), format!("(?i)^[{lower}]$")] {
            assert!(is_match(&pattern, lower.to_string()), "{pattern}");
            assert!(!is_match(&pattern, upper.to_string()), "{pattern}");
        }
    }
}

/// A small generator, so that a failure can be repeated from its seed alone.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }
}

const PARTS: &[&[u8]] = &[
    b"a",
    b"b",
    b"(",
    b")",
    b"(?:",
    b"(?i",
    b":",
    b"(?P<n>",
    b"[",
    b"]",
    b"[^",
    b"-",
    b"[:alpha:]",
    b"{",
    b"}",
    b"{2,",
    b"{1000}",
    b"1",
    b",",
    b"*",
    b"+",
    b"?",
    b"|",
    b"\\",
    b"\\p",
    b"{Greek}",
    b"\\Q",
    b"\\E",
    b"\\x",
    b"\\x{D800}",
    b"\\d",
    b"\\b",
    b"^",
    b"$",
    b".",
    b"\xC3\xA9",
    b"\xC3",
    b"\xFF",
    b"\xE2\x84\xAA",
    b"\n",
    b"\0",
    b"",
];

#[test]
fn no_bytes_make_it_panic() {
    let (mut accepted, mut refused) = (0, 0);
    for seed in 1..=5000_u64 {
        let mut draw = Draw(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let pattern: Vec<u8> =
            (0..draw.below(14)).flat_map(|_| PARTS[draw.below(PARTS.len())].iter().copied()).collect();
        match GoRegex::new(&pattern) {
            Ok(regex) => {
                accepted += 1;
                let text: Vec<u8> =
                    (0..draw.below(9)).flat_map(|_| PARTS[draw.below(PARTS.len())].iter().copied()).collect();
                let _found: bool = regex.is_match(&text);
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().starts_with("error parsing regexp: "), "seed {seed}");
                let quoted = error.expression();
                assert!(quoted.is_empty() || pattern.windows(quoted.len()).any(|part| part == quoted), "seed {seed}");
            }
        }
    }
    assert!(accepted > 500 && refused > 500, "{accepted} accepted, {refused} refused");
}

#[test]
fn a_class_that_says_the_same_many_times_is_what_it_says_once() {
    for (once, insensitive) in [(r"\pL\pN", false), ("!-\u{10FFFF}", true), (r"\PL[:^alpha:]k", true), ("k", true)] {
        let flags = if insensitive { "(?i)" } else { "" };
        let class = |times: usize, not: &str| {
            GoRegex::new(format!("{flags}^[{not}{}]$", once.repeat(times)).as_bytes()).expect("compiles")
        };
        let [few, many, not_few, not_many] = [class(1, ""), class(3_000, ""), class(1, "^"), class(3_000, "^")];
        for text in ["a", "K", "\u{212A}", "7", " ", "\u{10FFFF}", "é", "\u{345}"] {
            let text = text.as_bytes();
            assert_eq!(many.is_match(text), few.is_match(text), "{once} {text:?}");
            assert_eq!(not_many.is_match(text), not_few.is_match(text), "{once} {text:?}");
        }
    }
}
