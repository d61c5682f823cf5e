//! Values in Go's literal syntax, as `%#v` shows what the RPC carries.

use std::fmt::Write;

use villein_core::msgpack::Value;

use super::quote;

/// The literal of a value that stands alone.
pub(crate) fn literal(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Nil => text.push_str("<nil>"),
        Value::Blob(bytes) => put_bytes(&mut text, "[]byte", bytes),
        Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::Array(_)
        | Value::Map(_) => put(&mut text, value),
    }
    text
}

/// Appends the literal of a value inside another. Unsigned numbers are in hexadecimal, maps in the order of their
/// keys.
fn put(out: &mut String, value: &Value) {
    match value {
        Value::Nil => out.push_str("interface {}(nil)"),
        Value::Bool(value) => out.push_str(&value.to_string()),
        Value::Int(value) => out.push_str(&value.to_string()),
        Value::Uint(value) => {
            let _ = write!(out, "{value:#x}");
        }
        Value::Float(value) => out.push_str(&super::number::show_float(*value)),
        Value::Text(text) => out.push_str(&quote(text)),
        Value::Blob(bytes) => put_bytes(out, "[]uint8", bytes),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(inner).collect();
            let _ = write!(out, "[]interface {{}}{{{}}}", values.join(", "));
        }
        Value::Map(entries) => {
            let mut entries: Vec<(String, String)> =
                entries.iter().map(|(key, value)| (inner(key), inner(value))).collect();
            entries.sort_unstable();
            let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{key}:{value}")).collect();
            let _ = write!(out, "map[interface {{}}]interface {{}}{{{}}}", entries.join(", "));
        }
    }
}

fn inner(value: &Value) -> String {
    let mut text = String::new();
    put(&mut text, value);
    text
}

fn put_bytes(out: &mut String, type_name: &str, bytes: &[u8]) {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:#x}")).collect();
    let _ = write!(out, "{type_name}{{{}}}", bytes.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn literals_are_those_of_go() {
        for (value, expected) in [
            (Value::Blob(b"wo".to_vec()), "[]byte{0x77, 0x6f}"),
            (Value::Blob(Vec::new()), "[]byte{}"),
            (Value::Nil, "<nil>"),
            (Value::Int(127), "127"),
            (Value::Uint(128), "0x80"),
            (Value::Int(-3), "-3"),
            (Value::Float(0.5), "0.5"),
            (text("a\"b"), "\"a\\\"b\""),
        ] {
            assert_eq!(literal(&value), expected);
        }
    }

    #[test]
    fn inner_values_spell_their_types_out() {
        let member = Value::Map(vec![
            (text("Port"), Value::Uint(7946)),
            (text("Addr"), Value::Blob(vec![127, 0, 0, 11])),
            (text("Tags"), Value::Nil),
        ]);
        assert_eq!(
            literal(&Value::Array(vec![member, Value::Bool(true)])),
            "[]interface {}{map[interface {}]interface {}{\"Addr\":[]uint8{0x7f, 0x0, 0x0, 0xb}, \"Port\":0x1f0a, \
             \"Tags\":interface {}(nil)}, true}"
        );
    }
}
