//! A store as a folder: found, checked, made, with files written so that a crash leaves the old or the new.

use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use lmfs_indexer::io::Directory;
use lmfs_object::bucket;
use rustix::fs::Mode;
use uuid::Uuid;

use super::config::Config;
use super::error::{Error, Result, at};

/// What a store consists of besides config.toml.
const PARTS: [&str; 6] = ["lock", "models", "segments", "index", "control.sock", "lmfs.log"];
/// A config is a few hundred bytes; a larger one is not ours.
const MAX_CONFIG: u64 = 64 << 10;

/// A folder with a readable `config.toml`: a store, neither locked nor opened. It is held open from the moment it is
/// found, and all that is in it is reached from there: whatever becomes of its path, this is the same folder.
#[derive(Debug, Clone)]
pub struct Folder {
    dir: Directory,
    path: PathBuf,
    config: Config,
}

impl Folder {
    /// Finds the store in the folder `path`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::NotAStore`], [`Error::NewerFormat`], [`Error::BadConfig`], [`Error::Symlink`].
    pub fn find(path: &Path) -> Result<Folder> {
        let (dir, path) = locate(path)?;
        let config = read_config(&dir, &path)?;
        Ok(Folder { dir, path, config })
    }

    /// The same folder with what its config says now.
    ///
    /// # Errors
    /// As for [`Folder::find`].
    pub fn read_again(&self) -> Result<Folder> {
        Ok(Folder {
            config: read_config(&self.dir, &self.path)?,
            ..self.clone()
        })
    }

    /// Whether a store can be made in the folder `path`: it must be new or empty.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NotEmpty`]; a path that is no folder.
    pub fn check_new(path: &Path) -> Result<()> {
        match open_new(path) {
            Err(Error::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() =>
            {
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Makes the folder `path` ready to become a store: it must be new or empty. The store exists once
    /// [`Folder::finish`] has written its config.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NotEmpty`]; IO errors.
    pub fn prepare(path: &Path) -> Result<(Directory, PathBuf)> {
        Folder::check_new(path)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(at("create", parent))?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(at("create", path)(e)),
            _ => {}
        }
        let dir = open_new(path)?;
        rustix::fs::fchmod(&dir, Mode::RWXU).map_err(|e| at("set the mode of", path)(e.into()))?;
        let path = dir.path().map_err(at("find", path))?;
        dir.make_directory("models")
            .map_err(at("create", &path.join("models")))?;
        Ok((dir, path))
    }

    /// Writes `config.toml` into a prepared folder: from here on it is a store.
    ///
    /// # Errors
    /// IO errors.
    pub fn finish(dir: Directory, path: PathBuf, config: Config) -> Result<Folder> {
        let folder = Folder { dir, path, config };
        folder.write_config()?;
        let parent = folder.path.parent().unwrap_or(Path::new("/"));
        Directory::open(parent)
            .and_then(|parent| parent.sync())
            .map_err(at("sync", parent))?;
        Ok(folder)
    }

    /// A folder whose config is lost, and what that was.
    pub(super) fn restored(dir: Directory, path: PathBuf, config: Config) -> Folder {
        Folder { dir, path, config }
    }

    /// Writes `config.toml`, whole or not at all.
    pub(super) fn write_config(&self) -> Result<()> {
        let text = self.config.to_text()?;
        write_new(&self.dir, "config.toml", text.as_bytes()).map_err(at("write", &self.path.join("config.toml")))?;
        self.dir.sync().map_err(at("sync", &self.path))
    }

    /// The same folder, to be of another kind.
    pub(super) fn with_config(&self, config: Config) -> Folder {
        Folder { config, ..self.clone() }
    }

    /// The folder itself, held open.
    #[must_use]
    pub fn dir(&self) -> &Directory {
        &self.dir
    }

    /// The folder's absolute path, free of links, when it was found.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the folder lies now, for people.
    #[must_use]
    pub fn place(&self) -> PathBuf {
        self.dir.path().unwrap_or_else(|_| self.path.clone())
    }

    /// Whether this process may believe in owners, set-user-id programs and devices that the store names: nobody else
    /// than root decides what root mounts, and an ordinary user's mount is restricted by the kernel.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        let others_write = |mode| mode & 0o022 != 0;
        !self.dir.is_foreign() && rustix::fs::fstat(&self.dir).is_ok_and(|stat| !others_write(stat.st_mode))
    }

    /// What the store is.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// Whether there is a store in `path`, damaged or not.
#[must_use]
pub fn is_store(path: &Path) -> bool {
    fs::symlink_metadata(path.join("config.toml")).is_ok()
}

/// Whether what stands for a store is a URL and no folder.
#[must_use]
pub fn is_url(store: &Path) -> bool {
    store.to_str().is_some_and(|store| store.contains("://"))
}

/// The store folder `path`, which must hold parts of a store and no links, and its absolute path.
pub(super) fn locate(path: &Path) -> Result<(Directory, PathBuf)> {
    let dir = Directory::open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound if is_url(path) => Error::Url { path: path.to_owned() },
        io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        io::ErrorKind::NotADirectory => Error::NotAStore { path: path.to_owned() },
        _ => at("open", path)(e),
    })?;
    let found = dir.path().map_err(at("find", path))?;
    for name in PARTS.iter().chain(&["config.toml"]) {
        if dir.look(name).is_ok_and(|(kind, _)| kind.is_symlink()) {
            return Err(Error::Symlink { path: found.join(name) });
        }
    }
    Ok((dir, found))
}

/// Whether there is a log in it.
pub(super) fn has_segments(dir: &Directory) -> bool {
    dir.look("segments").is_ok_and(|(kind, _)| kind.is_dir())
}

/// Removes what was made in a folder that did not become a store.
pub(super) fn discard(dir: &Directory, path: &Path) {
    for name in PARTS {
        // Something is wrong already, and that is what the user gets to know.
        let _ = dir.remove_all(name);
    }
    let _ = fs::remove_dir(path);
}

/// Whether the folder is what `lmfs push` makes of a store.
fn is_pushed(dir: &Directory) -> bool {
    let mut start = Vec::new();
    let head = dir.open_file(bucket::HEAD, false);
    let read = head.and_then(|file| file.take(bucket::HEAD_START).read_to_end(&mut start));
    read.is_ok() && bucket::is_head(&start)
}

fn read_config(dir: &Directory, place: &Path) -> Result<Config> {
    let path = place.join("config.toml");
    let file = dir.open_file("config.toml", false).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound if is_pushed(dir) => Error::Pushed { path: place.to_owned() },
        io::ErrorKind::NotFound if has_segments(dir) => Error::BadConfig {
            path: path.clone(),
            reason: "it is missing".to_owned(),
        },
        io::ErrorKind::NotFound => Error::NotAStore { path: place.to_owned() },
        _ => at("open", &path)(e),
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG)
        .read_to_end(&mut bytes)
        .map_err(at("read", &path))?;
    let text = String::from_utf8(bytes).map_err(|_| Error::BadConfig {
        path: path.clone(),
        reason: "it is not text".to_owned(),
    })?;
    Config::parse(&text, &path)
}

/// Writes a file of mode 0600 under a temporary name, makes it durable and gives it its name.
pub(crate) fn write_new(dir: &Directory, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!(".new-{}", Uuid::new_v4().simple());
    let mut file = dir.create_file(&temporary)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| dir.rename(&temporary, name));
    written.inspect_err(|_| {
        // Its space may be what is missing.
        let _ = dir.remove(&temporary);
    })
}

/// Opens the folder `path` to make a store in it.
fn open_new(path: &Path) -> Result<Directory> {
    let dir = match Directory::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_ok() => {
            let nowhere = io::Error::new(e.kind(), "it is a symbolic link to what does not exist");
            return Err(at("use", path)(nowhere));
        }
        other => other.map_err(at("use", path))?,
    };
    if dir.look("config.toml").is_ok() {
        return Err(Error::Exists { path: path.to_owned() });
    }
    // A fresh volume of its own is a fine place for a store.
    let mut names = dir.names().map_err(at("read", path))?.into_iter();
    match names.find(|name| name != "lost+found") {
        Some(name) => Err(Error::NotEmpty {
            path: path.to_owned(),
            entry: name.to_string_lossy().into_owned(),
        }),
        None => Ok(dir),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::config::FORMAT;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn config() -> Config {
        Config {
            format: FORMAT,
            store_id: Uuid::from_u128(1),
            block_size: 4096,
            parity: 0,
            prefer: crate::store::Prefer::default(),
            model: None,
        }
    }

    #[test]
    fn a_made_store_is_found_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let (made, path) = Folder::prepare(&dir.path().join("a/b/store")).unwrap();
        assert!(
            matches!(Folder::find(&path), Err(Error::NotAStore { .. })),
            "no config yet"
        );
        Folder::finish(made, path.clone(), config()).unwrap();
        assert_eq!(Folder::find(&path).unwrap().config(), &config());
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("config.toml")), 0o600);
        assert!(matches!(Folder::prepare(&path), Err(Error::Exists { .. })));
    }

    #[test]
    fn other_peoples_folders_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("photo"), b"x").unwrap();
        let error = Folder::prepare(dir.path()).unwrap_err();
        assert!(error.to_string().contains("photo"), "{error}");
        assert!(matches!(Folder::find(dir.path()), Err(Error::NotAStore { .. })));
        assert!(matches!(
            Folder::find(&dir.path().join("photo")),
            Err(Error::NotAStore { .. })
        ));
        assert!(matches!(
            Folder::find(&dir.path().join("none")),
            Err(Error::Missing { .. })
        ));
        assert!(Folder::prepare(&dir.path().join("photo")).is_err());
    }

    #[test]
    fn links_out_of_a_store_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (made, path) = Folder::prepare(&dir.path().join("store")).unwrap();
        Folder::finish(made, path.clone(), config()).unwrap();
        std::os::unix::fs::symlink("/tmp", path.join("segments")).unwrap();
        assert!(matches!(Folder::find(&path), Err(Error::Symlink { .. })));
    }

    #[test]
    fn a_config_of_rubbish_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for rubbish in [&b"\xff\xfe"[..], &[b'a'; 100_000][..], b""] {
            fs::write(dir.path().join("config.toml"), rubbish).unwrap();
            assert!(matches!(Folder::find(dir.path()), Err(Error::BadConfig { .. })));
        }
    }

    /// After `lmfs parity` by root its owner could not read it any more. Only root can try that.
    #[test]
    fn what_root_writes_into_the_folder_of_others_is_theirs() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(1234), Some(2345)).unwrap();
        let made = Directory::open(dir.path()).unwrap();
        let folder = Folder::finish(made, dir.path().to_owned(), config()).unwrap();
        let lock = crate::store::Lock::acquire(folder.dir(), "a test").unwrap();
        for name in ["config.toml", "lock"] {
            let stat = fs::metadata(dir.path().join(name)).unwrap();
            assert_eq!((stat.uid(), stat.gid()), (1234, 2345), "{name}");
        }
        drop(lock);
    }

    /// Regression: a store that was moved, or whose path led elsewhere by then, was read by its old path.
    #[test]
    fn a_folder_stays_the_one_that_was_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let (made, path) = Folder::prepare(&root.join("store")).unwrap();
        Folder::finish(made, path.clone(), config()).unwrap();
        let folder = Folder::find(&path).unwrap();
        fs::rename(&path, root.join("moved")).unwrap();
        let (other, _) = Folder::prepare(&path).unwrap();
        let others = Config {
            store_id: Uuid::from_u128(2),
            ..config()
        };
        Folder::finish(other, path.clone(), others).unwrap();
        assert_eq!(folder.read_again().unwrap().config(), &config());
        assert_eq!(folder.place(), root.join("moved"));
    }
}
