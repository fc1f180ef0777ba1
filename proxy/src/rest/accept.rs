//! What a caller accepts: the content type of an answer, the form of an error, and whether the status tells the truth.
//!
//! Arrives: `Accept` and `Prefer`. Leaves: [`Wishes`]. Weights count (RFC 9110, 12.4.2); of types that weigh the same the first that
//! is offered is given.

use axum::http::{HeaderMap, header};

use super::error::Shape;
use super::{Code, Error};

/// What the headers of a request ask for. Cheap to make: nothing is looked at before it is needed.
#[derive(Clone, Copy)]
pub struct Wishes<'a>(&'a HeaderMap);

impl<'a> Wishes<'a> {
    /// The wishes in these headers.
    pub fn of(headers: &'a HeaderMap) -> Self {
        Self(headers)
    }

    /// The best of `offered`, the preferred one first.
    ///
    /// # Errors
    /// `NotAcceptable` when none is accepted.
    pub fn content_type(&self, offered: &[&'static str]) -> Result<&'static str, Error> {
        self.best(offered).ok_or_else(|| Code::NotAcceptable.with("HTTP 406 Not Acceptable"))
    }

    /// The best of the content types that v2 metadata and produce answers have.
    ///
    /// # Errors
    /// `NotAcceptable` when none is accepted.
    pub fn v2(&self) -> Result<&'static str, Error> {
        self.content_type(V2)
    }

    /// The form of an error: a problem document only where it is asked for by its name.
    pub fn shape(&self, offered: &[&'static str]) -> Shape {
        if self.ranges().any(|(range, weight)| weight > 0 && range.eq_ignore_ascii_case(PROBLEM)) {
            return Shape::Problem;
        }
        Shape::Plain(self.best(offered).or(offered.first().copied()).unwrap_or("application/json"))
    }

    /// Whether the HTTP status is to be that of the first record that failed (`Prefer: strict-status`).
    pub fn wants_strict_status(&self) -> bool {
        let preferences = self.0.get_all("prefer").into_iter().filter_map(|value| value.to_str().ok());
        let mut words = preferences.flat_map(|value| value.split([',', ';']));
        words.any(|word| word.trim().eq_ignore_ascii_case("strict-status"))
    }

    fn best(&self, offered: &[&'static str]) -> Option<&'static str> {
        if !self.0.contains_key(header::ACCEPT) {
            return offered.first().copied();
        }
        let mut best: Option<(&'static str, u16)> = None;
        for candidate in offered {
            // The most specific range decides the weight, whatever stands before it.
            let weighed = self.ranges().filter_map(|(range, weight)| Some((specificity(range, candidate)?, weight)));
            let Some((_, weight)) = weighed.max_by_key(|(specificity, _)| *specificity) else { continue };
            if weight > 0 && best.is_none_or(|(_, best)| weight > best) {
                best = Some((candidate, weight));
            }
        }
        best.map(|(candidate, _)| candidate)
    }

    /// Media ranges with their weights in thousandths.
    fn ranges(&self) -> impl Iterator<Item = (&'a str, u16)> {
        let values = self.0.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            (name, weight.map_or(1000, thousandths))
        })
    }
}

/// The content types of v2 answers that carry no record.
pub const V2: &[&str] = &["application/vnd.kafka.v2+json", "application/vnd.kafka+json", "application/json"];

/// The content type of everything in v3 and in our own namespace.
pub const JSON: &[&str] = &["application/json"];

const PROBLEM: &str = "application/problem+json";

/// How exactly a range names a type; `None` when it does not.
fn specificity(range: &str, candidate: &str) -> Option<u8> {
    if range.eq_ignore_ascii_case(candidate) {
        return Some(2);
    }
    match range.split_once('/') {
        Some(("*", "*")) => Some(0),
        Some((kind, "*")) => {
            let (own, _) = candidate.split_once('/')?;
            own.eq_ignore_ascii_case(kind).then_some(1)
        }
        // What old Java clients send for anything.
        None if range == "*" => Some(0),
        _ => None,
    }
}

/// `0.5` is 500. What is no weight counts as none: 0.
fn thousandths(weight: &str) -> u16 {
    match weight.parse::<f32>() {
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0).round() as u16,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn with(accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        headers
    }

    #[test]
    fn the_heaviest_type_that_is_offered_is_given() {
        for (accept, wanted) in [
            ("*/*", Some("application/vnd.kafka.v2+json")),
            ("application/*", Some("application/vnd.kafka.v2+json")),
            ("application/json", Some("application/json")),
            ("application/json;q=0.5, application/vnd.kafka+json; q=0.7", Some("application/vnd.kafka+json")),
            ("application/vnd.kafka.v2+json;q=0, */*;q=0.1", Some("application/vnd.kafka+json")),
            ("text/html, image/gif, *; q=.2, */*; q=.2", Some("application/vnd.kafka.v2+json")),
            ("APPLICATION/JSON", Some("application/json")),
            ("text/html", None),
            ("application/json;q=x", None),
            ("application/problem+json", None),
        ] {
            assert_eq!(Wishes::of(&with(accept)).v2().ok(), wanted, "{accept}");
        }
        assert_eq!(Wishes::of(&HeaderMap::new()).v2().unwrap(), V2[0]);
    }

    #[test]
    fn an_error_is_a_problem_only_for_who_names_it() {
        assert_eq!(Wishes::of(&with("application/problem+json")).shape(V2), Shape::Problem);
        assert_eq!(Wishes::of(&with("application/*")).shape(V2), Shape::Plain(V2[0]));
        assert_eq!(Wishes::of(&with("text/html")).shape(V2), Shape::Plain(V2[0]));
        assert_eq!(Wishes::of(&HeaderMap::new()).shape(JSON), Shape::Plain("application/json"));
    }

    #[test]
    fn preferences_are_words() {
        let mut headers = HeaderMap::new();
        assert!(!Wishes::of(&headers).wants_strict_status());
        headers.insert("prefer", "wait=5, Strict-Status".parse().unwrap());
        assert!(Wishes::of(&headers).wants_strict_status());
    }
}
