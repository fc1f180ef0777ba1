//! x
pub fn compare(_: &crate::args::Compare) -> Result<(), crate::error::Error> { Ok(()) }
pub fn all(_: &crate::args::StageArguments, _: usize, _: f64, _: Option<&std::path::Path>) -> Result<(), crate::error::Error> { Ok(()) }
