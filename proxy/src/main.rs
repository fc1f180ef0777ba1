//! The gateway binary: arguments arrive, an exit code leaves. Everything else is in the library.

use barnabas::cli::{self, Exit};

fn main() -> Exit {
    cli::run(std::env::args_os())
}

/// The allocator of the whole process: batches are allocated on one thread and freed on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
