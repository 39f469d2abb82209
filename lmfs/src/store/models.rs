//! `STORE/models/`: a store keeps the model that its blocks were made with, under the SHA-256 of its file.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::error::{Error, Result, at};
use super::folder::{sync_dir, write_new};

/// SHA-256 of a model file; 64 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

/// A model file in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// `STORE/models/DIGEST.gguf`.
    pub path: PathBuf,
    /// What its bytes must hash to.
    pub digest: Digest,
}

/// What is wrong with the model file of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFault {
    /// It is not there.
    Missing,
    /// Its bytes hash to something else.
    Altered {
        /// What they hash to.
        found: Digest,
    },
}

impl ModelFile {
    /// The model file with `digest` in the store folder `dir`, whether it exists or not.
    #[must_use]
    pub fn new(dir: &Path, digest: Digest) -> ModelFile {
        ModelFile {
            path: dir.join("models").join(format!("{digest}.gguf")),
            digest,
        }
    }

    /// Copies a model into the store folder `dir`, durably, and checks that it still is the one with `digest`.
    ///
    /// # Errors
    /// IO errors; [`Error::Model`] if `source` (named `origin`) no longer has the digest.
    pub fn import(
        dir: &Path,
        source: &mut dyn Read,
        origin: &Path,
        digest: Digest,
    ) -> Result<ModelFile> {
        let file = ModelFile::new(dir, digest);
        let folder = dir.join("models");
        let mut hasher = Sha256::new();
        write_new(&file.path, &mut |out| {
            hasher = Sha256::new();
            let mut tee = Tee {
                hasher: &mut hasher,
                out,
            };
            io::copy(source, &mut tee).map(drop)
        })?;
        let found = Digest(hasher.finalize().into());
        if found != digest {
            std::fs::remove_file(&file.path).map_err(at("remove", &file.path))?;
            return Err(Error::Model {
                path: origin.to_owned(),
                reason: "the file changed while it was copied; try again when nothing writes to it"
                    .to_owned(),
            });
        }
        sync_dir(&folder)?;
        Ok(file)
    }

    /// Reads the file and compares its SHA-256. `None` means it is as it should be.
    ///
    /// # Errors
    /// When it is there and cannot be read; [`Error::Symlink`].
    pub fn verify(&self) -> Result<Option<ModelFault>> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.path);
        let mut file = match opened {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Some(ModelFault::Missing)),
            Err(e) if e.raw_os_error() == Some(libc::ELOOP) => {
                return Err(Error::Symlink {
                    path: self.path.clone(),
                });
            }
            Err(e) => return Err(at("open", &self.path)(e)),
        };
        let found = Digest::of(&mut file).map_err(at("read", &self.path))?;
        Ok((found != self.digest).then_some(ModelFault::Altered { found }))
    }
}

impl Digest {
    /// Hashes all that `source` gives.
    ///
    /// # Errors
    /// When `source` fails.
    pub fn of(source: &mut dyn Read) -> io::Result<Digest> {
        let mut hasher = Sha256::new();
        let mut tee = Tee {
            hasher: &mut hasher,
            out: &mut io::sink(),
        };
        io::copy(source, &mut tee)?;
        Ok(Digest(hasher.finalize().into()))
    }

    /// Hashes a file, following links: for files outside a store.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_file(path: &Path) -> io::Result<Digest> {
        Digest::of(&mut File::open(path)?)
    }

    /// The first 12 digits, enough for people to tell models apart.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Digest, String> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| format!("'{text}' is not a SHA-256 in 64 hexadecimal digits"))?;
        Ok(Digest(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Digest, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Hashes what it passes on.
struct Tee<'a> {
    hasher: &'a mut Sha256,
    out: &'a mut dyn Write,
}

impl Write for Tee<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.out.write(buf)?;
        self.hasher.update(buf.get(..n).unwrap_or(buf));
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// SHA-256 of "abc", FIPS 180-2 appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn digests_read_and_write_as_hex() {
        let digest = Digest::of(&mut &b"abc"[..]).unwrap();
        assert_eq!(digest.to_string(), ABC);
        assert_eq!(ABC.parse::<Digest>().unwrap(), digest);
        for bad in ["", "ba78", &ABC.replace('b', "x"), &format!("{ABC}00")] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_imported_model_verifies_and_faults_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("models")).unwrap();
        let digest = ABC.parse().unwrap();
        let file =
            ModelFile::import(dir.path(), &mut &b"abc"[..], Path::new("m.gguf"), digest).unwrap();
        assert_eq!(file, ModelFile::new(dir.path(), digest));
        assert_eq!(file.verify().unwrap(), None);

        std::fs::write(&file.path, b"abd").unwrap();
        assert!(matches!(
            file.verify().unwrap(),
            Some(ModelFault::Altered { .. })
        ));
        std::fs::remove_file(&file.path).unwrap();
        assert_eq!(file.verify().unwrap(), Some(ModelFault::Missing));
        std::os::unix::fs::symlink("/etc/hostname", &file.path).unwrap();
        assert!(matches!(file.verify(), Err(Error::Symlink { .. })));
    }

    #[test]
    fn a_model_that_changed_meanwhile_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("models")).unwrap();
        let digest: Digest = ABC.parse().unwrap();
        let error = ModelFile::import(dir.path(), &mut &b"abcd"[..], Path::new("m.gguf"), digest)
            .unwrap_err();
        assert!(error.to_string().contains("m.gguf"), "{error}");
        assert_eq!(
            std::fs::read_dir(dir.path().join("models"))
                .unwrap()
                .count(),
            0
        );
    }
}
