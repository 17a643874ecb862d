//! Rows for a terminal: as aligned columns that fit its width, or a line per value where they can't. Holds one page of rows at a time.

use std::fmt::Write;

use arrow::datatypes::{DataType, SchemaRef};
use unicode_width::UnicodeWidthChar;

use super::picture::columns;

/// Rows that the widths of columns are taken from; so many are held.
pub(super) const PAGE_ROWS: usize = 1_000;
/// Narrowest column of text that is still of use.
const TEXT_WIDTH_MIN: usize = 8;
/// Stands for what was cut off.
const CUT: char = '…';

/// How the rows of an answer are laid out, once the first page is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// The width of each column.
    Columns(Vec<usize>),
    /// A line per value.
    Expanded,
}

/// Writes the rows of one answer, page by page.
#[derive(Debug)]
pub(super) struct Table {
    names: Vec<String>,
    /// Whether each column is set to the right.
    right: Vec<bool>,
    /// Whether each column may be cut: texts may, numbers and times not.
    may_be_cut: Vec<bool>,
    width: usize,
    layout: Option<Layout>,
    rows: usize,
    cut: bool,
}

impl Table {
    /// A table for a terminal of some width. `expanded`: a line per value in any case.
    pub(super) fn new(schema: &SchemaRef, width: usize, expanded: bool) -> Self {
        let fields = schema.fields();
        let is_text = |data_type: &DataType| {
            data_type.is_nested()
                || matches!(
                    data_type,
                    DataType::Utf8
                        | DataType::LargeUtf8
                        | DataType::Utf8View
                        | DataType::Dictionary(..)
                        | DataType::Binary
                        | DataType::BinaryView
                        | DataType::FixedSizeBinary(_)
                )
        };
        Table {
            names: fields.iter().map(|field| one_line(field.name())).collect(),
            right: fields
                .iter()
                .map(|field| field.data_type().is_numeric())
                .collect(),
            may_be_cut: fields
                .iter()
                .map(|field| is_text(field.data_type()))
                .collect(),
            width,
            layout: expanded.then_some(Layout::Expanded),
            rows: 0,
            cut: false,
        }
    }

    /// Whether the rows turned out too wide for columns, though columns were asked for.
    pub(super) fn is_too_wide(&self, expanded: bool) -> bool {
        !expanded && self.layout == Some(Layout::Expanded)
    }

    /// Whether a cell was cut to the width of the terminal.
    pub(super) fn was_cut(&self) -> bool {
        self.cut
    }

    /// The text of some rows; before the first ones, of the header, too.
    pub(super) fn page(&mut self, rows: &[Vec<String>]) -> String {
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| one_line(cell)).collect())
            .collect();
        let mut text = String::new();
        let layout = match self.layout.take() {
            Some(layout) => layout,
            None => {
                let layout = self.lay_out(&rows);
                if let Layout::Columns(widths) = &layout {
                    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
                    let names = self.names.clone();
                    text.push_str(&self.line(&names, widths));
                    text.push_str(&self.line(&rule, widths));
                }
                layout
            }
        };
        for row in &rows {
            self.rows += 1;
            match &layout {
                Layout::Columns(widths) => text.push_str(&self.line(row, widths)),
                Layout::Expanded => self.expanded(row, &mut text),
            }
        }
        self.layout = Some(layout);
        text
    }

    fn lay_out(&self, rows: &[Vec<String>]) -> Layout {
        let widest = |index: usize| {
            let cells = rows.iter().filter_map(|row| row.get(index));
            cells
                .chain(self.names.get(index))
                .map(|cell| columns(cell))
                .max()
        };
        let natural: Vec<usize> = (0..self.names.len())
            .map(|index| widest(index).unwrap_or(0))
            .collect();
        fit(&natural, &self.may_be_cut, self.width).map_or(Layout::Expanded, Layout::Columns)
    }

    fn line(&mut self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
            if index > 0 {
                line.push_str("  ");
            }
            let (shown, was_cut) = cut_to(cell, *width);
            self.cut |= was_cut;
            let gap = " ".repeat(width.saturating_sub(columns(&shown)));
            if self.right.get(index).copied().unwrap_or(false) {
                line.push_str(&gap);
                line.push_str(&shown);
            } else {
                line.push_str(&shown);
                line.push_str(&gap);
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }

    fn expanded(&self, row: &[String], text: &mut String) {
        let widest = self
            .names
            .iter()
            .map(|name| columns(name))
            .max()
            .unwrap_or(0);
        // Writing to a String can't fail.
        let _ = writeln!(text, "-[ row {} ]", self.rows);
        for (name, cell) in self.names.iter().zip(row) {
            let gap = " ".repeat(widest - columns(name));
            let _ = writeln!(text, "{name}{gap} | {cell}");
        }
    }
}

/// Widths of columns that fit into `width` with two spaces between them: the natural ones, or those of columns that may be cut made equal at some
/// bound. `None` if that is not enough.
fn fit(natural: &[usize], may_be_cut: &[bool], width: usize) -> Option<Vec<usize>> {
    let room = width.checked_sub(2 * natural.len().saturating_sub(1))?;
    let bounded = |bound: usize| -> Vec<usize> {
        natural
            .iter()
            .zip(may_be_cut)
            .map(|(width, cut)| if *cut { (*width).min(bound) } else { *width })
            .collect()
    };
    let widest = natural.iter().copied().max().unwrap_or(0).min(room);
    (TEXT_WIDTH_MIN.min(widest)..=widest)
        .rev()
        .map(bounded)
        .find(|widths| widths.iter().sum::<usize>() <= room)
}

/// A cell that takes no more columns than `width`, and whether something was cut off.
fn cut_to(cell: &str, width: usize) -> (String, bool) {
    if columns(cell) <= width {
        return (cell.to_owned(), false);
    }
    let mut shown = String::new();
    let mut taken = 0;
    for c in cell.chars() {
        taken += c.width().unwrap_or(0);
        if taken + 1 > width {
            break;
        }
        shown.push(c);
    }
    shown.push(CUT);
    (shown, true)
}

/// A text without what would move the terminal's cursor or change its colours.
fn one_line(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let shown = |c: char| {
        if c.is_control() {
            c.escape_default().collect()
        } else {
            c.to_string()
        }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn show(width: usize, expanded: bool, rows: &[[&str; 3]]) -> (String, bool) {
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        let schema = Schema::new(vec![
            field("n", DataType::Int64),
            field("metric", DataType::Utf8),
            field("labels", DataType::Utf8),
        ]);
        let mut table = Table::new(&Arc::new(schema), width, expanded);
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|&cell| cell.to_owned()).collect())
            .collect();
        let text = table.page(&rows);
        (text, table.was_cut())
    }

    #[test]
    fn columns_fit_the_width() {
        let rows = [["1", "cpu", "{}"], ["100", "日本", "a\nb"]];
        let natural =
            "  n  metric  labels\n---  ------  ------\n  1  cpu     {}\n100  日本    a\\nb\n";
        assert_eq!(show(80, false, &rows), (natural.to_owned(), false));
        assert_eq!(
            show(80, false, &[]).0,
            "n  metric  labels\n-  ------  ------\n"
        );

        let long = "abcdefghijklmnopqrstuvwxyz";
        let (text, cut) = show(30, false, &[["123456", long, long]]);
        assert!(cut);
        assert_eq!(
            text,
            "     n  metric      labels\n------  ----------  ----------\n123456  abcdefghi…  abcdefghi…\n"
        );
    }

    #[test]
    fn what_does_not_fit_is_shown_a_line_per_value() {
        let expected =
            "-[ row 1 ]\nn      | 123456789012345678\nmetric | abcdefghijk\nlabels | x\n";
        let rows = [["123456789012345678", "abcdefghijk", "x"]];
        assert_eq!(show(26, false, &rows), (expected.to_owned(), false));
        assert_eq!(show(200, true, &rows), (expected.to_owned(), false));
    }

    #[test]
    fn an_escape_sequence_in_a_label_does_not_reach_the_terminal() {
        let (text, _) = show(80, false, &[["1", "\u{1b}[2Jx", "\u{9b}31m"]]);
        assert!(!text.contains(['\u{1b}', '\u{9b}']), "{text:?}");
    }
}
