//! The file that holds the token of RPC clients, so that it stands on no command line and in no environment.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::go;

/// A token, as a file holds it.
#[derive(Debug)]
pub(crate) struct TokenFile {
    /// Never empty.
    pub(crate) token: Vec<u8>,
    /// Whether every user of the host may read the file.
    pub(crate) is_public: bool,
}

impl TokenFile {
    /// Reads the file; one line break at its end is no part of the token. The error is a whole sentence without a full
    /// stop.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let failed = |problem: String| format!("Error reading RPC token '{shown}': {problem}");
        let file = File::open(path).map_err(|error| failed(format!("open {shown}: {}", go::os_error(&error))))?;
        let mut token = Vec::new();
        let read = |error| failed(format!("read {shown}: {}", go::os_error(&error)));
        file.take(TOKEN_BYTES_MAX as u64 + 1).read_to_end(&mut token).map_err(read)?;
        let is_public = std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o004 != 0);
        if token.len() > TOKEN_BYTES_MAX {
            return Err(failed(format!("it has more than {TOKEN_BYTES_MAX} bytes")));
        }
        if token.ends_with(b"\n") {
            token.pop();
            token.pop_if(|last| *last == b'\r');
        }
        if token.is_empty() { Err(failed("it is empty".into())) } else { Ok(Self { token, is_public }) }
    }
}

/// Bytes of such a file; more is another file.
const TOKEN_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<Vec<u8>, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, content).unwrap();
        let shown = path.to_str().unwrap();
        TokenFile::read(&path).map(|file| file.token).map_err(|error| error.replace(shown, "FILE"))
    }

    #[test]
    fn one_line_break_at_the_end_is_no_part_of_the_token() {
        for (content, token) in [
            (&b"a b"[..], &b"a b"[..]),
            (b"a\n", b"a"),
            (b"a\r\n", b"a"),
            (b"a\n\n", b"a\n"),
            (b" a\r", b" a\r"),
            (b"\xff\n", b"\xff"),
        ] {
            assert_eq!(read(content).as_deref(), Ok(token));
        }
    }

    #[test]
    fn a_file_without_a_token_is_named() {
        for content in [&b""[..], b"\n", b"\r\n"] {
            assert_eq!(read(content).unwrap_err(), "Error reading RPC token 'FILE': it is empty");
        }
        let refusal = TokenFile::read(Path::new("/no/such")).unwrap_err();
        assert_eq!(refusal, "Error reading RPC token '/no/such': open /no/such: no such file or directory");
        assert_eq!(TokenFile::read(Path::new("/")).unwrap_err(), "Error reading RPC token '/': read /: is a directory");
    }

    #[test]
    fn a_token_has_at_most_4096_bytes() {
        assert_eq!(read(&[b'x'; TOKEN_BYTES_MAX]).map(|token| token.len()), Ok(TOKEN_BYTES_MAX));
        let refusal = "Error reading RPC token 'FILE': it has more than 4096 bytes";
        assert_eq!(read(&[b'x'; TOKEN_BYTES_MAX + 1]).unwrap_err(), refusal);
    }

    #[test]
    fn a_file_is_public_if_every_user_may_read_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "x").unwrap();
        for (mode, is_public) in [(0o600, false), (0o640, false), (0o644, true)] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(TokenFile::read(file.path()).unwrap().is_public, is_public, "{mode:o}");
        }
    }
}
