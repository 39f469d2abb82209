//! What is measured on: whole files of each kind, as many as fit under a cap.

use std::fs;
use std::path::{Path, PathBuf};

/// One kind of data.
pub struct Kind {
    pub name: String,
    /// Paths below `root`, and how many bytes of each file are taken.
    pub files: Vec<(PathBuf, u64)>,
    pub root: PathBuf,
    pub bytes: u64,
}

/// The kinds below `eval`: a folder each. Files are taken in the order of their names; one that exceeds what is left
/// under the cap is cut, which keeps every kind in a capped run.
pub fn kinds(eval: &Path, cap: u64) -> Vec<Kind> {
    let mut folders: Vec<PathBuf> = fs::read_dir(eval)
        .unwrap_or_else(|error| panic!("EVAL={}: {error}", eval.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    let kinds = folders.into_iter().map(|root| {
        let mut kind = Kind {
            name: root.file_name().unwrap().to_string_lossy().into_owned(),
            files: Vec::new(),
            bytes: 0,
            root,
        };
        // Shares, so that a capped run does not see only the first of a kind's files.
        let found = files(&kind.root);
        let mut left = cap;
        for (n, (path, len)) in found.iter().enumerate() {
            let share = left / (found.len() - n) as u64;
            let taken = (*len).min(share.max(left.min(4096)));
            if taken > 0 {
                kind.files
                    .push((path.strip_prefix(&kind.root).unwrap().to_path_buf(), taken));
                kind.bytes += taken;
                left -= taken;
            }
        }
        kind
    });
    kinds.filter(|kind| kind.bytes > 0).collect()
}

/// Regular files below `root` and their lengths, the shortest first: what they leave of their share goes to the longer
/// ones.
fn files(root: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push((entry.path(), entry.metadata().unwrap().len()));
            }
        }
    }
    found.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    found
}

impl Kind {
    /// The bytes that are taken of each file.
    pub fn contents(&self) -> impl Iterator<Item = (&Path, Vec<u8>)> {
        self.files.iter().map(|(path, len)| {
            let mut bytes = fs::read(self.root.join(path)).unwrap();
            bytes.truncate(usize::try_from(*len).unwrap());
            (path.as_path(), bytes)
        })
    }

    /// Writes what is taken below `target`.
    pub fn copy_to(&self, target: &Path) {
        for (path, bytes) in self.contents() {
            let path = target.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}
