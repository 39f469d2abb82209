//! Who may read a file, and how that passes on to what is made from it.
//!
//! Whoever could not read the input cannot read the output either. Where something cannot be kept, the output is for
//! fewer, never for more.

use std::fs::{File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

use rustix::fs::{XattrFlags, fgetxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;

use crate::posix_acl::{Acl, GROUP_OBJ, MASK, OTHER, USER_OBJ};

const ACL: &str = "system.posix_acl_access";
/// Labels with which SELinux and Smack protect files.
const LABELS: [&str; 2] = ["security.selinux", "security.SMACK64"];
/// The largest attribute there is (xattr(7)).
const LARGEST: usize = 64 << 10;

/// Owner, mode, access control list, labels and times of a file.
#[derive(Debug)]
pub struct Protection {
    metadata: Metadata,
    acl: Option<Vec<u8>>,
    labels: Vec<(&'static str, Vec<u8>)>,
}

impl Protection {
    /// That of an open file.
    ///
    /// # Errors
    /// The file's access control list cannot be read.
    pub fn of(file: &File, metadata: &Metadata) -> io::Result<Protection> {
        let labels = LABELS
            .into_iter()
            .filter_map(|name| Some((name, attribute(file, name).ok()??)));
        Ok(Protection {
            metadata: metadata.clone(),
            acl: attribute(file, ACL)?,
            labels: labels.collect(),
        })
    }

    /// Gives it to `file`, which was made for its owner alone.
    ///
    /// # Errors
    /// The file is for fewer than the input, or its times are not those of the input.
    pub fn give_to(&self, file: &File) -> io::Result<()> {
        // A default list of the folder would come into force with the mode.
        match fremovexattr(file, ACL) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        for (name, value) in &self.labels {
            // Whoever may not label files leaves that to the policy.
            let _ = fsetxattr(file, *name, value, XattrFlags::empty());
        }
        let in_group = fchown(file, None, Some(self.metadata.gid())).is_ok();
        // Only the administrator may give files away; for others the output is simply theirs.
        let _ = fchown(file, Some(self.metadata.uid()), None);
        let mode = self.metadata.mode() & 0o777;
        let permitted = match &self.acl {
            Some(acl) if in_group && fsetxattr(file, ACL, acl, XattrFlags::empty()).is_ok() => Ok(()),
            Some(acl) => permit(file, without_list(acl, mode), in_group),
            None => permit(file, mode, in_group),
        };
        let times = FileTimes::new()
            .set_modified(self.metadata.modified()?)
            .set_accessed(self.metadata.accessed()?);
        permitted.and(file.set_times(times))
    }
}

/// Sets the mode. Another group than that of the input may do what anybody may.
fn permit(file: &File, mode: u32, in_group: bool) -> io::Result<()> {
    let mode = match in_group {
        true => mode,
        false => mode & 0o707 | (mode & 0o007) << 3,
    };
    file.set_permissions(Permissions::from_mode(mode))
}

fn attribute(file: &File, name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; LARGEST];
    match fgetxattr(file, name, &mut value) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Permission bits that allow nobody more than an access control list (linux/posix_acl_xattr.h) does. The group's bits
/// show the list's mask, not what the group may do; and whoever the list names may be allowed less than everybody else.
fn without_list(acl: &[u8], mode: u32) -> u32 {
    // What the kernel gave and is no list allows nobody anything but the owner.
    let Some(Acl(entries)) = Acl::parse(acl) else {
        return mode & 0o700;
    };
    let (mut group, mut other) = (mode >> 3 & 7, mode & 7);
    for entry in entries {
        let allowed = u32::from(entry.perm);
        match entry.tag {
            USER_OBJ | MASK | OTHER => {}
            GROUP_OBJ => group &= allowed,
            _ => (group, other) = (group & allowed, other & allowed),
        }
    }
    mode & 0o700 | group << 3 | other
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posix_acl::Entry;

    /// Regression: the mask of a list became the permission of the group.
    #[test]
    fn without_its_list_a_file_is_for_fewer() {
        let list = |entries: &[(u16, u16, u32)]| {
            let entries = entries.iter().map(|&(tag, perm, id)| Entry { tag, perm, id });
            Acl(entries.collect()).to_bytes()
        };
        let named = list(&[(1, 6, !0), (2, 6, 1000), (4, 0, !0), (16, 6, !0), (32, 0, !0)]);
        assert_eq!(without_list(&named, 0o660), 0o600);
        let denied = list(&[(1, 6, !0), (2, 0, 1000), (4, 4, !0), (16, 4, !0), (32, 4, !0)]);
        assert_eq!(without_list(&denied, 0o644), 0o600);
        let minimal = list(&[(1, 6, !0), (4, 4, !0), (32, 4, !0)]);
        assert_eq!(without_list(&minimal, 0o644), 0o644);
    }
}
