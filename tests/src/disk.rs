//! A disk of a few MB that becomes full for real: a file system in memory, mounted in a user namespace of its own, so nobody has to be root.
//! A process that does nothing keeps the namespace; everybody else goes by its root folder in `/proc`.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait;

/// The disk; it goes with its last user.
pub struct SmallDisk {
    path: PathBuf,
    _keeper: Process,
    _scratch: Scratch,
}

impl SmallDisk {
    /// With room for so many MiB.
    ///
    /// # Panics
    /// When this system lets nobody make user namespaces.
    pub fn new(mebibytes: u32) -> Self {
        let scratch = Scratch::new("disk");
        let mounted = scratch.join("mounted");
        fs::create_dir(&mounted).expect("a folder can be made");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", KEEPER, "keeper"]).arg(&mounted);
        command.arg(format!("size={mebibytes}m"));
        let mut keeper = Process::start("the keeper of a disk", &command, &scratch.join("keeper.log"));
        let below = mounted.strip_prefix("/").expect("an absolute path");
        let path = Path::new("/proc").join(keeper.pid().to_string()).join("root").join(below);
        wait::until_true("a small disk is mounted", || {
            let tail = keeper.tail();
            assert!(
                keeper.is_running(),
                "no user namespace with a file system of its own (unshare, util-linux)\n{tail}"
            );
            path.join(READY).exists()
        });
        fs::remove_file(path.join(READY)).expect("the disk can be written");
        Self { path, _keeper: keeper, _scratch: scratch }
    }

    /// Its root folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills it to the last byte.
    pub fn fill(&self) {
        let mut ballast = File::create(self.path.join(BALLAST)).expect("a file can be made");
        let block = [0; 4096];
        loop {
            match ballast.write(&block) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
    }

    /// Makes room again.
    pub fn empty(&self) {
        fs::remove_file(self.path.join(BALLAST)).expect("it was filled");
    }
}

const KEEPER: &str = r#"mount -t tmpfs -o "$2" none "$1" && : >"$1/mounted" && exec sleep infinity"#;

const READY: &str = "mounted";

const BALLAST: &str = "ballast";
