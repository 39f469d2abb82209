//! `STORE/models/`: a store keeps the model that its blocks were made with, under the SHA-256 of its file.

use std::io;
use std::path::{Path, PathBuf};

use lmfs_codec::model::gguf;
use lmfs_indexer::io::Directory;
use sha2::{Digest as _, Sha256};

use super::digest::Digest;
use super::error::{Error, Result, at};
use super::folder::write_new;

/// A model file in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// `STORE/models/DIGEST.gguf`.
    pub path: PathBuf,
    /// What its bytes must hash to.
    pub digest: Digest,
}

/// What is wrong with the model file of a store.
#[derive(Debug, thiserror::Error)]
pub enum ModelFault {
    /// It is not there.
    #[error("it is missing")]
    Missing,
    /// Its bytes hash to something else.
    #[error("its SHA-256 is {found}")]
    Altered {
        /// What they hash to.
        found: Digest,
    },
    /// It is no model at all, or not as long as it says.
    #[error("{reason}")]
    NotAModel {
        /// What is wrong with it.
        reason: String,
    },
    /// It is there and cannot be read, or is [a link](Error::Symlink).
    #[error(transparent)]
    Unreadable(#[from] Error),
}

impl ModelFile {
    /// The model file with `digest` in the store that lies in `place`, whether it exists or not.
    #[must_use]
    pub fn new(place: &Path, digest: Digest) -> ModelFile {
        ModelFile {
            path: place.join("models").join(name(&digest)),
            digest,
        }
    }

    /// Puts a model into the store folder `dir`, which lies in `place`, durably. Its name is the SHA-256 of `gguf`.
    ///
    /// # Errors
    /// IO errors.
    pub fn import(dir: &Directory, place: &Path, gguf: &[u8]) -> Result<ModelFile> {
        let file = ModelFile::new(place, Digest(Sha256::digest(gguf).into()));
        dir.directory("models")
            .and_then(|models| write_new(&models, &name(&file.digest), gguf).and_then(|()| models.sync()))
            .map_err(at("write", &file.path))?;
        Ok(file)
    }

    /// Reads the model from the store folder `dir`, if its bytes still are the ones with this digest.
    ///
    /// # Errors
    /// [`ModelFault`].
    pub fn read(&self, dir: &Directory) -> std::result::Result<Vec<u8>, ModelFault> {
        let opened = dir
            .directory("models")
            .and_then(|models| models.open_file(name(&self.digest), false));
        let mut file = match opened {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(ModelFault::Missing),
            Err(e) if e.raw_os_error() == Some(libc::ELOOP) => {
                let path = self.path.clone();
                return Err(Error::Symlink { path }.into());
            }
            Err(e) => return Err(at("open", &self.path)(e).into()),
        };
        let len = file.metadata().map_err(at("read", &self.path))?.len();
        let gguf = match gguf::read(&self.path.display().to_string(), &mut file, len) {
            Ok(gguf) => gguf,
            Err(lmfs_codec::Error::Io { source, .. }) => return Err(at("read", &self.path)(source).into()),
            Err(lmfs_codec::Error::UnusableModel { reason, .. }) => return Err(ModelFault::NotAModel { reason }),
            Err(other) => return Err(Error::from(other).into()),
        };
        let found = Digest(Sha256::digest(&gguf).into());
        if found != self.digest {
            return Err(ModelFault::Altered { found });
        }
        Ok(gguf)
    }
}

/// What the file of a model is called.
fn name(digest: &Digest) -> String {
    format!("{digest}.gguf")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_imported_model_verifies_and_faults_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("models")).unwrap();
        let store = Directory::open(dir.path()).unwrap();
        let gguf = lmfs_codec::model::builtin::find("tiny").unwrap().gguf;
        let file = ModelFile::import(&store, dir.path(), gguf).unwrap();
        assert_eq!(file, ModelFile::new(dir.path(), file.digest));
        assert_eq!(file.read(&store).unwrap(), gguf);

        let mut altered = gguf.to_vec();
        *altered.last_mut().unwrap() ^= 1;
        std::fs::write(&file.path, altered).unwrap();
        assert!(matches!(file.read(&store), Err(ModelFault::Altered { .. })));
        // Regression: a sparse file of 1 TiB was read into memory before it was hashed.
        let sparse = std::fs::OpenOptions::new().write(true).open(&file.path).unwrap();
        sparse.set_len(1 << 40).unwrap();
        assert!(matches!(file.read(&store), Err(ModelFault::NotAModel { .. })));
        std::fs::remove_file(&file.path).unwrap();
        assert!(matches!(file.read(&store), Err(ModelFault::Missing)));
        std::os::unix::fs::symlink("/etc/hostname", &file.path).unwrap();
        let read = file.read(&store);
        assert!(matches!(read, Err(ModelFault::Unreadable(Error::Symlink { .. }))));
    }
}
