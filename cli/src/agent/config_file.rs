//! Configuration files: which are read, how their JSON becomes settings, and what is said about bad ones.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde_json::{Map, Value};

use super::settings::{KEYS, Key, Settings, Slot};
use crate::go;

/// What may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sources {
    /// Anything: at the start, a pipe of the shell or the standard input is worth waiting for.
    Any,
    /// Files that do not keep an agent waiting that is a member.
    Files,
}

/// Reads a file, or the `.json` files of a directory in byte order of their names.
///
/// The error is the agent's whole sentence.
pub(crate) fn read(path: &Path, sources: Sources) -> Result<Vec<Settings>, String> {
    let unreadable = |error: &io::Error| {
        format!("Error reading '{path}': open {path}: {}", go::os_error(error), path = path.display())
    };
    let metadata = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !metadata.is_dir() {
        return Ok(vec![read_file(path, sources)?]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| unreadable(&error))? {
        let entry = entry.map_err(|error| unreadable(&error))?;
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_directory && entry.file_name().as_encoded_bytes().ends_with(b".json") {
            files.push(path.join(entry.file_name()));
        }
    }
    files.sort_by(|a: &PathBuf, b| a.as_os_str().cmp(b.as_os_str()));
    files.iter().map(|file| read_file(file, sources)).collect()
}

fn read_file(path: &Path, sources: Sources) -> Result<Settings, String> {
    let shown = path.display();
    let text = match sources {
        Sources::Any => fs::read(path),
        Sources::Files => read_at_once(path),
    };
    let text = text.map_err(|error| format!("Error reading '{shown}': open {shown}: {}", go::os_error(&error)))?;
    decode(&text).map_err(|error| format!("Error decoding '{shown}': {error}"))
}

/// What a regular file holds.
fn read_at_once(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let found = file.metadata()?;
    if !found.is_file() && !found.is_dir() {
        let why = "it is no regular file, and only the start of an agent waits for one";
        return Err(io::Error::new(ErrorKind::InvalidInput, why));
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(text)
}

/// Turns the first JSON value of a text into settings; what follows it is not looked at.
pub(crate) fn decode(text: &[u8]) -> Result<Settings, String> {
    let object = match parse(text)? {
        Value::Null => return Ok(Settings::default()),
        Value::Object(object) => object,
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            return Err(format!("'' expected a map, got '{}'", kind_of(&other)));
        }
    };
    settings_from(object)
}

fn parse(text: &[u8]) -> Result<Value, String> {
    match serde_json::Deserializer::from_str(&go::json_text::readable(text)).into_iter::<Value>().next() {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(go::json_syntax::complaint(text).unwrap_or_else(|| error.to_string())),
        None => Err("EOF".into()),
    }
}

/// Fills the settings key by key; all faults of a file are told at once.
fn settings_from(object: Map<String, Value>) -> Result<Settings, String> {
    let mut settings = Settings::default();
    let (mut faults, bad_duration) = fill_all(&mut settings, &KEYS, "", object);
    if !faults.is_empty() {
        faults.sort();
        let lines: Vec<String> = faults.iter().map(|fault| format!("* {fault}")).collect();
        return Err(format!("{} error(s) decoding:\n\n{}", faults.len(), lines.join("\n")));
    }
    bad_duration.map_or(Ok(settings), Err)
}

/// Takes the values of `keys` from the object called `path`. Gives what is wrong: with types and names, and with the
/// first bad duration.
fn fill_all(
    settings: &mut Settings,
    keys: &[Key],
    path: &str,
    mut object: Map<String, Value>,
) -> (Vec<String>, Option<String>) {
    let mut faults = Vec::new();
    let mut bad_duration = None;
    for key in keys {
        // A key in its own spelling comes before one that differs in case; what is left over is unknown.
        let spelling = if object.contains_key(key.name) {
            Some(key.name.to_string())
        } else {
            object.keys().find(|name| name.eq_ignore_ascii_case(key.name)).cloned()
        };
        let value = spelling.and_then(|spelling| object.shift_remove(&spelling));
        if let Some(value) = value.filter(|value| !value.is_null()) {
            let name = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
            match fill((key.slot)(settings), &name, &value) {
                Ok(()) => {}
                Err(Fault::Types(found)) => faults.extend(found),
                Err(Fault::Duration(complaint)) => {
                    bad_duration.get_or_insert(complaint);
                }
            }
        }
    }
    let mut unknown: Vec<&str> = object.keys().map(String::as_str).collect();
    unknown.sort_unstable();
    if !unknown.is_empty() {
        faults.push(format!("'{path}' has invalid keys: {}", unknown.join(", ")));
    }
    (faults, bad_duration)
}

/// What is wrong with one value.
enum Fault {
    /// It, or elements of it, have the wrong type.
    Types(Vec<String>),
    /// It is text, but not of a duration. The original looks at this only when every type is right.
    Duration(String),
}

/// Puts a value that is not null where it belongs.
fn fill(slot: Slot<'_>, name: &str, value: &Value) -> Result<(), Fault> {
    let wanted = |wanted| Fault::Types(vec![unconvertible(name, wanted, value)]);
    match slot {
        Slot::Text(place) => *place = value.as_str().ok_or_else(|| wanted("string"))?.into(),
        Slot::Bytes(place) => *place = value.as_str().ok_or_else(|| wanted("string"))?.into(),
        Slot::Switch(place) => *place = value.as_bool().ok_or_else(|| wanted("bool"))?,
        Slot::OptionalSwitch(place) => *place = Some(value.as_bool().ok_or_else(|| wanted("bool"))?),
        Slot::Integer(place) => *place = integer(value).ok_or_else(|| wanted("int"))?,
        Slot::Duration(place) => *place = duration(name, value.as_str().ok_or_else(|| wanted("string"))?)?,
        Slot::List(place) => *place = list(name, value).map_err(Fault::Types)?,
        Slot::Map(place) => *place = map(name, value).map_err(Fault::Types)?,
        Slot::Object(keys, settings) => {
            let object = value.as_object().ok_or_else(|| Fault::Types(vec![not_a_map(name, value)]))?;
            let (faults, bad_duration) = fill_all(settings, keys, name, object.clone());
            if !faults.is_empty() {
                return Err(Fault::Types(faults));
            }
            bad_duration.map_or(Ok(()), |complaint| Err(Fault::Duration(complaint)))?;
        }
    }
    Ok(())
}

/// Numbers are Go's float64; a fraction is cut off.
#[expect(clippy::cast_possible_truncation, reason = "a conversion that saturates is what is wanted")]
fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().map(|number| number as i64))
}

/// Reads a duration; empty text leaves the setting open.
fn duration(name: &str, text: &str) -> Result<i64, Fault> {
    if text.is_empty() {
        return Ok(0);
    }
    let nanos = go::duration::parse(text).map_err(|error| Fault::Duration(error.to_string()))?;
    // The original takes the others too, and so does whoever has written them.
    if nanos < 0 && name == "event_handler_timeout" {
        return Err(Fault::Duration(format!("'{name}' must not be negative, got \"{text}\"")));
    }
    Ok(nanos)
}

fn list(name: &str, value: &Value) -> Result<Vec<String>, Vec<String>> {
    let Some(values) = value.as_array() else {
        return Err(vec![format!("'{name}': source data must be an array or slice, got {}", kind_of(value))]);
    };
    let mut faults = Vec::new();
    let mut texts = Vec::new();
    for (i, value) in values.iter().enumerate() {
        match text_or_empty(value) {
            Some(text) => texts.push(text.to_string()),
            None => faults.push(unconvertible(&format!("{name}[{i}]"), "string", value)),
        }
    }
    if faults.is_empty() { Ok(texts) } else { Err(faults) }
}

fn map(name: &str, value: &Value) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Vec<String>> {
    let Some(values) = value.as_object() else {
        return Err(vec![not_a_map(name, value)]);
    };
    let mut faults = Vec::new();
    let mut texts = BTreeMap::new();
    for (key, value) in values {
        match text_or_empty(value) {
            Some(text) => {
                texts.insert(key.as_bytes().to_vec(), text.as_bytes().to_vec());
            }
            None => faults.push(unconvertible(&format!("{name}[{key}]"), "string", value)),
        }
    }
    if faults.is_empty() { Ok(texts) } else { Err(faults) }
}

fn not_a_map(name: &str, value: &Value) -> String {
    format!("'{name}' expected a map, got '{}'", kind_of(value))
}

/// Inside lists and maps null is empty text.
fn text_or_empty(value: &Value) -> Option<&str> {
    if value.is_null() { Some("") } else { value.as_str() }
}

fn unconvertible(name: &str, wanted: &str, value: &Value) -> String {
    let got = match value {
        Value::Null => "<nil>",
        Value::Bool(_) | Value::Number(_) | Value::String(_) => kind_of(value),
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    };
    // What is printed at a start ends up in logs.
    let value = if matches!(name, "encrypt_key" | "rpc_auth") { "(not shown)".into() } else { shown(value) };
    format!("'{name}' expected type '{wanted}', got unconvertible type '{got}', value: '{value}'")
}

/// The kind of the Go value that a JSON value becomes.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}

/// A value as `%v` shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::Bool(switch) => switch.to_string(),
        Value::Number(number) => go::number::show_float(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => text.clone(),
        Value::Array(values) => format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(values) => {
            let mut entries: Vec<(&String, &Value)> = values.iter().collect();
            entries.sort_unstable_by_key(|(name, _)| name.as_str());
            let entries: Vec<String> = entries.iter().map(|(name, value)| format!("{name}:{}", shown(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        decode(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn keys_match_in_any_case_and_their_own_spelling_first() {
        let settings = decode(br#"{"NODE_name": "a", "Tags": {"x": "1", "y": null}}"#).unwrap();
        assert_eq!(settings.node_name, b"a");
        assert_eq!(settings.tags, BTreeMap::from([(b"x".to_vec(), b"1".to_vec()), (b"y".to_vec(), Vec::new())]));
        assert_eq!(
            fault(r#"{"NODE_NAME": "a", "node_name": "b", "Node_name": "c"}"#),
            "1 error(s) decoding:\n\n* '' has invalid keys: NODE_NAME, Node_name"
        );
    }

    #[test]
    fn all_faults_of_a_file_are_told_sorted() {
        assert_eq!(
            fault(r#"{"zzz": 1, "tags": 1, "bogus": 2}"#),
            "2 error(s) decoding:\n\n* '' has invalid keys: bogus, zzz\n* 'tags' expected a map, got 'float64'"
        );
    }

    #[test]
    fn wrong_types_are_described_as_the_original_describes_them() {
        for (text, complaint) in [
            (r#"{"tags": {"a": 1}}"#, "'tags[a]' expected type 'string', got unconvertible type 'float64', value: '1'"),
            (r#"{"tags": []}"#, "'tags' expected a map, got 'slice'"),
            (r#"{"protocol": "5"}"#, "'protocol' expected type 'int', got unconvertible type 'string', value: '5'"),
            (r#"{"protocol": true}"#, "'protocol' expected type 'int', got unconvertible type 'bool', value: 'true'"),
            (r#"{"start_join": "x"}"#, "'start_join': source data must be an array or slice, got string"),
            (r#"{"start_join": {"a": 1}}"#, "'start_join': source data must be an array or slice, got map"),
            (
                r#"{"start_join": [null, "a", {"y": 2, "x": 1.5}]}"#,
                "'start_join[2]' expected type 'string', got unconvertible type 'map[string]interface {}', \
                 value: 'map[x:1.5 y:2]'",
            ),
            (
                r#"{"node_name": ["a", 1e30, 1e5, 123456789, true, null]}"#,
                "'node_name' expected type 'string', got unconvertible type '[]interface {}', \
                 value: '[a 1e+30 100000 1.23456789e+08 true <nil>]'",
            ),
            (
                r#"{"rpc_auth": ["secret"]}"#,
                "'rpc_auth' expected type 'string', got unconvertible type '[]interface {}', value: '(not shown)'",
            ),
            (
                r#"{"encrypt_key": 12345}"#,
                "'encrypt_key' expected type 'string', got unconvertible type 'float64', value: '(not shown)'",
            ),
            (
                r#"{"leave_on_terminate": "yes"}"#,
                "'leave_on_terminate' expected type 'bool', got unconvertible type 'string', value: 'yes'",
            ),
            (
                r#"{"retry_interval": 30, "reconnect_timeout": "x"}"#,
                "'retry_interval' expected type 'string', got unconvertible type 'float64', value: '30'",
            ),
        ] {
            assert_eq!(fault(text), format!("1 error(s) decoding:\n\n* {complaint}"));
        }
    }

    #[test]
    fn an_object_has_keys_of_its_own() {
        let settings = decode(br#"{"mdns": {"Interface": "lo", "disable_ipv6": true}}"#).unwrap();
        assert_eq!((settings.mdns_interface.as_str(), settings.mdns_disable_ipv6), ("lo", true));
        assert_eq!(fault(r#"{"mdns": 1}"#), "1 error(s) decoding:\n\n* 'mdns' expected a map, got 'float64'");
        assert_eq!(
            fault(r#"{"mdns": {"interface": 1, "x": 2}}"#),
            "2 error(s) decoding:\n\n* 'mdns' has invalid keys: x\n\
             * 'mdns.interface' expected type 'string', got unconvertible type 'float64', value: '1'"
        );
    }

    #[test]
    fn the_top_must_be_an_object() {
        assert_eq!(fault("[1]"), "'' expected a map, got 'slice'");
        assert_eq!(fault("3"), "'' expected a map, got 'float64'");
        assert_eq!(fault(""), "EOF");
        assert_eq!(fault("{"), "unexpected EOF");
        assert_eq!(decode(b"null"), Ok(Settings::default()));
        assert_eq!(decode(br#"{"node_name": "\udc00"}"#).unwrap().node_name, "\u{fffd}".as_bytes(), "as Go reads it");
        assert_eq!(decode(b"{} and what follows"), Ok(Settings::default()));
    }

    #[test]
    fn durations_are_texts_and_the_first_bad_one_is_told() {
        let settings = decode(br#"{"retry_interval": "1m", "broadcast_timeout": ""}"#).unwrap();
        assert_eq!((settings.retry_interval, settings.broadcast_timeout), (60_000_000_000, 0));
        assert_eq!(fault(r#"{"retry_interval": "30"}"#), "time: missing unit in duration \"30\"");
        assert_eq!(fault(r#"{"broadcast_timeout": "v", "tombstone_timeout": "z"}"#), "time: invalid duration \"z\"");
        let negative = "'event_handler_timeout' must not be negative, got \"-1s\"";
        assert_eq!(fault(r#"{"event_handler_timeout": "-1s"}"#), negative);
        assert_eq!(decode(br#"{"tombstone_timeout": "-1s"}"#).unwrap().tombstone_timeout, -1_000_000_000);
    }

    #[test]
    fn fractions_of_integers_are_cut_off() {
        assert_eq!(decode(br#"{"protocol": 4.9}"#).unwrap().protocol, 4);
    }

    #[test]
    fn a_directory_gives_its_json_files_in_byte_order() {
        let directory = tempfile::tempdir().unwrap();
        for (name, node) in [("9.json", "nine"), ("10.json", "ten"), (".x.json", "hidden"), ("a.txt", "not read")] {
            fs::write(directory.path().join(name), format!(r#"{{"node_name": "{node}"}}"#)).unwrap();
        }
        fs::create_dir(directory.path().join("sub.json")).unwrap();
        let names: Vec<Vec<u8>> =
            read(directory.path(), Sources::Any).unwrap().into_iter().map(|settings| settings.node_name).collect();
        assert_eq!(names, [&b"hidden"[..], b"ten", b"nine"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert_eq!(
            read(Path::new("/nosuch"), Sources::Any),
            Err("Error reading '/nosuch': open /nosuch: no such file or directory".into())
        );
        assert_eq!(read(Path::new(""), Sources::Any), Err("Error reading '': open : no such file or directory".into()));
    }
}
