//! Charts as inline SVG, and the access matrix as a grid: numbers arrive, a drawing leaves that needs no script, prints, and says in words what it shows.

use std::fmt::Write;

use super::access::Matrix;
use super::html::escaped;
use super::section::grouped;

/// What is drawn.
#[derive(Clone, Debug)]
pub enum Chart {
    /// A column for each step of time: label, what went as asked, what did not.
    Columns(Vec<(String, u64, u64)>),
    /// A bar for each name: its length, and how the length is written.
    Bars(Vec<Bar>),
    /// Who may do what on which topic.
    Grid(Matrix),
}

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Whose.
    pub name: String,
    /// How long.
    pub value: f64,
    /// The value in words.
    pub text: String,
    /// Whether it is drawn as something that needs a look.
    pub needs_a_look: bool,
}

impl Chart {
    /// Columns; none when there is nothing to see.
    pub fn columns(columns: Vec<(String, u64, u64)>) -> Option<Self> {
        (columns.iter().any(|(_, good, other)| good + other > 0)).then_some(Self::Columns(columns))
    }

    /// The longest bars; none when there are none.
    pub fn bars(mut bars: Vec<Bar>) -> Option<Self> {
        bars.sort_by(|a, b| b.value.total_cmp(&a.value));
        bars.truncate(MOST_BARS);
        (!bars.is_empty()).then_some(Self::Bars(bars))
    }

    /// The matrix; none when it is too wide for paper, or empty. The table below it has all of it.
    pub fn grid(matrix: &Matrix) -> Option<Self> {
        let fits = (1..=MOST_TOPICS).contains(&matrix.topics.len()) && matrix.principals.len() <= MOST_PRINCIPALS;
        fits.then(|| Self::Grid(matrix.clone()))
    }

    /// The drawing.
    pub fn markup(&self) -> String {
        match self {
            Self::Grid(matrix) => draw_grid(matrix),
            Self::Columns(columns) => draw_columns(columns),
            Self::Bars(bars) => draw_bars(bars),
        }
    }
}

fn draw_columns(columns: &[(String, u64, u64)]) -> String {
    let most = columns.iter().map(|(_, good, other)| good + other).max().unwrap_or(1).max(1) as f64;
    let width = (WIDTH - LEFT) / columns.len().max(1) as f64;
    let mut out = String::new();
    let (total, others) = columns.iter().fold((0, 0), |(all, bad), (_, good, other)| (all + good + other, bad + other));
    let label =
        format!("{} events, {} of them not as asked; at most {} in a column", grouped(total), grouped(others), most);
    write!(out, r#"<svg viewBox="0 0 {WIDTH} {}" role="img" aria-label="{}">"#, HEIGHT + 22.0, escaped(&label)).ok();
    for (part, line) in [(0.0, 0.0), (0.5, most / 2.0), (1.0, most)] {
        let y = HEIGHT - part * (HEIGHT - 10.0);
        let value = grouped(line.round() as u64);
        write!(out, r#"<line class="grid" x1="{LEFT}" y1="{y:.1}" x2="{WIDTH}" y2="{y:.1}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{value}</text>"#, LEFT - 6.0, y + 4.0).ok();
    }
    let every = columns.len().div_ceil(8).max(1);
    for (at, (name, good, other)) in columns.iter().enumerate() {
        let x = LEFT + at as f64 * width;
        let scale = |value: u64| value as f64 / most * (HEIGHT - 10.0);
        let (good_height, other_height) = (scale(*good), scale(*other));
        let bar = (width * 0.8).clamp(1.0, WIDEST);
        write!(out, r#"<g><title>{}: {} as asked, {} not</title><rect class="good" x="{x:.1}" y="{:.1}" width="{bar:.1}" height="{good_height:.1}"/><rect class="other" x="{x:.1}" y="{:.1}" width="{bar:.1}" height="{other_height:.1}"/></g>"#,
            escaped(name), grouped(*good), grouped(*other), HEIGHT - good_height, HEIGHT - good_height - other_height).ok();
        if at % every == 0 && x <= WIDTH - LABEL {
            write!(out, r#"<text class="tick" x="{x:.1}" y="{:.1}">{}</text>"#, HEIGHT + 16.0, escaped(name)).ok();
        }
    }
    out + "</svg>"
}

fn draw_bars(bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let height = bars.len() as f64 * ROW + 4.0;
    let label: Vec<String> = bars.iter().map(|bar| format!("{}: {}", bar.name, bar.text)).collect();
    let mut out = String::new();
    write!(out, r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">"#, escaped(&label.join("; "))).ok();
    for (at, bar) in bars.iter().enumerate() {
        let y = at as f64 * ROW + 2.0;
        let length = (bar.value / most * (WIDTH - NAMES - VALUES)).max(2.0);
        let class = if bar.needs_a_look { "other" } else { "good" };
        let shown: String = if bar.name.chars().count() > SHOWN_NAME {
            bar.name.chars().take(SHOWN_NAME - 1).chain(['…']).collect()
        } else {
            bar.name.clone()
        };
        write!(out, r#"<g><title>{}: {}</title><text class="name" x="{:.1}" y="{:.1}" text-anchor="end">{}</text><rect class="{class}" x="{NAMES}" y="{:.1}" width="{length:.1}" height="{:.1}" rx="2"/><text class="value" x="{:.1}" y="{:.1}">{}</text></g>"#,
            escaped(&bar.name), escaped(&bar.text), NAMES - 8.0, y + 15.0, escaped(&shown), y + 3.0, ROW - 8.0, NAMES + length + 6.0, y + 15.0, escaped(&bar.text)).ok();
    }
    out + "</svg>"
}

fn draw_grid(matrix: &Matrix) -> String {
    let mut out = String::from("<table class=\"matrix\"><thead><tr><th scope=\"col\">principal</th>");
    for topic in &matrix.topics {
        write!(out, "<th scope=\"col\">{}</th>", escaped(topic)).ok();
    }
    out.push_str("</tr></thead><tbody>");
    for principal in &matrix.principals {
        write!(out, "<tr><th scope=\"row\">{}</th>", escaped(principal)).ok();
        for topic in &matrix.topics {
            out.push_str("<td>");
            for right in ["read", "write"] {
                let mut of = matrix.cell(principal, topic).filter(|one| one.right == right).peekable();
                if of.peek().is_none() {
                    continue;
                }
                let stands = of.any(|one| one.until.is_none());
                let (class, state) = if stands { ("right", "") } else { ("right ended", ", ended") };
                let letter = if right == "read" { "R" } else { "W" };
                write!(out, "<b class=\"{class}\" title=\"{right}{state}\">{letter}</b>").ok();
            }
            out.push_str("</td>");
        }
        out.push_str("</tr>");
    }
    out + "</tbody></table><p class=\"lead\"><b class=\"right\">R</b> read <b class=\"right\">W</b> write <b class=\"right ended\">R</b> it has an end, or was taken away</p>"
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 50.0;
const WIDEST: f64 = 40.0;
const LABEL: f64 = 75.0;
const ROW: f64 = 24.0;
const NAMES: f64 = 300.0;
const VALUES: f64 = 150.0;
const SHOWN_NAME: usize = 42;

/// What fits on paper.
const MOST_TOPICS: usize = 16;
const MOST_PRINCIPALS: usize = 100;

/// More bars are a table.
const MOST_BARS: usize = 12;
