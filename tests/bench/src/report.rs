//! x
pub fn parts(p: &crate::parts::Parts, _v: usize) -> String { format!("{p:?}") }
