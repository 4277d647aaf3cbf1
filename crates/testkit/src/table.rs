//! Tables of the demo and the benches: plain columns, figures to the right.

use comfy_table::{CellAlignment, Table, presets};

/// Blanks before a table, and between two columns.
const INDENT: usize = 3;
const GAP: u16 = 2;

/// An indented table with its heading, no blanks at the ends of lines.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(heading).add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, GAP));
        if rows.iter().all(|row| is_figure(&row[index])) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{:INDENT$}{}\n", "", line.trim_end())).collect()
}

/// A number, with or without a sign and a unit; or nothing.
fn is_figure(cell: &str) -> bool {
    let number = cell.trim_start_matches(['<', '>', '=', ' ']).split(' ').next();
    let number = number.unwrap_or_default().replace(',', "");
    cell.is_empty() || cell == "-" || number.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_to_the_right_and_words_to_the_left() {
        let row = |name: &str, n: &str, share: &str| [name, n, share].map(str::to_owned);
        let rows = [row("web-1", "408", "81.6 %"), row("b", "9", "-")];
        assert_eq!(
            table(["NAME", "REQUESTS", "SHARE"], &rows),
            "   NAME   REQUESTS   SHARE\n   web-1       408  81.6 %\n   b             9       -\n"
        );
    }

    #[test]
    fn an_address_is_no_figure() {
        for (cell, expected) in
            [("10.0.0.1", false), ("fd77::3", false), ("1,234", true), (">= 0.95", true)]
        {
            assert_eq!(is_figure(cell), expected, "{cell}");
        }
    }
}
