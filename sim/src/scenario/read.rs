//! A TOML table that knows where it stands, so that every error names file, line and what would be right.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Why a scenario cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// The file as given.
    pub file: String,
    /// The line, from 1; 0 where the file could not be read at all.
    pub line: usize,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.problem),
            line => write!(f, "{}:{line}: {}", self.file, self.problem),
        }
    }
}

/// The text of a scenario.
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let end = span.start.min(self.text.len());
        self.text.as_bytes()[..end].iter().filter(|&&byte| byte == b'\n').count() + 1
    }

    pub(super) fn error(&self, span: &Range<usize>, problem: impl Into<String>) -> ScenarioError {
        ScenarioError { file: self.file.to_owned(), line: self.line(span), problem: problem.into() }
    }
}

/// A value with its place and the name of what it is the value of.
#[derive(Clone)]
pub(super) struct Value<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) what: String,
    pub(super) span: Range<usize>,
    pub(super) value: &'a DeValue<'a>,
}

/// A table whose keys are taken one by one; what is left over is unknown.
pub(super) struct Table<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) what: String,
    pub(super) span: Range<usize>,
    table: &'a DeTable<'a>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Table<'a> {
    pub(super) fn new(
        source: &'a Source<'a>,
        what: impl Into<String>,
        span: Range<usize>,
        table: &'a DeTable<'a>,
    ) -> Self {
        Self { source, what: what.into(), span, table, asked: RefCell::default() }
    }

    pub(super) fn named(mut self, what: &str) -> Self {
        what.clone_into(&mut self.what);
        self
    }

    /// The value of `key`, if there is one; the key counts as known from now on.
    pub(super) fn take(&self, key: &'static str) -> Option<Value<'a>> {
        self.asked.borrow_mut().insert(key);
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(name, value)| self.value(name, value))
    }

    /// The value of `key`, which must be there.
    pub(super) fn need(&self, key: &'static str) -> Result<Value<'a>, ScenarioError> {
        self.take(key).ok_or_else(|| self.error(format!("{} needs the key \"{key}\"", self.what)))
    }

    /// Every entry, for tables whose keys are free.
    pub(super) fn entries(&self) -> Vec<(String, Value<'a>)> {
        let mut entries: Vec<_> =
            self.table.iter().map(|(name, value)| (name.get_ref().to_string(), self.value(name, value))).collect();
        entries.sort_by_key(|(_, value)| value.span.start);
        entries
    }

    pub(super) fn error(&self, problem: impl Into<String>) -> ScenarioError {
        self.source.error(&self.span, problem)
    }

    /// Refuses every key that nobody has asked for.
    pub(super) fn finish(&self) -> Result<(), ScenarioError> {
        let asked = self.asked.borrow();
        for (name, value) in self.entries() {
            if !asked.contains(name.as_str()) {
                let known: Vec<&str> = asked.iter().copied().collect();
                return Err(value.error(format!("unknown key \"{name}\" in {}{}", self.what, hint(&name, &known))));
            }
        }
        Ok(())
    }

    fn value(&self, name: &Spanned<std::borrow::Cow<'a, str>>, value: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        // The key's place: a value such as a table header has a place of its own that is further away.
        Value { source: self.source, what: name.get_ref().to_string(), span: name.span(), value: value.get_ref() }
    }
}

impl<'a> Value<'a> {
    pub(super) fn error(&self, problem: impl Into<String>) -> ScenarioError {
        self.source.error(&self.span, problem)
    }

    fn wanted(&self, wanted: &str) -> ScenarioError {
        self.error(format!("{} must be {wanted}, not {}", self.what, kind(self.value)))
    }

    pub(super) fn text(&self) -> Result<&'a str, ScenarioError> {
        match self.value {
            DeValue::String(text) => Ok(text),
            _ => Err(self.wanted("text")),
        }
    }

    pub(super) fn flag(&self) -> Result<bool, ScenarioError> {
        self.value.as_bool().ok_or_else(|| self.wanted("true or false"))
    }

    pub(super) fn number(&self, least: i64, most: i64) -> Result<i64, ScenarioError> {
        let DeValue::Integer(number) = self.value else {
            return Err(self.wanted("a whole number"));
        };
        i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.error(format!("{} must be {least} to {most}", self.what)))
    }

    /// The text, read by `read`.
    pub(super) fn parsed<T>(&self, read: impl Fn(&str) -> Result<T, String>) -> Result<T, ScenarioError> {
        read(self.text()?).map_err(|problem| self.error(format!("{}: {problem}", self.what)))
    }

    /// One of a set of words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, ScenarioError> {
        let text = self.text()?;
        words.iter().find(|(word, _)| *word == text).map(|&(_, value)| value).ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
            self.error(format!("{} cannot be \"{text}\"{}", self.what, hint(text, &known)))
        })
    }

    pub(super) fn table(&self) -> Result<Table<'a>, ScenarioError> {
        self.value
            .as_table()
            .map(|table| Table::new(self.source, self.what.clone(), self.span.clone(), table))
            .ok_or_else(|| self.wanted("a table"))
    }

    pub(super) fn is_text(&self) -> bool {
        self.value.is_str()
    }

    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub(super) fn items(&self) -> Result<Vec<Self>, ScenarioError> {
        let array = self.value.as_array().ok_or_else(|| self.wanted("a list"))?;
        Ok(array
            .iter()
            .map(|item| Self { source: self.source, what: self.what.clone(), span: item.span(), value: item.get_ref() })
            .collect())
    }

    /// A list of words, or one alone.
    pub(super) fn texts(&self) -> Result<Vec<(&'a str, Self)>, ScenarioError> {
        if self.value.is_str() {
            return Ok(vec![(self.text()?, self.clone())]);
        }
        self.items()?.into_iter().map(|item| Ok((item.text()?, item))).collect()
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// What would have been right: the nearest word if one is near, and all of them.
pub(super) fn hint(wrong: &str, known: &[&str]) -> String {
    let near = known.iter().map(|word| (distance(wrong, word), *word)).min();
    let list = known.join(", ");
    match near {
        Some((far, word)) if far <= 2 && far < word.len() => format!("; did you mean \"{word}\"? Known: {list}"),
        _ => format!("; known: {list}"),
    }
}

fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, left) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in other.iter().enumerate() {
            let changed = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[other.len()]
}
