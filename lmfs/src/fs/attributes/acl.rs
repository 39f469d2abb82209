//! POSIX access control lists (man 5 acl). The kernel asks them; here they are kept in step with the permission bits.

use lmfs_indexer::{Change, Inode, Kind};

use super::Attributes;
use crate::fs::error::{Errno, Error, Result};

const ACCESS: &[u8] = b"system.posix_acl_access";
const DEFAULT: &[u8] = b"system.posix_acl_default";

/// Version of the form in which the kernel passes a list (linux/posix_acl_xattr.h).
const VERSION: u32 = 2;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Whether an extended attribute is a list.
pub fn is_acl(name: &[u8]) -> bool {
    name == ACCESS || name == DEFAULT
}

/// One line of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: u16,
    perm: u16,
    id: u32,
}

/// A list that was checked: the three base entries once each, a mask where a user or group is named.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Acl(Vec<Entry>);

impl Acl {
    fn parse(bytes: &[u8]) -> Result<Acl> {
        let invalid = || Error::new(Errno::INVAL, "malformed access control list");
        let (version, rest) = bytes.split_first_chunk::<4>().ok_or_else(invalid)?;
        if u32::from_le_bytes(*version) != VERSION || rest.len() % 8 != 0 {
            return Err(invalid());
        }
        let entries = rest.chunks_exact(8).map(|chunk| match *chunk {
            [t0, t1, p0, p1, i0, i1, i2, i3] => Ok(Entry {
                tag: u16::from_le_bytes([t0, t1]),
                perm: u16::from_le_bytes([p0, p1]),
                id: u32::from_le_bytes([i0, i1, i2, i3]),
            }),
            _ => Err(invalid()),
        });
        let acl = Acl(entries.collect::<Result<_>>()?);
        let count = |tag| acl.0.iter().filter(|entry| entry.tag == tag).count();
        let known = acl
            .0
            .iter()
            .all(|entry| entry.perm <= 7 && matches!(entry.tag, USER_OBJ | USER | GROUP_OBJ | GROUP | MASK | OTHER));
        let base = [USER_OBJ, GROUP_OBJ, OTHER].into_iter().all(|tag| count(tag) == 1);
        // Without a mask the group bits would have to show several entries at once.
        let masked = count(MASK) == 1 || (count(MASK) == 0 && count(USER) + count(GROUP) == 0);
        if known && base && masked {
            Ok(acl)
        } else {
            Err(invalid())
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for entry in &self.0 {
            bytes.extend(entry.tag.to_le_bytes());
            bytes.extend(entry.perm.to_le_bytes());
            bytes.extend(entry.id.to_le_bytes());
        }
        bytes
    }

    /// Whether the list says no more than permission bits do.
    fn is_minimal(&self) -> bool {
        self.0.len() == 3
    }

    /// The tag whose permissions the group bits show.
    fn group_class(&self) -> u16 {
        if self.0.iter().any(|entry| entry.tag == MASK) {
            MASK
        } else {
            GROUP_OBJ
        }
    }

    /// The nine permission bits that go with the list.
    fn mode(&self) -> u32 {
        let of = |tag| {
            self.0
                .iter()
                .find(|entry| entry.tag == tag)
                .map_or(0, |entry| u32::from(entry.perm))
        };
        of(USER_OBJ) << 6 | of(self.group_class()) << 3 | of(OTHER)
    }

    /// Combines the three base classes with permission bits.
    fn apply(&mut self, mode: u32, combine: impl Fn(u16, u16) -> u16) {
        let group_class = self.group_class();
        let bits = |shift: u32| u16::try_from(mode >> shift & 7).unwrap_or(0);
        for entry in &mut self.0 {
            match entry.tag {
                USER_OBJ => entry.perm = combine(entry.perm, bits(6)),
                OTHER => entry.perm = combine(entry.perm, bits(0)),
                tag if tag == group_class => entry.perm = combine(entry.perm, bits(3)),
                _ => {}
            }
        }
    }
}

/// A list is being set: checks it and brings the permission bits in step. Says whether there is anything to store (an
/// access list that says no more than the bits is not). The set-group-id bit stays for a caller who `is_in` the file's
/// group.
pub fn set(inode: &mut Inode, name: &[u8], value: &[u8], is_in: impl FnOnce(u32) -> bool) -> Result<bool> {
    if !is_acl(name) {
        return Ok(true);
    }
    if inode.kind == Kind::Symlink {
        return Err(Error::new(
            Errno::OPNOTSUPP,
            "a symbolic link has no access control list",
        ));
    }
    if value.is_empty() {
        return Ok(false);
    }
    let acl = Acl::parse(value)?;
    if name == DEFAULT {
        return match inode.kind {
            Kind::Directory => Ok(true),
            _ => Err(Error::new(Errno::ACCESS, "only a directory has a default list")),
        };
    }
    inode.perm = inode.perm & 0o7000 | acl.mode();
    // chmod(2) would take the bit, too: the list must be no way around it.
    if inode.perm & 0o2000 != 0 && !is_in(inode.gid) {
        inode.perm &= !0o2000;
    }
    Ok(!acl.is_minimal())
}

impl Attributes {
    /// What a new inode gets from its directory: permission bits under the umask, or the directory's default list.
    pub fn inherit_acl(&self, parent: u64, inode: &mut Inode, umask: u32) -> Result<Vec<Change>> {
        if inode.kind == Kind::Symlink {
            return Ok(Vec::new());
        }
        let Some(default) = self.store().xattr(parent, DEFAULT)? else {
            inode.perm &= !(umask & 0o777);
            return Ok(Vec::new());
        };
        let mut acl = Acl::parse(&default)?;
        // A default list takes the place of the umask, which the kernel therefore left to us.
        acl.apply(inode.perm, |ours, bits| ours & bits);
        inode.perm = inode.perm & 0o7000 | acl.mode();
        let put = |name: &[u8], value| Change::PutXattr {
            ino: inode.ino,
            name: name.to_vec(),
            value,
        };
        let mut changes = Vec::new();
        if !acl.is_minimal() {
            changes.push(put(ACCESS, acl.to_bytes()));
        }
        if inode.kind == Kind::Directory {
            // Directories below inherit it in turn. A file cannot hand anything down.
            changes.push(put(DEFAULT, default));
        }
        Ok(changes)
    }

    /// The change that brings an inode's access list in step with new permission bits.
    pub(super) fn chmod_acl(&self, ino: u64, perm: u32) -> Result<Option<Change>> {
        let Some(access) = self.store().xattr(ino, ACCESS)? else {
            return Ok(None);
        };
        let mut acl = Acl::parse(&access)?;
        acl.apply(perm, |_, bits| bits);
        Ok(Some(Change::PutXattr {
            ino,
            name: ACCESS.to_vec(),
            value: acl.to_bytes(),
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Acl {
        Acl(entries.iter().map(|&(tag, perm, id)| Entry { tag, perm, id }).collect())
    }

    #[test]
    fn round_trips_and_shows_its_mask_as_group_bits() {
        let list = acl(&[
            (USER_OBJ, 7, 0),
            (USER, 5, 1000),
            (GROUP_OBJ, 7, 0),
            (MASK, 5, 0),
            (OTHER, 1, 0),
        ]);
        assert_eq!(Acl::parse(&list.to_bytes()).unwrap(), list);
        assert_eq!(list.mode(), 0o751);
        let mut list = list;
        list.apply(0o640, |_, bits| bits);
        assert_eq!(list.mode(), 0o640);
        assert_eq!(list.0.iter().find(|entry| entry.tag == GROUP_OBJ).unwrap().perm, 7);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let named_without_mask = acl(&[(USER_OBJ, 7, 0), (USER, 5, 1), (GROUP_OBJ, 7, 0), (OTHER, 1, 0)]);
        let twice = acl(&[(USER_OBJ, 7, 0), (USER_OBJ, 7, 0), (GROUP_OBJ, 7, 0), (OTHER, 1, 0)]);
        let too_much = acl(&[(USER_OBJ, 8, 0), (GROUP_OBJ, 7, 0), (OTHER, 1, 0)]);
        for list in [named_without_mask, twice, too_much] {
            assert_eq!(Acl::parse(&list.to_bytes()).unwrap_err().errno, Errno::INVAL);
        }
        assert!(Acl::parse(b"").is_err());
        assert!(Acl::parse(&[2, 0, 0, 0, 1]).is_err());
    }
}
