//! lmfs below overlayfs, as the layer that is written. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use lmfs_tests::{Mount, Scratch};
use rustix::mount::{MountFlags, UnmountFlags, mount as mount_filesystem, unmount};

/// An overlay of a plain folder and one in lmfs; unmounted when dropped.
struct Overlay {
    merged: PathBuf,
}

impl Overlay {
    fn start(scratch: &Scratch, mount: &Mount) -> Overlay {
        let merged = scratch.path("merged");
        fs::create_dir_all(&merged).unwrap();
        for folder in ["upper", "work"] {
            fs::create_dir_all(mount.path(folder)).unwrap();
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            scratch.path("lower").display(),
            mount.path("upper").display(),
            mount.path("work").display()
        );
        let options = std::ffi::CString::new(options).unwrap();
        mount_filesystem("overlay", &merged, "overlay", MountFlags::empty(), options.as_c_str()).unwrap();
        Overlay { merged }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.merged.join(name)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = unmount(&self.merged, UnmountFlags::DETACH);
    }
}

/// All files below a folder with their contents, all folders with none.
fn tree(folder: &Path) -> Vec<(PathBuf, Option<String>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
            found.push((path, None));
        } else {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, Some(text)));
        }
    }
    found.sort();
    found
}

/// Regression: without RENAME_WHITEOUT and O_TMPFILE overlayfs took lmfs for reading only, or did without both.
#[test]
fn lmfs_is_the_upper_layer_of_an_overlay() {
    if !fs::read_to_string("/proc/filesystems").unwrap().contains("\toverlay\n") {
        eprintln!("skipped: this kernel has no overlayfs");
        return;
    }
    let scratch = Scratch::with_store(&["--model=none"]);
    let lower = scratch.path("lower");
    fs::create_dir_all(lower.join("dir/below")).unwrap();
    for name in ["deleted", "changed", "moved", "linked", "dir/one", "dir/below/two"] {
        fs::write(lower.join(name), format!("{name} of the lower layer")).unwrap();
    }
    let mount = scratch.mount(&["-o", "allow_other"]);
    let overlay = Overlay::start(&scratch, &mount);
    fs::remove_file(overlay.path("deleted")).unwrap();
    fs::write(overlay.path("changed"), "changed").unwrap();
    fs::rename(overlay.path("moved"), overlay.path("moved here")).unwrap();
    fs::hard_link(overlay.path("linked"), overlay.path("dir/link")).unwrap();
    fs::remove_dir_all(overlay.path("dir/below")).unwrap();
    fs::create_dir(overlay.path("dir/below")).unwrap();
    fs::write(overlay.path("dir/below/three"), "three").unwrap();
    fs::write(overlay.path("new"), "new").unwrap();
    fs::rename(overlay.path("new"), overlay.path("dir/one")).unwrap();

    let expected = [
        ("changed", Some("changed")),
        ("dir", None),
        ("dir/below", None),
        ("dir/below/three", Some("three")),
        ("dir/link", Some("linked of the lower layer")),
        ("dir/one", Some("new")),
        ("linked", Some("linked of the lower layer")),
        ("moved here", Some("moved of the lower layer")),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, text)| (overlay.path(name), text.map(str::to_owned)))
        .collect();
    assert_eq!(tree(&overlay.merged), expected);
    for name in ["deleted", "moved"] {
        let whiteout = fs::symlink_metadata(mount.path("upper").join(name)).unwrap();
        assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0, "{name}");
    }
    drop(overlay);
    mount.umount();
    let mount = scratch.mount(&["-o", "allow_other"]);
    let overlay = Overlay::start(&scratch, &mount);
    assert_eq!(tree(&overlay.merged), expected, "after a remount");
    drop(overlay);
    mount.umount();
}
