//! A store as a folder: found, checked, made, with files written so that a crash leaves the old or the new.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::config::Config;
use super::error::{Error, Result, at};

/// What a store consists of besides config.toml.
const PARTS: [&str; 6] = ["lock", "models", "segments", "index", "control.sock", "lmfs.log"];
/// A config is a few hundred bytes; a larger one is not ours.
const MAX_CONFIG: u64 = 64 << 10;

/// A folder with a readable `config.toml`: a store, neither locked nor opened.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    config: Config,
}

impl Folder {
    /// Finds the store in the folder `path`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::NotAStore`], [`Error::NewerFormat`], [`Error::BadConfig`], [`Error::Symlink`].
    pub fn find(path: &Path) -> Result<Folder> {
        let path = locate(path)?;
        let config = read_config(&path)?;
        Ok(Folder { path, config })
    }

    /// Whether a store can be made in the folder `path`: it must be new or empty.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NotEmpty`]; a path that is no folder.
    pub fn check_new(path: &Path) -> Result<()> {
        refuse_used(path)
    }

    /// Makes the folder `path` ready to become a store: it must be new or empty. The store exists once
    /// [`Folder::finish`] has written its config.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NotEmpty`]; IO errors.
    pub fn prepare(path: &Path) -> Result<PathBuf> {
        Folder::check_new(path)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(at("create", parent))?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(at("set the mode of", path))?;
            }
            Err(e) => return Err(at("create", path)(e)),
        }
        let path = fs::canonicalize(path).map_err(at("find", path))?;
        let models = path.join("models");
        DirBuilder::new()
            .mode(0o700)
            .create(&models)
            .map_err(at("create", &models))?;
        Ok(path)
    }

    /// Writes `config.toml` into a prepared folder: from here on it is a store.
    ///
    /// # Errors
    /// IO errors.
    pub fn finish(path: &Path, config: Config) -> Result<Folder> {
        write_config(path, &config)?;
        if let Some(parent) = path.parent() {
            sync_dir(parent)?;
        }
        Ok(Folder {
            path: path.to_owned(),
            config,
        })
    }

    /// The folder's absolute path, free of links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
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

/// The absolute path of the store folder `path`, which must hold parts of a store and no links.
pub(super) fn locate(path: &Path) -> Result<PathBuf> {
    let found = fs::canonicalize(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => at("find", path)(e),
    })?;
    if !found.is_dir() {
        return Err(Error::NotAStore { path: found });
    }
    for name in PARTS.iter().chain(&["config.toml"]) {
        let part = found.join(name);
        if fs::symlink_metadata(&part).is_ok_and(|m| m.file_type().is_symlink()) {
            return Err(Error::Symlink { path: part });
        }
    }
    Ok(found)
}

/// Removes what was made in a folder that did not become a store.
pub(super) fn discard(path: &Path) {
    for name in PARTS {
        let part = path.join(name);
        // Something is wrong already, and that is what the user gets to know.
        let _ = fs::remove_file(&part).or_else(|_| fs::remove_dir_all(&part));
    }
    let _ = fs::remove_dir(path);
}

fn read_config(dir: &Path) -> Result<Config> {
    let path = dir.join("config.toml");
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path);
    let file = opened.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound if dir.join("segments").is_dir() => Error::BadConfig {
            path: path.clone(),
            reason: "it is missing".to_owned(),
        },
        io::ErrorKind::NotFound => Error::NotAStore { path: dir.to_owned() },
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

/// Writes `config.toml` in `dir`, whole or not at all.
pub(super) fn write_config(dir: &Path, config: &Config) -> Result<()> {
    let text = config.to_text()?;
    write_new(&dir.join("config.toml"), text.as_bytes())?;
    sync_dir(dir)
}

/// Writes a file of mode 0600 under a temporary name, makes it durable and gives it its name.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(dir)
        .map_err(at("create a file in", dir))?;
    hand_over(temporary.as_file(), dir);
    temporary.write_all(bytes).map_err(at("write", path))?;
    temporary.as_file().sync_all().map_err(at("write", path))?;
    temporary.persist(path).map_err(|e| at("create", path)(e.error))?;
    Ok(())
}

/// Gives a file that root made just now to the owner of its folder, who must be able to use the store tomorrow.
pub(super) fn hand_over(file: &File, dir: &Path) {
    let stat = |file: io::Result<fs::Metadata>| file.ok().map(|stat| (stat.uid(), stat.gid(), stat.nlink()));
    let (Some((0, _, 1)), Some((uid, gid, _))) = (stat(file.metadata()), stat(fs::metadata(dir))) else {
        return;
    };
    if uid != 0
        && let Err(e) = std::os::unix::fs::fchown(file, Some(uid), Some(gid))
    {
        tracing::warn!("a file in {} stays root's: {e}", dir.display());
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at("sync", dir))
}

fn refuse_used(path: &Path) -> Result<()> {
    if is_store(path) {
        return Err(Error::Exists { path: path.to_owned() });
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_ok() => {
            let nowhere = io::Error::new(e.kind(), "it is a symbolic link to what does not exist");
            return Err(at("use", path)(nowhere));
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(at("use", path)(e)),
    };
    for entry in entries {
        let name = entry.map_err(at("read", path))?.file_name();
        // A fresh volume of its own is a fine place for a store.
        if name != "lost+found" {
            return Err(Error::NotEmpty {
                path: path.to_owned(),
                entry: name.to_string_lossy().into_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::config::FORMAT;
    use uuid::Uuid;

    fn config() -> Config {
        Config {
            format: FORMAT,
            store_id: Uuid::from_u128(1),
            block_size: 4096,
            parity: 0,
            model: None,
        }
    }

    #[test]
    fn a_made_store_is_found_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = Folder::prepare(&dir.path().join("a/b/store")).unwrap();
        assert!(
            matches!(Folder::find(&path), Err(Error::NotAStore { .. })),
            "no config yet"
        );
        Folder::finish(&path, config()).unwrap();
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
        let path = Folder::prepare(&dir.path().join("store")).unwrap();
        Folder::finish(&path, config()).unwrap();
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
        write_config(dir.path(), &config()).unwrap();
        let lock = crate::store::Lock::acquire(dir.path(), "a test").unwrap();
        for name in ["config.toml", "lock"] {
            let stat = fs::metadata(dir.path().join(name)).unwrap();
            assert_eq!((stat.uid(), stat.gid()), (1234, 2345), "{name}");
        }
        drop(lock);
    }
}
