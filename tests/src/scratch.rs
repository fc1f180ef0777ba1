//! Folders that live as long as a test: where servers keep their data, certificates and logs.
//!
//! They stand under `target/`, so that a clean build tree is a clean machine. A folder of a test that failed is kept and
//! its path printed, since the logs in it are the first thing the reader of the failure wants.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process, thread};

/// A folder that is removed at the end, unless the test failed.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes `target/scratch/<name>-<process>-<number>`.
    pub fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = target().join("scratch").join(format!("{name}-{}-{number}", process::id()));
        fs::create_dir_all(&path).unwrap_or_else(|e| panic!("cannot make {}: {e}", path.display()));
        Self { path }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside of the folder.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file inside of the folder and says where it is.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, content).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = fs::write(self.path.join(KEPT), "");
            eprintln!("kept for a look: {}", self.path.display());
        } else {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().map(Path::to_path_buf).expect("the test crate stands in the workspace")
}

/// The build folder: `CARGO_TARGET_DIR` or `target` beside the workspace's manifest.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A name that no other test of any run uses: `<prefix>-<8 hex digits>`.
pub fn unique(prefix: &str) -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("{prefix}-{}", &id[..8])
}

/// Removes what earlier processes left: the shared broker of a test binary lives until the process ends, so nothing drops it.
fn sweep() {
    let Ok(entries) = fs::read_dir(target().join("scratch")) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let process = name.rsplit('-').nth(1).and_then(|id| id.parse::<u32>().ok());
        let is_over = process.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists());
        if is_over && !path.join(KEPT).exists() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Marks the folder of a test that failed.
const KEPT: &str = "KEPT";
