//! The setuid helper of the package fuse3, which mounts and unmounts for ordinary users.

use std::ffi::OsStr;
use std::path::PathBuf;

/// Where it lies. PATH may be empty: mount(8) starts helpers without one.
#[must_use]
pub fn fusermount() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    candidates(&path).find(|candidate| candidate.is_file())
}

fn candidates(path: &OsStr) -> impl Iterator<Item = PathBuf> {
    std::env::split_paths(path)
        .chain(["/usr/bin", "/bin", "/usr/local/bin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join("fusermount3"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// It was looked for there, and then started through PATH all the same.
    #[test]
    fn the_helper_is_found_without_a_path() {
        assert!(candidates(OsStr::new("")).any(|at| at == Path::new("/usr/bin/fusermount3")));
        let first = candidates(OsStr::new("/opt/bin:/usr/bin")).next();
        assert_eq!(first, Some(PathBuf::from("/opt/bin/fusermount3")));
    }
}
