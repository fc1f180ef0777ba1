//! What the log tells its readers: entries arrive, occurrences, the access matrix and reports leave.
//! Everything here is made from the log alone, offline; nothing of a gateway is needed. A report is first gathered as facts,
//! then written down as sections, and those leave as one HTML file or as CSV: both say the same.

mod occurrence;
mod access;
mod revocation;
mod facts;
mod section;
mod sections;
mod controls;
mod chart;
mod html;
mod csv;

pub use access::{Grants, Matrix, Right};
pub use csv::files as csv_files;
pub use facts::{Facts, Period};
pub use html::page as html_page;
pub use occurrence::{Data, Occurrence, Place};
pub use section::{LogSource, Source, sections};

#[cfg(test)]
pub(crate) mod tests;
