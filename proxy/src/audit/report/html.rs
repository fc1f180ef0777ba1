//! A report as one HTML file: sections arrive, a page leaves that needs nothing else, has no script, and prints. Every text of the
//! log is escaped: names are chosen by clients.

use std::fmt::Write;

use super::facts::Facts;
use super::section::{Section, Source, grouped, moment, refused};

/// The page.
#[must_use]
pub fn page(facts: &Facts, source: &Source, sections: &[Section]) -> String {
    let (from, to) = (moment(facts.period.from), moment(facts.period.to));
    let origin = escaped(&source.origins());
    let mut out = String::with_capacity(64 * 1024);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Audit report {origin} {from} to {to}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<p class=\"kicker\">Barnabas audit report</p>\n<h1>{origin}</h1>\n<p class=\"period\">{from} to {to} UTC</p>\n\
         <p class=\"verdict\">Verified: {} entries, signed by the log's key</p>\n</header>\n<main>\n"
        , grouped(source.logs.iter().map(|log| log.size).sum())
    )
    .ok();
    tiles(&mut out, facts);
    contents(&mut out, sections);
    sections.iter().for_each(|section| put(&mut out, section));
    let made = moment(source.made);
    write!(out, "</main>\n<footer><p>Made {made} UTC by barnabas {} from the log alone. Times are UTC. <em>entry</em> is the index in the log: \
        <code>barnabas audit prove LOG INDEX</code> proves one to somebody who has no log.</p></footer>\n</body>\n</html>\n", source.version).ok();
    out
}

/// A text as markup, in elements and in attributes between double quotes. Control characters and marks that turn the direction of
/// writing become visible.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => {
                out.extend(c.escape_unicode())
            }
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// What one sees first.
fn tiles(out: &mut String, facts: &Facts) {
    let period = facts.period;
    let (used, rights) = (
        facts.uses.values().map(|one| one.records).sum::<u64>(),
        facts.grants.within(period.from, period.to).rights.len(),
    );
    let revoked: Vec<_> = facts.revocations.within(period.from, period.to).collect();
    let late = revoked.iter().filter(|one| one.used_after > 0).count() as u64;
    let gaps = facts.gaps.iter().filter(|gap| gap.kind != "log.expired").count() as u64;
    let tiles = [
        ("rights in force", rights as u64, "access", false),
        ("records used", used, "use", false),
        ("refusals", refused(facts), "refusals", false),
        ("rights taken away", revoked.len() as u64, "revocations", late > 0),
        ("of them used afterwards", late, "revocations", late > 0),
        ("gaps", gaps, "gaps", gaps > 0),
    ];
    out.push_str("<ul class=\"tiles\">\n");
    for (name, value, section, needs_a_look) in tiles {
        let class = if needs_a_look { " class=\"look\"" } else { "" };
        writeln!(out, "<li{class}><a href=\"#{section}\"><b>{}</b> {name}</a></li>", grouped(value)).ok();
    }
    out.push_str("</ul>\n");
}

fn contents(out: &mut String, sections: &[Section]) {
    out.push_str("<nav aria-label=\"Sections\"><ol>\n");
    for section in sections {
        let look = if section.needs_a_look { " <b class=\"look\">needs a look</b>" } else { "" };
        writeln!(out, "<li><a href=\"#{}\">{}</a>{look}</li>", section.id, escaped(section.title)).ok();
    }
    out.push_str("</ol></nav>\n");
}

fn put(out: &mut String, section: &Section) {
    let look = if section.needs_a_look { " <b class=\"look\">needs a look</b>" } else { "" };
    let (id, title, lead) = (section.id, escaped(section.title), escaped(&section.lead));
    write!(out, "<section id=\"{id}\" aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{title}{look}</h2>\n<p class=\"lead\">{lead}</p>\n").ok();
    if let Some(chart) = &section.chart {
        writeln!(out, "<div class=\"chart\">{}</div>", chart.markup()).ok();
    }
    if !section.rows.is_empty() {
        let shown = section.rows.len().min(MOST_ROWS);
        let pair = if section.columns.len() == 2 { " class=\"pair\"" } else { "" };
        write!(out, "<div class=\"scroll\"><table{pair}>\n<thead><tr>").ok();
        for title in section.columns {
            write!(out, "<th scope=\"col\">{}</th>", escaped(title)).ok();
        }
        out.push_str("</tr></thead>\n<tbody>\n");
        for row in section.rows.iter().take(shown) {
            out.push_str("<tr>");
            for cell in row {
                write!(out, "<td{}>{}</td>", class_of(cell), escaped(cell)).ok();
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table></div>\n");
        if shown < section.rows.len() {
            let more = grouped((section.rows.len() - shown) as u64);
            writeln!(out, "<p class=\"lead\">{more} more rows are in {id}.csv (<code>--csv</code>).</p>").ok();
        }
    }
    out.push_str("</section>\n");
}

/// Numbers stand under each other, and what is short is not broken.
fn class_of(cell: &str) -> &'static str {
    match cell {
        _ if !cell.is_empty() && cell.bytes().all(|byte| byte.is_ascii_digit()) => " class=\"number\"",
        _ if cell.len() <= SHORT => " class=\"short\"",
        _ => "",
    }
}

/// Times, key ids.
const SHORT: usize = 34;

/// What people read; programs have the CSV.
const MOST_ROWS: usize = 500;

const STYLE: &str = include_str!("report.css");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clients_are_never_markup() {
        assert_eq!(escaped("<b>\"O'x\" & \u{1b}[2J\u{202e}"), "&lt;b&gt;&quot;O&#39;x&quot; &amp; \\u{1b}[2J\\u{202e}");
    }
}
