//! Two trees compared: contents by `diff -r`, everything else by what the kernel says of each file.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use crate::run;

/// Asserts that `diff -r` finds nothing to say about two trees.
#[track_caller]
pub fn diff(left: &Path, right: &Path) {
    let found = run(Command::new("diff")
        .args(["-r", "--no-dereference"])
        .arg(left)
        .arg(right));
    assert!(
        found.status.success() && found.stdout.is_empty(),
        "the trees differ: {found}"
    );
}

/// What `cp -a` keeps of every file below `root`, by relative path: kind, mode, owner, size, times and links, as one
/// line of text each. Times of directories are left out where `with_times` is false.
#[track_caller]
pub fn metadata(root: &Path, with_times: bool) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("read_dir") {
            let path = entry.expect("entry").path();
            let meta = path
                .symlink_metadata()
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let kind = meta.file_type();
            let mut line = format!("{:o} {}:{} links {}", meta.mode(), meta.uid(), meta.gid(), meta.nlink());
            if kind.is_file() {
                line += &format!(" size {}", meta.size());
            } else if kind.is_symlink() {
                line += &format!(
                    " -> {}",
                    std::fs::read_link(&path)
                        .expect("readlink")
                        .as_os_str()
                        .as_bytes()
                        .escape_ascii()
                );
            } else if kind.is_char_device() || kind.is_block_device() {
                line += &format!(" device {}", meta.rdev());
            }
            if with_times {
                line += &format!(" modified {}.{:09}", meta.mtime(), meta.mtime_nsec());
            }
            let name = path
                .strip_prefix(root)
                .expect("below root")
                .as_os_str()
                .as_bytes()
                .escape_ascii()
                .to_string();
            found.insert(name, line);
            if kind.is_dir() {
                folders.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "{} is empty", root.display());
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{copy_in, small_tree};

    #[test]
    fn a_copy_is_found_equal_and_any_change_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (left, right) = (folder.path().join("left"), folder.path().join("right"));
        small_tree(&left);
        copy_in(&left, &right);
        diff(&left, &right);
        assert_eq!(metadata(&left, true), metadata(&right, true));

        let file = right.join("noise.bin");
        let mut bytes = std::fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert!(
            std::panic::catch_unwind(|| diff(&left, &right)).is_err(),
            "one flipped bit has to show"
        );
        assert_eq!(metadata(&left, false), metadata(&right, false));
        assert_ne!(metadata(&left, true), metadata(&right, true), "so does a new time");
    }
}
