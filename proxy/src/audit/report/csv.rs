//! A report as CSV (RFC 4180), a file for each section: sections arrive, names and texts leave. A cell that a spreadsheet would take
//! for a formula is not one: names come from clients.

use super::section::Section;

/// The files' names and texts.
#[must_use]
pub fn files(sections: &[Section]) -> Vec<(String, String)> {
    sections
        .iter()
        .filter(|section| !section.columns.is_empty())
        .map(|section| {
            let head = section.columns.iter().map(|title| (*title).to_owned()).collect();
            let lines = std::iter::once(&head).chain(&section.rows).map(|row| line(row)).collect();
            (format!("{}.csv", section.id), lines)
        })
        .collect()
}

fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
    format!("{}\r\n", cells.join(","))
}

fn quoted(cell: &str) -> String {
    let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if guard.is_empty() && !cell.contains([',', '"', '\n', '\r']) {
        return cell.to_owned();
    }
    format!("\"{guard}{}\"", cell.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_never_formulas() {
        let cells = ["plain", "a,b", "say \"x\"", "=1+1", "two\nlines"].map(str::to_owned);
        assert_eq!(line(&cells), "plain,\"a,b\",\"say \"\"x\"\"\",\"'=1+1\",\"two\nlines\"\r\n");
    }
}
