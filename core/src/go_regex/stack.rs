//! The stack of what has been read so far, with Go's operators on it and Go's limits.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, Repetition};

use super::PROGRAM_BYTES_MAX;
use super::error::ErrorCode;
use super::escape::Rune;
use super::parser::Flags;
use super::unicode::{Case, Tables, class};

/// Deepest nesting. (maxHeight)
const HEIGHT_MAX: usize = 1000;

/// Deepest nesting of what is handed to `regex-automata`, which recurses: up to 2 KiB of stack for each level.
const DEPTH_MAX: usize = 400;

/// How often nested repetitions together may repeat the innermost thing.
const COPIES_MAX: u32 = 1000;

/// How many ranges the classes of one pattern may hold: each takes 8 bytes here, and more when compiled.
const RANGES_MAX: usize = PROGRAM_BYTES_MAX / 8;

/// Everything read and not yet put together.
#[derive(Default)]
pub(super) struct Stack {
    entries: Vec<Entry>,
    ranges: usize,
    pub(super) tables: Tables,
}

enum Entry {
    Piece(Piece),
    LeftParen(Group),
    VerticalBar,
}

/// An open parenthesis.
pub(super) struct Group {
    pub(super) captures: bool,
    /// What applied outside, and does again after it is closed.
    pub(super) outside: Flags,
}

/// A part of the pattern that is complete.
struct Piece {
    form: Form,
    /// As Go counts it: a group that captures is a level.
    height: usize,
    /// As `Hir` counts it: such a group is none.
    depth: usize,
    /// The largest product of nested repeat counts in it.
    copies: u32,
}

enum Form {
    Literal { runes: Vec<Rune>, case: Case },
    Class(Vec<ClassUnicodeRange>),
    Concat(VecDeque<Hir>),
    Alternate(VecDeque<Hir>),
    Other(Hir),
}

/// How pieces become one.
#[derive(Clone, Copy)]
enum Join {
    Concat,
    Alternate,
}

impl Piece {
    fn leaf(form: Form) -> Self {
        Self { form, height: 1, depth: 1, copies: 1 }
    }

    /// Tells whether it is one character or a class, and so can be joined with another into a class.
    fn is_class(&self) -> bool {
        match &self.form {
            Form::Literal { runes, case: _ } => runes.len() == 1,
            Form::Class(_) => true,
            Form::Concat(_) | Form::Alternate(_) | Form::Other(_) => false,
        }
    }

    fn into_hir(self, tables: &mut Tables) -> Hir {
        match self.form {
            Form::Literal { runes, case: Case::Sensitive } => literal(&runes),
            Form::Literal { runes, case: Case::Folded } => {
                let folded = |rune: Rune| Hir::class(Class::Unicode(tables.fold(&class([(rune, rune)]))));
                Hir::concat(runes.into_iter().map(folded).collect())
            }
            Form::Class(ranges) => Hir::class(Class::Unicode(ClassUnicode::new(ranges))),
            Form::Concat(parts) => Hir::concat(parts.into()),
            Form::Alternate(branches) => Hir::alternation(branches.into()),
            Form::Other(hir) => hir,
        }
    }

    fn into_ranges(self, tables: &mut Tables) -> Vec<ClassUnicodeRange> {
        match self.form {
            Form::Literal { runes, case } => {
                let plain = class(runes.into_iter().map(|rune| (rune, rune)));
                let found = match case {
                    Case::Sensitive => plain,
                    Case::Folded => tables.fold(&plain),
                };
                found.ranges().to_vec()
            }
            Form::Class(ranges) => ranges,
            Form::Concat(_) | Form::Alternate(_) | Form::Other(_) => Vec::new(),
        }
    }
}

impl Stack {
    pub(super) fn push_literal(&mut self, rune: Rune, case: Case) -> Result<(), ErrorCode> {
        self.push(Piece::leaf(Form::Literal { runes: Vec::from([rune]), case }))
    }

    pub(super) fn push_class(&mut self, found: &ClassUnicode) -> Result<(), ErrorCode> {
        self.ranges = self.ranges.saturating_add(found.ranges().len());
        if let [only] = found.ranges()
            && only.start() == only.end()
        {
            let runes = Vec::from([Rune::from(only.start())]);
            return self.push(Piece::leaf(Form::Literal { runes, case: Case::Sensitive }));
        }
        self.push(Piece::leaf(Form::Class(found.ranges().to_vec())))
    }

    pub(super) fn push_other(&mut self, hir: Hir) -> Result<(), ErrorCode> {
        self.push(Piece::leaf(Form::Other(hir)))
    }

    pub(super) fn open(&mut self, group: Group) {
        self.join_literals();
        self.entries.push(Entry::LeftParen(group));
    }

    /// Closes the innermost parenthesis; `None` if none is open.
    pub(super) fn close(&mut self) -> Result<Option<Flags>, ErrorCode> {
        let inner = self.finish_alternation()?;
        let Some(Entry::LeftParen(group)) = self.entries.pop() else { return Ok(None) };
        let piece = if group.captures {
            // Who captured what is never asked, so only the height remains of the group.
            let (height, depth, copies) = (inner.height.saturating_add(1), inner.depth, inner.copies);
            Piece { form: Form::Other(inner.into_hir(&mut self.tables)), height, depth, copies }
        } else {
            inner
        };
        self.push(piece)?;
        Ok(Some(group.outside))
    }

    /// Ends one branch of an alternation and begins the next.
    pub(super) fn vertical_bar(&mut self) -> Result<(), ErrorCode> {
        let branch = self.finish_concat()?;
        self.add_branch(branch);
        Ok(())
    }

    /// Ends the pattern; `None` if a parenthesis is still open.
    pub(super) fn finish(mut self) -> Result<Option<Hir>, ErrorCode> {
        let whole = self.finish_alternation()?;
        Ok(self.entries.is_empty().then(|| whole.into_hir(&mut self.tables)))
    }

    /// Repeats the piece on top. With `counted` the product of all counts around one thing is limited.
    pub(super) fn repeat(&mut self, min: u32, max: Option<u32>, counted: bool) -> Result<(), ErrorCode> {
        let sub = match self.entries.pop() {
            Some(Entry::Piece(sub)) => sub,
            Some(Entry::LeftParen(_) | Entry::VerticalBar) | None => return Err(ErrorCode::MissingRepeatArgument),
        };
        let (height, depth) = (sub.height.saturating_add(1), sub.depth.saturating_add(1));
        let copies = match (counted, max) {
            (true, Some(0)) => 1,
            (true, _) => sub.copies.saturating_mul(max.unwrap_or(min).max(1)),
            (false, _) => sub.copies,
        };
        let sub = Box::new(sub.into_hir(&mut self.tables));
        // Which repetition prefers more and which less makes no difference to whether there is a match.
        let hir = Hir::repetition(Repetition { min, max, greedy: true, sub });
        self.check_limits(height, depth)?;
        if counted && max.unwrap_or(min).max(min) >= 2 && copies > COPIES_MAX {
            return Err(ErrorCode::InvalidRepeatSize);
        }
        self.entries.push(Entry::Piece(Piece { form: Form::Other(hir), height, depth, copies }));
        Ok(())
    }

    fn push(&mut self, piece: Piece) -> Result<(), ErrorCode> {
        self.join_literals();
        self.check_limits(piece.height, piece.depth)?;
        self.entries.push(Entry::Piece(piece));
        Ok(())
    }

    /// Joins the two top literals. Done before each push, as only then no repetition can follow the upper one.
    fn join_literals(&mut self) {
        let [.., Entry::Piece(below), Entry::Piece(top)] = self.entries.as_mut_slice() else { return };
        let Form::Literal { runes: top, case: top_case } = &mut top.form else { return };
        let Form::Literal { runes: below, case } = &mut below.form else { return };
        if case == top_case {
            below.append(top);
            self.entries.pop();
        }
    }

    /// Takes off all pieces above the topmost parenthesis or bar, as one.
    fn finish_concat(&mut self) -> Result<Piece, ErrorCode> {
        self.join_literals();
        let pieces = self.pop_pieces();
        if pieces.is_empty() {
            return Ok(Piece::leaf(Form::Other(Hir::empty())));
        }
        let piece = self.collapse(pieces, Join::Concat);
        self.check_limits(piece.height, piece.depth)?;
        Ok(piece)
    }

    /// Takes off all branches above the topmost parenthesis, as one.
    fn finish_alternation(&mut self) -> Result<Piece, ErrorCode> {
        let last = self.finish_concat()?;
        self.add_branch(last);
        // The branches lie below their one bar.
        self.entries.pop();
        let branches = self.pop_pieces();
        let piece = self.collapse(branches, Join::Alternate);
        self.check_limits(piece.height, piece.depth)?;
        Ok(piece)
    }

    /// Puts a branch below the bar of its alternation, and the bar on top if there is none yet.
    fn add_branch(&mut self, mut branch: Piece) {
        if matches!(self.entries.last(), Some(Entry::VerticalBar)) {
            self.entries.pop();
            branch = self.join_classes(branch);
        }
        self.entries.push(Entry::Piece(branch));
        self.entries.push(Entry::VerticalBar);
    }

    /// Makes one class of the branch below and this one, if both are characters or classes.
    fn join_classes(&mut self, branch: Piece) -> Piece {
        let below = match self.entries.pop() {
            Some(Entry::Piece(below)) if below.is_class() && branch.is_class() => below,
            Some(other) => {
                self.entries.push(other);
                return branch;
            }
            None => return branch,
        };
        let mut ranges = below.into_ranges(&mut self.tables);
        ranges.append(&mut branch.into_ranges(&mut self.tables));
        Piece::leaf(Form::Class(ranges))
    }

    fn pop_pieces(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while let Some(Entry::Piece(_)) = self.entries.last() {
            if let Some(Entry::Piece(piece)) = self.entries.pop() {
                pieces.push(piece);
            }
        }
        pieces.reverse();
        pieces
    }

    /// Makes one piece of several; those that were joined in the same way add no height.
    fn collapse(&mut self, mut pieces: Vec<Piece>, join: Join) -> Piece {
        if pieces.len() == 1
            && let Some(only) = pieces.pop()
        {
            return only;
        }
        let (mut height, mut depth, mut copies) = (0, 0, 1);
        let mut all = VecDeque::with_capacity(pieces.len());
        for piece in pieces {
            copies = piece.copies.max(copies);
            let (parts, levels) = match (piece, join) {
                (Piece { form: Form::Concat(parts), height, depth, copies: _ }, Join::Concat)
                | (Piece { form: Form::Alternate(parts), height, depth, copies: _ }, Join::Alternate) => {
                    (parts, (height.saturating_sub(1), depth.saturating_sub(1)))
                }
                (piece, Join::Concat | Join::Alternate) => {
                    let levels = (piece.height, piece.depth);
                    (VecDeque::from([piece.into_hir(&mut self.tables)]), levels)
                }
            };
            height = levels.0.max(height);
            depth = levels.1.max(depth);
            append(&mut all, parts);
        }
        let form = match join {
            Join::Concat => Form::Concat(all),
            Join::Alternate => Form::Alternate(all),
        };
        Piece { form, height: height.saturating_add(1), depth: depth.saturating_add(1), copies }
    }

    fn check_limits(&self, height: usize, depth: usize) -> Result<(), ErrorCode> {
        if self.ranges > RANGES_MAX {
            Err(ErrorCode::InternalError)
        } else if height > HEIGHT_MAX || depth > DEPTH_MAX {
            Err(ErrorCode::NestingDepth)
        } else {
            Ok(())
        }
    }
}

/// Moves the fewer to the more, so that however deep the nesting, each is moved only a few times.
fn append(all: &mut VecDeque<Hir>, mut parts: VecDeque<Hir>) {
    if parts.len() > all.len() {
        while let Some(last) = all.pop_back() {
            parts.push_front(last);
        }
        *all = parts;
    } else {
        all.append(&mut parts);
    }
}

fn literal(runes: &[Rune]) -> Hir {
    let text: Option<String> = runes.iter().map(|rune| char::from_u32(*rune)).collect();
    text.map_or_else(Hir::fail, |text| Hir::literal(text.into_bytes()))
}
