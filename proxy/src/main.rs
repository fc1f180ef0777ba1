//! The gateway binary: the allocator, the command line, the exit code.

use barnabas::cli::{self, Exit};

/// Frames are taken and given back by the megabyte, which the system's allocator answers with page faults.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Exit {
    cli::run(std::env::args_os())
}
