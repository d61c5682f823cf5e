//! What an event handler's script is told: environment and standard input (cli.md 4.2 and 4.3).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use villein_core::event::{Event, MemberInfo, QueryKey};
use villein_core::types::{Name, Tags};

use crate::event_script::EventKind;

/// An event, as scripts are told of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Occurrence {
    pub(crate) kind: EventKind,
    /// Of the user event or query; else empty.
    pub(crate) name: Box<[u8]>,
    /// Of the user event or query; else 0.
    ltime: u64,
    /// What the script reads.
    pub(crate) input: Box<[u8]>,
    /// The query that may be answered.
    pub(crate) query: Option<QueryKey>,
}

impl Occurrence {
    /// `None`: it is none of the events that handlers can be for.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        let empty = Self { kind: EventKind::Any, name: [].into(), ltime: 0, input: [].into(), query: None };
        Some(match event {
            Event::Members { kind, members } => {
                Self { kind: EventKind::Members(*kind), input: member_lines(members).into(), ..empty }
            }
            Event::User(user) => Self {
                kind: EventKind::User,
                name: user.name.clone(),
                ltime: user.ltime.0,
                input: line_of(&user.payload),
                ..empty
            },
            Event::Query(query) => Self {
                kind: EventKind::Query,
                name: query.name.clone(),
                ltime: query.key.ltime.0,
                input: line_of(&query.payload),
                query: Some(query.key),
            },
            Event::Shutdown(_) => return None,
        })
    }

    /// Bytes that it takes in a queue.
    pub(crate) const fn bytes(&self) -> usize {
        self.name.len() + self.input.len()
    }

    /// The variables that are put over those of the agent.
    ///
    /// # Errors
    /// One has a zero byte, which no variable can have: it is named, and nothing is run.
    pub(crate) fn environment(&self, node: &Name, tags: &Tags) -> io::Result<Vec<(OsString, OsString)>> {
        let variables = self.variables(node, tags);
        match variables.iter().find(|(_, value)| value.as_bytes().contains(&0)) {
            Some((name, _)) => {
                let problem = format!("the value of {} has a zero byte, which no variable can have", name.display());
                Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
            }
            None => Ok(variables),
        }
    }

    fn variables(&self, node: &Name, tags: &Tags) -> Vec<(OsString, OsString)> {
        let role = tags.get(ROLE).cloned().unwrap_or_default();
        let mut variables = vec![
            ("SERF_EVENT".into(), self.kind.as_str().into()),
            ("SERF_SELF_NAME".into(), OsString::from_vec(node.as_bytes().to_vec())),
            ("SERF_SELF_ROLE".into(), OsString::from_vec(role)),
        ];
        // Of tags that are one variable the last one counts, as `shared_variables` says.
        let tag = |(key, value): (&Vec<u8>, &Vec<u8>)| (variable_of(key).into(), OsString::from_vec(value.clone()));
        variables.extend(tags.iter().map(tag));
        let (name, ltime) = match self.kind {
            EventKind::User => ("SERF_USER_EVENT", "SERF_USER_LTIME"),
            EventKind::Query => ("SERF_QUERY_NAME", "SERF_QUERY_LTIME"),
            EventKind::Any | EventKind::Members(_) => return variables,
        };
        variables.push((name.into(), OsString::from_vec(self.name.to_vec())));
        variables.push((ltime.into(), self.ltime.to_string().into()));
        variables
    }
}

const ROLE: &[u8] = b"role";

/// A payload, ended by a line break if there is any.
fn line_of(payload: &[u8]) -> Box<[u8]> {
    let missing = payload.last().is_some_and(|last| *last != b'\n');
    if missing { [payload, b"\n"].concat().into() } else { payload.into() }
}

/// One line for each member: name, IP, role, all tags.
fn member_lines(members: &[MemberInfo]) -> Vec<u8> {
    let mut lines = Vec::new();
    for member in members {
        let tags = member.tags();
        let pairs: Vec<_> = tags.iter().map(|(key, value)| [key.as_slice(), b"=", value].concat()).collect();
        let role = tags.get(ROLE).map_or(&[][..], Vec::as_slice);
        push_clean(&mut lines, member.name.as_bytes());
        lines.extend(format!("\t{}\t", member.addr.ip()).bytes());
        push_clean(&mut lines, role);
        lines.push(b'\t');
        push_clean(&mut lines, &pairs.join(&b','));
        lines.push(b'\n');
    }
    lines
}

/// Appends a field in which the separators of the line are escaped.
fn push_clean(line: &mut Vec<u8>, field: &[u8]) {
    for byte in field {
        match byte {
            b'\t' => line.extend(b"\\t"),
            b'\n' => line.extend(b"\\n"),
            byte => line.push(*byte),
        }
    }
}

/// The variables that stand for more than one tag, with the names of these; a script is told the value of the last.
pub(crate) fn shared_variables(tags: &Tags) -> Vec<(String, Vec<&[u8]>)> {
    let mut variables = BTreeMap::<String, Vec<&[u8]>>::new();
    for tag in tags.keys() {
        variables.entry(variable_of(tag)).or_default().push(tag);
    }
    variables.into_iter().filter(|(_, tags)| tags.len() > 1).collect()
}

/// The variable of a tag: its name in capitals, and one `_` for every other character.
fn variable_of(tag: &[u8]) -> String {
    let mut variable = String::from("SERF_TAG_");
    for chunk in tag.utf8_chunks() {
        variable.extend(chunk.valid().chars().map(variable_char));
        // To Go each byte that is no text is a character.
        variable.extend(chunk.invalid().iter().map(|_| '_'));
    }
    variable
}

/// Go knows capitals that are one character, as of `ſ`, and no others, as of `ß`.
fn variable_char(c: char) -> char {
    let mut capitals = c.to_uppercase();
    match (capitals.next(), capitals.next()) {
        (Some(capital @ ('A'..='Z' | '0'..='9' | '_')), None) => capital,
        _ => '_',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use villein_core::event::{MemberEventKind, Status, UserEvent};
    use villein_core::lamport::LamportTime;
    use villein_core::types::{GossipAddr, Versions};

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    }

    fn user(payload: &str) -> Occurrence {
        let event = UserEvent {
            ltime: LamportTime(7),
            name: b"deploy".as_slice().into(),
            payload: payload.as_bytes().into(),
            coalesce: false,
        };
        Occurrence::of(&Event::User(event)).expect("is one")
    }

    #[test]
    fn a_member_is_a_line_of_four_fields() {
        let member = |name: &str, last: u8, pairs: &[(&str, &str)]| MemberInfo {
            name: name.into(),
            addr: GossipAddr::from_bytes(&[127, 0, 0, last], 7946).expect("an address"),
            meta: villein_core::serf::tags::encode(&tags(pairs)),
            status: Status::Alive,
            versions: Versions::CURRENT,
        };
        let members = vec![member("n2", 12, &[("role", "d\tb"), ("a", "1\n=,")]), member("n\t3", 13, &[])];
        let event = Event::Members { kind: MemberEventKind::Join, members };
        let occurrence = Occurrence::of(&event).expect("is one");
        let wanted = "n2\t127.0.0.12\td\\tb\ta=1\\n=,,role=d\\tb\nn\\t3\t127.0.0.13\t\t\n";
        assert_eq!(String::from_utf8_lossy(&occurrence.input), wanted);
    }

    #[test]
    fn a_payload_ends_with_a_line_break_unless_it_is_empty() {
        for (payload, input) in [("", ""), ("a", "a\n"), ("a\n", "a\n"), ("\n", "\n")] {
            assert_eq!(*user(payload).input, *input.as_bytes());
        }
    }

    #[test]
    fn tags_become_variables_in_capitals() {
        let names = ["my-tag.x", "9lives", "ünï", "ROLE_2"].map(|tag| variable_of(tag.as_bytes()));
        assert_eq!(names, ["SERF_TAG_MY_TAG_X", "SERF_TAG_9LIVES", "SERF_TAG__N_", "SERF_TAG_ROLE_2"]);
        // As the original names them, by experiment.
        let odd: [(&[u8], _); 5] = [
            ("straße".as_bytes(), "SERF_TAG_STRA_E"),
            ("ﬁx".as_bytes(), "SERF_TAG__X"),
            ("ıſ".as_bytes(), "SERF_TAG_IS"),
            (b"a\xe2\x82b", "SERF_TAG_A__B"),
            (b"\xff\xf0\x9f", "SERF_TAG____"),
        ];
        for (tag, variable) in odd {
            assert_eq!(variable_of(tag), variable);
        }
        let environment = user("").variables(&"n1".into(), &tags(&[("role", "web"), ("dc", "a\nb")]));
        let shown: Vec<_> = environment.iter().map(|(k, v)| (k.to_str(), v.to_str())).collect();
        let wanted = [
            ("SERF_EVENT", "user"),
            ("SERF_SELF_NAME", "n1"),
            ("SERF_SELF_ROLE", "web"),
            ("SERF_TAG_DC", "a\nb"),
            ("SERF_TAG_ROLE", "web"),
            ("SERF_USER_EVENT", "deploy"),
            ("SERF_USER_LTIME", "7"),
        ];
        assert_eq!(shown, wanted.map(|(k, v)| (Some(k), Some(v))));
    }

    #[test]
    fn a_value_that_no_variable_can_have_is_refused_and_named() {
        let node = Name::from("n1");
        assert!(user("x").environment(&node, &tags(&[("role", "db")])).is_ok());
        let error = user("x").environment(&node, &tags(&[("my-tag", "a\0b")])).expect_err("has a zero byte");
        assert_eq!(error.to_string(), "the value of SERF_TAG_MY_TAG has a zero byte, which no variable can have");
    }
}
