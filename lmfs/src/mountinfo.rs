//! What is mounted where: `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
//!
//! Reading it never asks a filesystem anything, so it works when a daemon hangs or is dead.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The type that our mounts show.
pub const FSTYPE: &str = "fuse.lmfs";

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountInfo {
    /// Number of the mount in this namespace: each bind mount has one of its own, and a moved mount keeps its.
    pub id: u64,
    /// Device of the filesystem, such as `0:52`: the same for all bind mounts of it, in all namespaces.
    pub device: String,
    /// Where.
    pub mountpoint: PathBuf,
    /// Filesystem type, such as `ext4` or [`FSTYPE`].
    pub fstype: String,
    /// What is mounted; for lmfs the store folder.
    pub source: PathBuf,
    /// Who mounted it, for FUSE.
    pub user_id: Option<u32>,
}

impl MountInfo {
    /// Whether this is a mount of ours, alive or dead.
    #[must_use]
    pub fn is_lmfs(&self) -> bool {
        self.fstype == FSTYPE
    }

    /// Names the mounted filesystem, such as `0:52-1a2b3c4d`: the same for all bind mounts of it, in all namespaces.
    ///
    /// The device alone is not enough. The kernel gives it to the next mount as soon as this one is gone, which may be
    /// while its daemon is still ending. What is mounted tells the two apart, for nobody else can mount that meanwhile.
    #[must_use]
    pub fn filesystem(&self) -> String {
        format!(
            "{}-{:08x}",
            self.device,
            crc32fast::hash(self.source.as_os_str().as_bytes())
        )
    }
}

/// All mounts that this process sees, oldest first.
///
/// # Errors
/// When /proc is not there.
pub fn list() -> io::Result<Vec<MountInfo>> {
    Ok(parse(&fs::read("/proc/self/mountinfo")?))
}

/// The mount at exactly `mountpoint` (absolute, free of links); the topmost if there are several.
///
/// # Errors
/// When /proc is not there.
pub fn at(mountpoint: &Path) -> io::Result<Option<MountInfo>> {
    Ok(list()?.into_iter().rev().find(|mount| mount.mountpoint == mountpoint))
}

/// The mount with this number.
///
/// # Errors
/// When /proc is not there.
pub fn by_id(id: u64) -> io::Result<Option<MountInfo>> {
    Ok(list()?.into_iter().find(|mount| mount.id == id))
}

/// Whether the process `pid` sees a mount of this [filesystem](MountInfo::filesystem); none when it does not let look.
#[must_use]
pub fn seen_by(pid: u32, filesystem: &str) -> Option<bool> {
    let table = fs::read(format!("/proc/{pid}/mountinfo")).ok()?;
    Some(
        parse(&table)
            .iter()
            .any(|mount| mount.fstype.starts_with("fuse") && mount.filesystem() == filesystem),
    )
}

/// The mount that `path` (absolute, free of links) lies in.
///
/// # Errors
/// When /proc is not there.
pub fn containing(path: &Path) -> io::Result<Option<MountInfo>> {
    let mounts = list()?;
    let holds = |mount: &&MountInfo| path.starts_with(&mount.mountpoint);
    // Of equally deep ones the last covers the others.
    Ok(mounts
        .iter()
        .filter(holds)
        .max_by_key(|mount| mount.mountpoint.components().count())
        .cloned())
}

/// `path` as the kernel knows it, absolute and without links, even if it is the root of a mount whose daemon is
/// dead: then only its parent can be asked.
///
/// # Errors
/// When there is no such path.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let refused = match fs::canonicalize(path) {
        Ok(path) => return Ok(path),
        Err(e) => e,
    };
    let absolute = std::path::absolute(path)?;
    let no_such_path = matches!(refused.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) if !no_such_path => Ok(fs::canonicalize(parent)?.join(name)),
        _ => Err(refused),
    }
}

fn parse(text: &[u8]) -> Vec<MountInfo> {
    text.split(|&b| b == b'\n').filter_map(parse_line).collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse_line(line: &[u8]) -> Option<MountInfo> {
    let mut fields = line.split(|&b| b == b' ');
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let id = text(fields.next()?).parse().ok()?;
    let device = text(fields.nth(1)?);
    let mountpoint = unescape(fields.nth(1)?);
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let fstype = text(&unescape(fields.next()?));
    let source = unescape(fields.next()?);
    let options = text(fields.next().unwrap_or_default());
    let user_id = options
        .split(',')
        .find_map(|option| option.strip_prefix("user_id=")?.parse().ok());
    let path = |bytes| PathBuf::from(OsString::from_vec(bytes));
    Some(MountInfo {
        id,
        device,
        mountpoint: path(mountpoint),
        fstype,
        source: path(source),
        user_id,
    })
}

/// Undoes the kernel's `\040` for blank, tab, newline and backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\')
            .then(|| tail.split_at_checked(3))
            .flatten()
            .and_then(|(digits, after)| {
                let digits = std::str::from_utf8(digits).ok()?;
                Some((u8::from_str_radix(digits, 8).ok()?, after))
            });
        let (byte, after) = octal.unwrap_or((first, tail));
        out.push(byte);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SAMPLE: &[u8] = b"\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
40 22 0:35 / /mnt/with\\040blank rw,nosuid shared:9 master:1 - fuse.lmfs /srv/a\\134b rw,user_id=0\n\
41 22 0:36 / /mnt/x rw - tmpfs tmpfs rw\n\
42 41 0:37 / /mnt/x rw - fuse.lmfs /srv/store ro\n\
junk\n";

    #[test]
    fn lines_are_read_with_optional_fields_and_escapes() {
        let mounts = parse(SAMPLE);
        assert_eq!(mounts.len(), 4);
        let blank = mounts.get(1).unwrap();
        assert_eq!(blank.mountpoint, Path::new("/mnt/with blank"));
        assert_eq!(blank.source, Path::new("/srv/a\\b"));
        assert!(blank.is_lmfs());
        assert_eq!((blank.id, blank.device.as_str(), blank.user_id), (40, "0:35", Some(0)));
    }

    /// Regression: a mount that got the device of one whose daemon was still ending was taken for it. `lmfs status`
    /// asked the wrong daemon, and a mount of the other store was refused instead of waiting.
    #[test]
    fn a_device_that_is_used_again_is_another_filesystem() {
        let next = |source| format!("50 22 0:35 / /bound rw - fuse.lmfs {source} rw,user_id=0\n");
        let filesystem = |text: &[u8]| parse(text).pop().unwrap().filesystem();
        let blank = parse(SAMPLE).remove(1).filesystem();
        assert_eq!(filesystem(next("/srv/a\\134b").as_bytes()), blank, "a bind mount of it");
        assert_ne!(filesystem(next("/srv/other").as_bytes()), blank);
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        assert_eq!(unescape(b"a\\04"), b"a\\04");
        assert_eq!(unescape(b"\\999\\040"), b"\\999 ");
        assert_eq!(unescape(b"\\777"), b"\\777");
        assert_eq!(unescape(b"\\"), b"\\");
    }

    #[test]
    fn the_running_system_has_a_root() {
        let root = containing(Path::new("/nowhere/at/all")).unwrap().unwrap();
        assert_eq!(root.mountpoint, Path::new("/"));
        assert_eq!(at(Path::new("/")).unwrap().unwrap(), root);
    }
}
