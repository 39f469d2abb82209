//! A folder of its own for one test, with a store and a mountpoint in it.

use std::path::{Path, PathBuf};

use crate::command::assert_calm;
use crate::{Finished, Mount, copy_in, diff, lmfs, small_tree};

/// One test's folder: `store/`, `mnt/` and whatever else the test puts there. Removed when dropped; what daemons in the
/// background wrote to the store's log is searched for panics then.
pub struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    /// An empty folder with an empty `mnt/`; the store is not made yet.
    #[track_caller]
    pub fn empty() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("lmfs-test-")
            .tempdir()
            .expect("scratch folder");
        std::fs::create_dir(folder.path().join("mnt")).expect("mountpoint");
        Self { folder }
    }

    /// A folder with a store of the built-in model, made by `lmfs init STORE ARGS...`.
    #[track_caller]
    pub fn with_store(args: &[&str]) -> Self {
        let scratch = Self::empty();
        scratch.lmfs("init", args).ok();
        scratch
    }

    /// A folder with a store in which the small tree lies in `copy`, not packed, and the tree itself beside it.
    #[track_caller]
    pub fn filled(args: &[&str]) -> (Self, PathBuf) {
        let scratch = Self::with_store(args);
        let original = scratch.path("original");
        small_tree(&original);
        let mount = scratch.mount(&[]);
        copy_in(&original, &mount.path("copy"));
        mount.umount();
        (scratch, original)
    }

    /// A path in the folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the store lies.
    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Where it is mounted.
    pub fn mountpoint(&self) -> PathBuf {
        self.path("mnt")
    }

    /// `lmfs COMMAND STORE ARGS...`
    #[track_caller]
    pub fn lmfs(&self, command: &str, args: &[&str]) -> Finished {
        let store = self.store();
        lmfs(
            [command.as_ref(), store.as_os_str()]
                .into_iter()
                .chain(args.iter().map(std::ffi::OsStr::new)),
        )
    }

    /// Mounts the store with `lmfs mount -f STORE MOUNTPOINT ARGS...` and waits until it is there. The idle packer is
    /// off unless `args` say otherwise, so that a test knows when blocks change.
    #[track_caller]
    pub fn mount(&self, args: &[&str]) -> Mount {
        Mount::start(&self.store(), &self.mountpoint(), &self.path("daemon.log"), args)
    }

    /// Mounts another store, or the URL of one, at `other/`, in the same way.
    #[track_caller]
    pub fn mount_store(&self, store: &Path, args: &[&str]) -> Mount {
        let point = self.path("other");
        std::fs::create_dir_all(&point).expect("mountpoint");
        Mount::start(store, &point, &self.path("daemon.log"), args)
    }

    /// Mounts the store that was pushed to `url` at `other/`, with a cache in `cache/`, looking for news every second.
    #[track_caller]
    pub fn mount_url(&self, url: &str) -> Mount {
        let cache = self.path("cache");
        let cache = cache.to_str().expect("UTF-8");
        self.mount_store(Path::new(url), &["-o", "ro", "--poll", "1", "--cache-dir", cache])
    }

    /// Clones the store that was pushed to `url` to `name`, has every block of the clone decoded, and compares what is
    /// in `copy` there with `original`.
    #[track_caller]
    pub fn clone_equals(&self, url: &str, name: &str, original: &Path) {
        let clone = self.path(name);
        lmfs(["clone".as_ref(), url.as_ref(), clone.as_os_str()]).ok();
        lmfs(["check".as_ref(), clone.as_os_str(), "--data".as_ref()]).ok();
        let mount = self.mount_store(&clone, &["--read-only"]);
        diff(original, &mount.path("copy"));
        mount.umount();
    }

    /// Files of the store's folder `name` (`segments`, `index`, `models`), sorted by path.
    #[track_caller]
    pub fn store_files(&self, name: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.store().join(name)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("store folder") {
                let path = entry.expect("entry").path();
                if path.is_dir() {
                    folders.push(path)
                } else {
                    files.push(path)
                }
            }
        }
        files.sort();
        files
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let log = std::fs::read(self.store().join("lmfs.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        if std::thread::panicking() {
            eprintln!("--- lmfs.log\n{log}");
        } else {
            assert_calm(&log, &log);
        }
    }
}
