//! What happens to a request on its way to the broker and to the response on its way back.

pub mod rewrite;
