//! Columns separated by blanks, as kubectl prints them.

use comfy_table::{Table, presets};

/// Blanks between two columns.
const GAP: u16 = 3;

/// A table with its heading, no blanks at the ends of lines. An empty cell shows as it is.
pub fn render<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(heading).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A table followed by an empty line, or nothing when there are no rows.
pub fn section<const N: usize>(heading: [&str; N], rows: Vec<[String; N]>) -> String {
    if rows.is_empty() { String::new() } else { render(heading, rows) + "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".into(), "1".into()], ["longer".into(), String::new()]];
        assert_eq!(render(["NAME", "N"], rows), "NAME     N\na        1\nlonger\n");
    }

    #[test]
    fn a_section_without_rows_is_nothing() {
        assert_eq!(section(["NAME"], vec![]), "");
        assert_eq!(section(["NAME"], vec![["a".into()]]), "NAME\na\n\n");
    }
}
