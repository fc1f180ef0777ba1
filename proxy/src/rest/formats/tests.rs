//! Bodies as the v2 and v3 documents show them, and what is wrong with others.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
