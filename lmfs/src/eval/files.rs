//! What is evaluated: files, sorted into kinds by the folder that they came in.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::Error;

/// One file to evaluate.
#[derive(Clone, Debug)]
pub struct Input {
    /// Where it lies.
    pub path: PathBuf,
    /// Its kind: the row of the report that it counts in.
    pub kind: String,
    /// Its length when it was listed.
    pub bytes: u64,
}

impl Input {
    /// `len` bytes from `offset`.
    ///
    /// # Errors
    /// The file cannot be opened, or has become shorter.
    pub fn read(&self, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
        let mut raw = vec![0; len];
        File::open(&self.path)?.read_exact_at(&mut raw, offset)?;
        Ok(raw)
    }
}

/// The regular files with anything in them at and below `paths`, in a stable order. A folder given is split by its own
/// folders: each is a kind, and so is a file that is given by name. Symbolic links are not followed below `paths`.
///
/// # Errors
/// A path that does not exist or cannot be listed; no file at all.
pub fn find_files(paths: &[PathBuf]) -> Result<Vec<Input>, Error> {
    let mut files = Vec::new();
    for path in paths {
        for entry in WalkDir::new(path).sort_by_file_name() {
            let entry = entry.map_err(|error| Error::Read {
                path: error.path().unwrap_or(path).to_path_buf(),
                source: plain(error),
            })?;
            let read = |source| Error::Read {
                path: entry.path().to_path_buf(),
                source,
            };
            // A link given by name is followed, as `cat` would.
            let meta = if entry.depth() == 0 {
                std::fs::metadata(entry.path()).map_err(read)?
            } else {
                entry.metadata().map_err(|error| read(plain(error)))?
            };
            if meta.is_file() && meta.len() > 0 {
                files.push(Input {
                    kind: kind(path, entry.path()),
                    path: entry.path().to_path_buf(),
                    bytes: meta.len(),
                });
            }
        }
    }
    if files.is_empty() {
        let paths: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
        return Err(Error::Nothing {
            paths: paths.join(", "),
        });
    }
    Ok(files)
}

/// The operating system's error: walkdir's own text repeats the path.
fn plain(error: walkdir::Error) -> std::io::Error {
    let other = || std::io::Error::other("it cannot be listed");
    error.into_io_error().unwrap_or_else(other)
}

fn kind(root: &Path, file: &Path) -> String {
    let below = file.strip_prefix(root).unwrap_or(file);
    let mut parts = below.components();
    let name = match (parts.next(), parts.next()) {
        (Some(folder), Some(_)) => folder.as_os_str(),
        _ => root.file_name().unwrap_or(root.as_os_str()),
    };
    name.to_string_lossy().into_owned()
}
