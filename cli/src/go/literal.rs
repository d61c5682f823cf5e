//! Values in Go's literal syntax, as `%#v` shows what the RPC carries.

use std::fmt::Write;

use super::quote;

/// A value of an RPC record, in the Go types that it would have there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum GoValue {
    Nil,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    List(Vec<GoValue>),
    Map(Vec<(GoValue, GoValue)>),
}

impl GoValue {
    /// A number as it arrives: what fits MessagePack's shortest form is signed, everything larger unsigned.
    pub(crate) fn number(number: u64) -> Self {
        match i64::try_from(number) {
            Ok(small @ 0..=127) => Self::Signed(small),
            Ok(_) | Err(_) => Self::Unsigned(number),
        }
    }

    pub(crate) fn text(text: impl AsRef<[u8]>) -> Self {
        Self::Text(text.as_ref().to_vec())
    }

    /// The literal of a value that stands alone.
    pub(crate) fn literal(&self) -> String {
        let mut text = String::new();
        match self {
            Self::Nil => text.push_str("<nil>"),
            Self::Bytes(bytes) => put_bytes(&mut text, "[]byte", bytes),
            Self::Bool(_)
            | Self::Signed(_)
            | Self::Unsigned(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::List(_)
            | Self::Map(_) => self.put(&mut text),
        }
        text
    }

    /// Appends the literal of a value inside another.
    fn put(&self, out: &mut String) {
        match self {
            Self::Nil => out.push_str("interface {}(nil)"),
            Self::Bool(value) => out.push_str(&value.to_string()),
            Self::Signed(value) => out.push_str(&value.to_string()),
            Self::Unsigned(value) => {
                let _ = write!(out, "{value:#x}");
            }
            Self::Float(value) => out.push_str(&super::number::show_float(*value)),
            Self::Text(text) => out.push_str(&quote(text)),
            Self::Bytes(bytes) => put_bytes(out, "[]uint8", bytes),
            Self::List(values) => {
                out.push_str("[]interface {}{");
                for (i, value) in values.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { ", " });
                    value.put(out);
                }
                out.push('}');
            }
            Self::Map(entries) => {
                out.push_str("map[interface {}]interface {}{");
                for (i, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { ", " });
                    key.put(out);
                    out.push(':');
                    value.put(out);
                }
                out.push('}');
            }
        }
    }
}

fn put_bytes(out: &mut String, type_name: &str, bytes: &[u8]) {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:#x}")).collect();
    let _ = write!(out, "{type_name}{{{}}}", bytes.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_those_of_go() {
        assert_eq!(GoValue::Bytes(b"wo".to_vec()).literal(), "[]byte{0x77, 0x6f}");
        assert_eq!(GoValue::Bytes(Vec::new()).literal(), "[]byte{}");
        assert_eq!(GoValue::Nil.literal(), "<nil>");
        assert_eq!(GoValue::number(127).literal(), "127");
        assert_eq!(GoValue::number(128).literal(), "0x80");
        assert_eq!(GoValue::text("a\"b").literal(), "\"a\\\"b\"");
        assert_eq!(GoValue::Signed(-3).literal(), "-3");
        assert_eq!(GoValue::Float(0.5).literal(), "0.5");
    }

    #[test]
    fn inner_values_spell_their_types_out() {
        let member = GoValue::Map(vec![
            (GoValue::text("Addr"), GoValue::Bytes(vec![127, 0, 0, 11])),
            (GoValue::text("Port"), GoValue::number(7946)),
            (GoValue::text("Tags"), GoValue::Nil),
        ]);
        assert_eq!(
            GoValue::List(vec![member, GoValue::Bool(true)]).literal(),
            "[]interface {}{map[interface {}]interface {}{\"Addr\":[]uint8{0x7f, 0x0, 0x0, 0xb}, \"Port\":0x1f0a, \
             \"Tags\":interface {}(nil)}, true}"
        );
    }
}
