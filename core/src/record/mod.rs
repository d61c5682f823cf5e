//! Recordings: every input of a node, and a hash over all its outputs, so that its life can be lived again bit for bit.
//!
//! A recording is a row of segments. Each begins with a [`Head`], which holds a checkpoint of the node, and goes on with one
//! entry for each input, written before the node sees it: an input that panics is in the file. Older segments may be
//! missing. An entry is its length (`u32`, little-endian), two bytes of the CRC-32 of that, the CRC-32 of what follows, and
//! postcard; the last one of a file may be torn. The length has a checksum of its own, so that one that was damaged does not
//! look like a file that was cut off.
//!
//! A recording holds the keys, the seed and everything that was said: it is a secret.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::io::{Input, Output};
use crate::limits;
use crate::time::Time;

mod hash;
mod stimulus;

pub use hash::OutputHash;
pub use stimulus::{Addr, Recorded};

/// The ending of the name of a segment's file.
pub const EXTENSION: &str = "villein";
/// The first bytes of a segment: a name and the version of the format.
const MAGIC: [u8; 8] = *b"VILREC\x00\x02";
/// Bytes before the postcard of an entry.
const FRAME: usize = 10;

/// What stands first in a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which build recorded it; see [`build`].
    pub build: String,
    /// When the process started, in nanoseconds of Unix time: for people, and to tell one run of the agent from the next.
    pub run: u64,
    /// Which segment of that run, from 0 on.
    pub number: u64,
    /// The node as it was.
    pub checkpoint: Vec<u8>,
}

/// What this build calls itself: the version of the package and that of the checkpoints.
pub fn build() -> String {
    alloc::format!("{}+{}", env!("CARGO_PKG_VERSION"), crate::node::CHECKPOINT_VERSION)
}

#[derive(Debug, Serialize, Deserialize)]
enum Frame<'a> {
    Head(Cow<'a, Head>),
    /// An input, and the hash of all that was put out before it.
    Input {
        hash: u64,
        at: u64,
        #[serde(borrow)]
        stimulus: Recorded<'a>,
    },
    /// The segment is over.
    End {
        hash: u64,
    },
}

/// Writes one segment: gives the bytes, and leaves it to others to keep them.
pub struct Writer {
    hash: OutputHash,
}

impl Writer {
    /// Begins a segment; its first bytes are appended to `out`.
    pub fn begin(head: &Head, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(&MAGIC);
        frame(&Frame::Head(Cow::Borrowed(head)), out);
        Self { hash: OutputHash::new((0, 0)) }
    }

    /// Appends an input that the node is about to see.
    pub fn input(&self, input: &Input<'_>, out: &mut Vec<u8>) {
        let stimulus = Recorded::of(&input.stimulus);
        frame(&Frame::Input { hash: self.hash.short(), at: input.at.as_nanos(), stimulus }, out);
    }

    /// Takes in what the node put out.
    pub fn outputs(&mut self, outputs: &[Output]) {
        outputs.iter().for_each(|output| self.hash.output(output));
    }

    /// Ends the segment.
    pub fn end(self, out: &mut Vec<u8>) {
        frame(&Frame::End { hash: self.hash.short() }, out);
    }
}

fn frame(content: &Frame<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME]);
    let at = core::mem::take(out);
    *out = postcard::to_extend(content, at).expect("every length is known");
    let (length, sum) = {
        let content = out.get(start.saturating_add(FRAME)..).unwrap_or_default();
        (u32::try_from(content.len()).unwrap_or(u32::MAX), crc32fast::hash(content))
    };
    if let Some(head) = out.get_mut(start..start.saturating_add(FRAME)) {
        let bytes = length.to_le_bytes().into_iter().chain(guard(length)).chain(sum.to_le_bytes());
        head.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    }
}

/// The checksum of a length.
pub(crate) fn guard(length: u32) -> [u8; 2] {
    let [low, high, ..] = crc32fast::hash(&length.to_le_bytes()).to_le_bytes();
    [low, high]
}

/// Something that stands in a segment behind its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// An input.
    Input {
        /// The hash of all that was put out before it.
        hash: u64,
        /// When it came.
        at: Time,
        /// What it was.
        stimulus: Recorded<'a>,
    },
    /// The segment is over.
    End {
        /// The hash of all that was put out.
        hash: u64,
    },
    /// The file ends here although the segment is not over: the process was killed.
    Cut,
}

/// Why a segment cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Bytes before the place.
    pub offset: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is no recording, or of another format.
    Magic,
    /// It does not begin with a head.
    Head,
    /// An entry is longer than any can be.
    Length(u32),
    /// An entry is not what was written.
    Sum,
    /// An entry cannot be read.
    Entry,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Magic => f.write_str("no recording of this format"),
            Problem::Head => write!(f, "at byte {}: a segment begins with its head, and this does not", self.offset),
            Problem::Length(length) => {
                let most = limits::RECORD_BYTES_MAX;
                write!(f, "at byte {}: an entry of {length} bytes; there is none above {most}", self.offset)
            }
            Problem::Sum => write!(f, "at byte {}: the checksum is wrong, the file was damaged", self.offset),
            Problem::Entry => write!(f, "at byte {}: the entry cannot be read", self.offset),
        }
    }
}

/// Reads one segment.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
    is_over: bool,
}

impl<'a> Reader<'a> {
    /// Reads the head of a segment. A file that was cut off before its head was whole has none: `None`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(bytes: &'a [u8]) -> Result<Option<(Head, Self)>, RecordError> {
        let mut reader = Self { bytes, offset: MAGIC.len(), is_over: false };
        match bytes.get(..MAGIC.len()) {
            None if MAGIC.starts_with(bytes) => return Ok(None),
            Some(magic) if magic == MAGIC => {}
            None | Some(_) => return Err(RecordError { offset: 0, problem: Problem::Magic }),
        }
        match reader.frame()? {
            None => Ok(None),
            Some(Frame::Head(head)) => Ok(Some((head.into_owned(), reader))),
            Some(Frame::Input { .. } | Frame::End { .. }) => {
                Err(RecordError { offset: MAGIC.len(), problem: Problem::Head })
            }
        }
    }

    /// Bytes that were read.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The next entry; `None` after the last one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn entry(&mut self) -> Result<Option<Entry<'a>>, RecordError> {
        if self.is_over {
            return Ok(None);
        }
        let offset = self.offset;
        let entry = match self.frame()? {
            Some(Frame::Input { hash, at, stimulus }) => Entry::Input { hash, at: Time::from_nanos(at), stimulus },
            Some(Frame::End { hash }) => Entry::End { hash },
            Some(Frame::Head(_)) => return Err(RecordError { offset, problem: Problem::Entry }),
            None => Entry::Cut,
        };
        self.is_over = !matches!(entry, Entry::Input { .. });
        Ok(Some(entry))
    }

    /// The next frame; `None`: it is not whole.
    fn frame(&mut self) -> Result<Option<Frame<'a>>, RecordError> {
        let error = |problem| RecordError { offset: self.offset, problem };
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let Some((head, rest)) = rest.split_first_chunk::<FRAME>() else { return Ok(None) };
        let [l0, l1, l2, l3, g0, g1, s0, s1, s2, s3] = *head;
        let (length, sum) = (u32::from_le_bytes([l0, l1, l2, l3]), u32::from_le_bytes([s0, s1, s2, s3]));
        if guard(length) != [g0, g1] {
            // A loss of power may leave a file as long as it was to be, and its end full of zeros.
            let is_torn = rest.iter().all(|byte| *byte == 0);
            return if is_torn { Ok(None) } else { Err(error(Problem::Sum)) };
        }
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size > limits::RECORD_BYTES_MAX {
            return Err(error(Problem::Length(length)));
        }
        let Some(content) = rest.get(..size) else { return Ok(None) };
        if crc32fast::hash(content) != sum {
            // The same may have happened in the middle of the last entry.
            let is_torn = content.last() == Some(&0) && rest.iter().skip(size).all(|byte| *byte == 0);
            return if is_torn { Ok(None) } else { Err(error(Problem::Sum)) };
        }
        let frame = postcard::from_bytes(content).map_err(|_| error(Problem::Entry))?;
        self.offset = self.offset.saturating_add(FRAME).saturating_add(size);
        Ok(Some(frame))
    }
}

/// Why a node does not live again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherBuild {
    /// Which build recorded it.
    pub recorded: String,
}

impl fmt::Display for OtherBuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "recorded by villein {}, this is villein {}", self.recorded, build())
    }
}

impl Head {
    /// Whether this build recorded it: no other one goes on exactly as it did.
    ///
    /// # Errors
    /// Another one did.
    pub fn check_build(&self) -> Result<(), OtherBuild> {
        if self.build == build() { Ok(()) } else { Err(OtherBuild { recorded: self.build.clone() }) }
    }
}
