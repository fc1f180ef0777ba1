//! What the log tells its readers: entries arrive, occurrences, the access matrix and reports leave.
//! Everything here is made from the log alone, offline; nothing of a gateway is needed.

mod occurrence;
mod access;

pub use access::{Grants, Matrix, Right};
pub use occurrence::{Data, Occurrence};

#[cfg(test)]
pub(crate) mod tests;
