//! The files of the page: part of the binary, so that page and gateway are always of one version, and nothing is fetched
//! from anywhere else.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};

use super::{Page, Trouble, What};
use crate::audit::event::Peer;

/// `/audit` without its slash: the page's links are relative.
pub(super) async fn redirect() -> Redirect {
    Redirect::permanent("/audit/")
}

/// The page.
pub(super) async fn index(State(page): State<Arc<Page>>, Extension(peer): Extension<Arc<Peer>>) -> Response {
    page.reads.audited_read(&peer, What::Page, (0, 0), "");
    ([(header::CONTENT_TYPE, HTML)], include_str!("site/index.html")).into_response()
}

/// A file of the page.
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, Trouble> {
    let (_, content_type, text) = FILES.iter().find(|(known, ..)| *known == name).ok_or(Trouble::Nothing)?;
    Ok(([(header::CONTENT_TYPE, *content_type)], *text).into_response())
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// Name, content type, text.
pub(super) const FILES: &[(&str, &str, &str)] = &[
    ("page.css", CSS, include_str!("site/page.css")),
    ("icon.svg", IMAGE, include_str!("site/icon.svg")),
    ("note.js", SCRIPT, include_str!("site/note.js")),
    ("tree.js", SCRIPT, include_str!("site/tree.js")),
    ("log.js", SCRIPT, include_str!("site/log.js")),
    ("filter.js", SCRIPT, include_str!("site/filter.js")),
    ("dom.js", SCRIPT, include_str!("site/dom.js")),
    ("standing.js", SCRIPT, include_str!("site/standing.js")),
    ("timeline.js", SCRIPT, include_str!("site/timeline.js")),
    ("words.js", SCRIPT, include_str!("site/words.js")),
    ("access.js", SCRIPT, include_str!("site/access.js")),
    ("page.js", SCRIPT, include_str!("site/page.js")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_event_has_a_sentence() {
        let words = include_str!("site/words.js");
        for kind in crate::audit::event::Kind::all() {
            let name = kind.name();
            let has = [format!("  \"{name}\": ("), format!("  {name}: (")].iter().any(|key| words.contains(key));
            assert!(has, "{name} has no sentence in words.js");
        }
    }

    #[test]
    fn the_page_is_made_of_its_own_files_alone_and_makes_no_markup_from_text() {
        let page = include_str!("site/index.html");
        for (name, _, text) in FILES.iter().chain([&("index.html", HTML, page)]) {
            assert!(
                *name == "index.html"
                    || *name == "icon.svg"
                    || page.contains(name)
                    || FILES.iter().any(|(_, _, other)| other.contains(name)),
                "{name}"
            );
            let foreign = text.replace("http://www.w3.org/", "");
            assert!(!foreign.contains("http://") && !foreign.contains("https://"), "{name} fetches from elsewhere");
            for banned in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style=\"", " onclick"]
            {
                assert!(!text.contains(banned), "{name} has {banned}");
            }
        }
    }
}
