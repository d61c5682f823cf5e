//! What Go's JSON scanner says of a text that is not JSON.
//!
//! serde_json reads the configuration; this walks the text a second time, only after serde_json has refused it.

use std::fmt;

use villein_core::go_quote::write_escaped;

/// Go's complaint about the first JSON value in `text`, or `None` where Go has none.
pub(crate) fn complaint(text: &[u8]) -> Option<String> {
    let mut scanner = Scanner { text, at: 0 };
    match scanner.value(0) {
        Ok(()) => None,
        Err(Fault::End) if text.iter().all(|byte| is_space(*byte)) => Some("EOF".into()),
        Err(Fault::End) => Some("unexpected EOF".into()),
        Err(Fault::Depth) => Some("exceeded max depth".into()),
        Err(Fault::Byte { byte, place }) => Some(format!("invalid character {} {place}", quote_byte(byte))),
    }
}

/// What Go says of a text that is to be one JSON value and nothing else.
pub(crate) struct Complaint {
    /// Offset of the byte that it is about; the text's length where the text is too short.
    pub(crate) at: usize,
    text: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Go's complaint about `text` as a whole, what follows its first JSON value included; `None` where Go has none.
pub(crate) fn complaint_about_all(text: &[u8]) -> Option<Complaint> {
    let mut scanner = Scanner { text, at: 0 };
    let rest = |scanner: &mut Scanner<'_>| match scanner.solid() {
        Ok(byte) => fault(byte, "after top-level value"),
        Err(_) => Ok(()),
    };
    let (at, text) = match scanner.value(0).and_then(|()| rest(&mut scanner)) {
        Ok(()) => return None,
        Err(Fault::End) => (text.len(), "unexpected end of JSON input".into()),
        Err(Fault::Depth) => (scanner.at, "exceeded max depth".into()),
        Err(Fault::Byte { byte, place }) => {
            (scanner.at.saturating_sub(1), format!("invalid character {} {place}", quote_byte(byte)))
        }
    };
    Some(Complaint { at, text })
}

/// Bound on nesting, far beyond any configuration. Go stops at 10,000, with the same words.
const DEPTH_MAX: usize = 1_000;

/// Where scanning stopped.
enum Fault {
    /// The text ended inside a value.
    End,
    /// Arrays and objects are nested too deeply.
    Depth,
    /// A byte that may not stand there.
    Byte { byte: u8, place: String },
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn value(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::Depth);
        }
        match self.solid()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string(),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            byte @ (b'-' | b'0'..=b'9') => self.number(byte),
            byte => fault(byte, "looking for beginning of value"),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Fault> {
        let mut first = true;
        loop {
            match self.solid()? {
                b'"' => self.string()?,
                b'}' if first => return Ok(()),
                byte => return fault(byte, "looking for beginning of object key string"),
            }
            first = false;
            match self.solid()? {
                b':' => {}
                byte => return fault(byte, "after object key"),
            }
            self.value(depth + 1)?;
            match self.solid()? {
                b',' => {}
                b'}' => return Ok(()),
                byte => return fault(byte, "after object key:value pair"),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Fault> {
        if self.solid()? == b']' {
            return Ok(());
        }
        self.at -= 1;
        loop {
            self.value(depth + 1)?;
            match self.solid()? {
                b',' => {}
                b']' => return Ok(()),
                byte => return fault(byte, "after array element"),
            }
        }
    }

    fn string(&mut self) -> Result<(), Fault> {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let byte = self.next()?;
                            if !byte.is_ascii_hexdigit() {
                                return fault(byte, "in \\u hexadecimal character escape");
                            }
                        }
                    }
                    byte => return fault(byte, "in string escape code"),
                },
                byte if byte < 0x20 => return fault(byte, "in string literal"),
                _ => {}
            }
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        for expected in word.bytes().skip(1) {
            let byte = self.next()?;
            if byte != expected {
                return fault(byte, &format!("in literal {word} (expecting '{}')", char::from(expected)));
            }
        }
        Ok(())
    }

    fn number(&mut self, first: u8) -> Result<(), Fault> {
        let leading = if first == b'-' { self.next()? } else { first };
        match leading {
            b'0' => {}
            b'1'..=b'9' => self.skip_digits(),
            byte => return fault(byte, "in numeric literal"),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            match self.next()? {
                b'0'..=b'9' => self.skip_digits(),
                byte => return fault(byte, "after decimal point in numeric literal"),
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            let signed = self.next()?;
            match if matches!(signed, b'+' | b'-') { self.next()? } else { signed } {
                b'0'..=b'9' => self.skip_digits(),
                byte => return fault(byte, "in exponent of numeric literal"),
            }
        }
        Ok(())
    }

    fn skip_digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, Fault> {
        let byte = self.peek().ok_or(Fault::End)?;
        self.at += 1;
        Ok(byte)
    }

    /// The next byte that is no white space.
    fn solid(&mut self) -> Result<u8, Fault> {
        loop {
            let byte = self.next()?;
            if !is_space(byte) {
                return Ok(byte);
            }
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn fault<T>(byte: u8, place: &str) -> Result<T, Fault> {
    Err(Fault::Byte { byte, place: place.into() })
}

/// Go shows a byte as the character of that number, in single quotes.
fn quote_byte(byte: u8) -> String {
    let mut quoted = String::from("'");
    // Writing to a string does not fail.
    let _ = write_escaped(&mut quoted, char::from(byte), '\'');
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::quote;
    use super::*;

    #[test]
    fn complaints_are_those_of_a_real_agent() {
        let cases: [(&[u8], &str); 26] = [
            (b"", "EOF"),
            (b"   ", "EOF"),
            (b"{", "unexpected EOF"),
            (b"{\"a\"", "unexpected EOF"),
            (b"{\"a\":tr", "unexpected EOF"),
            (b"{\"a\":\"x\" \"b\"}", "invalid character '\"' after object key:value pair"),
            (b"{x}", "invalid character 'x' looking for beginning of object key string"),
            (b"{\"a\" 1}", "invalid character '1' after object key"),
            (b"[1 2]", "invalid character '2' after array element"),
            (b"[,]", "invalid character ',' looking for beginning of value"),
            (b"{\"a\":tru3}", "invalid character '3' in literal true (expecting 'e')"),
            (b"{\"a\":nul}", "invalid character '}' in literal null (expecting 'l')"),
            (b"{\"a\":01}", "invalid character '1' after object key:value pair"),
            (b"{\"a\":1.x}", "invalid character 'x' after decimal point in numeric literal"),
            (b"{\"a\":-x}", "invalid character 'x' in numeric literal"),
            (b"{\"a\":1ex}", "invalid character 'x' in exponent of numeric literal"),
            (b"{\"a\":\"\\q\"}", "invalid character 'q' in string escape code"),
            (b"{\"a\":\"\\uzzzz\"}", "invalid character 'z' in \\u hexadecimal character escape"),
            (b"{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
            (b"{\"a\":\"x\ny\"}", "invalid character '\\n' in string literal"),
            (b"{\"a\":'x'}", "invalid character '\\'' looking for beginning of value"),
            (b"{\"a\":\xff}", "invalid character '\u{ff}' looking for beginning of value"),
            (b"{\"a\":\xc3\xa9}", "invalid character '\u{c3}' looking for beginning of value"),
            (b"}", "invalid character '}' looking for beginning of value"),
            (b"[1,2", "unexpected EOF"),
            (b"-", "unexpected EOF"),
        ];
        for (text, expected) in cases {
            assert_eq!(complaint(text).as_deref(), Some(expected), "{}", quote(text));
        }
    }

    #[test]
    fn a_good_value_followed_by_rubbish_is_good() {
        for text in ["{\"a\":[1,-0.5e+3,null,true,false,\"\\u00e9\\n\"],\"b\":{}} garbage", "[]", "12"] {
            assert_eq!(complaint(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert_eq!(complaint("[".repeat(20_000).as_bytes()).as_deref(), Some("exceeded max depth"));
    }
}
