//! Columns padded with blanks, two blanks apart.

/// Lays rows out in columns. Cells are trimmed, the last column of a row is not padded, and the whole is trimmed at
/// both ends. Cells are bytes because names are; a byte that is no text counts as one column.
pub(crate) fn columns(rows: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell.trim_ascii())).max())
        .map(Option::unwrap_or_default)
        .collect();
    let mut lines = Vec::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let cell = cell.trim_ascii();
            lines.extend_from_slice(cell);
            if column + 1 < row.len() {
                lines.resize(lines.len() + widths[column] - width(cell) + 2, b' ');
            }
        }
        lines.push(b'\n');
    }
    lines.trim_ascii().to_vec()
}

/// Characters, not bytes: what the original counts.
fn width(cell: &[u8]) -> usize {
    cell.utf8_chunks().map(|chunk| chunk.valid().chars().count() + chunk.invalid().len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(rows: &[&[&str]]) -> String {
        let rows: Vec<Vec<Vec<u8>>> =
            rows.iter().map(|row| row.iter().map(|cell| cell.as_bytes().to_vec()).collect()).collect();
        String::from_utf8(columns(&rows)).unwrap()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(laid_out(&[&["a", "bb", "c"], &["aaa", "b", "c"]]), "a    bb  c\naaa  b   c");
        assert_eq!(laid_out(&[&["é", "x"], &["ab", "x"]]), "é   x\nab  x");
    }

    #[test]
    fn an_empty_last_cell_leaves_blanks_in_all_rows_but_the_last() {
        assert_eq!(laid_out(&[&["a", "failed", ""], &["b", "alive", ""]]), "a  failed  \nb  alive");
    }

    #[test]
    fn cells_are_trimmed_and_a_bar_is_an_ordinary_character() {
        assert_eq!(laid_out(&[&[" a|b ", "x"], &["c", "y"]]), "a|b  x\nc    y");
        assert_eq!(laid_out(&[]), "");
    }

    #[test]
    fn bytes_that_are_no_text_count_one_column_each() {
        let rows = vec![vec![b"\xff\xfe".to_vec(), b"x".to_vec()], vec![b"abc".to_vec(), b"y".to_vec()]];
        assert_eq!(columns(&rows), b"\xff\xfe   x\nabc  y");
    }
}
