//! The report for people: ratios in aligned columns.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};

use super::{Report, Row};

/// An empty table, plain, of names and, from the second column on, numbers.
#[must_use]
pub fn of_numbers(head: Vec<String>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = || self.kinds.iter().chain([&self.total]);
        let whole: Vec<&String> = self
            .compressors
            .iter()
            .filter(|name| self.total.whole.contains_key(*name))
            .collect();
        let mut head: Vec<String> = ["kind", "files", "bytes"].map(str::to_owned).into();
        head.extend(self.compressors.iter().cloned());
        head.extend(whole.iter().map(|name| format!("{name} whole")));
        let mut table = of_numbers(head);
        for row in rows() {
            let mut cells = vec![row.kind.clone(), row.files.to_string(), row.bytes.to_string()];
            let ratio =
                |size: Option<&super::Size>| size.map_or_else(|| "-".to_owned(), |size| format!("{:.4}", size.ratio));
            cells.extend(self.compressors.iter().map(|name| ratio(row.blocks.get(name))));
            cells.extend(whole.iter().map(|name| ratio(row.whole.get(*name))));
            table.add_row(cells);
        }
        writeln!(
            f,
            "compressed / raw, in blocks of {} bytes{}",
            self.block_size,
            if whole.is_empty() {
                ""
            } else {
                ", and file by file (\"whole\")"
            }
        )?;
        writeln!(f, "{}", table.trim_fmt())?;
        for (name, size) in &self.total.blocks {
            if !size.methods.is_empty() {
                let methods: Vec<_> = size.methods.iter().map(|(m, n)| format!("{n} {m}")).collect();
                writeln!(
                    f,
                    "{name}: {} blocks; {} bytes in, {} out, {} of processor time with verification",
                    methods.join(", "),
                    self.total.bytes,
                    size.bytes,
                    rate(&self.total, size.seconds)
                )?;
            }
        }
        Ok(())
    }
}

fn rate(row: &Row, seconds: f64) -> String {
    format!("{:.1} KB/s", row.bytes as f64 / seconds.max(1e-9) / 1000.0)
}
