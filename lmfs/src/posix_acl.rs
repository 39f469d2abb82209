//! POSIX access control lists (man 5 acl) in the form in which the kernel passes them as extended attributes.

/// Version of the form in which the kernel passes a list (linux/posix_acl_xattr.h).
const VERSION: u32 = 2;

/// The owner.
pub const USER_OBJ: u16 = 0x01;
/// A user that is named.
pub const USER: u16 = 0x02;
/// The group.
pub const GROUP_OBJ: u16 = 0x04;
/// A group that is named.
pub const GROUP: u16 = 0x08;
/// The most that users and groups that are named may do, and the group.
pub const MASK: u16 = 0x10;
/// Everybody else.
pub const OTHER: u16 = 0x20;

/// One line of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whom it is for: [`USER_OBJ`] and so on.
    pub tag: u16,
    /// What they may do: read 4, write 2, execute 1.
    pub perm: u16,
    /// The user or group that is named.
    pub id: u32,
}

/// A list that was checked: the three base entries once each, a mask where a user or group is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl(pub Vec<Entry>);

impl Acl {
    /// The list in these bytes; none if they are malformed.
    pub fn parse(bytes: &[u8]) -> Option<Acl> {
        let (version, rest) = bytes.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*version) != VERSION || rest.len() % 8 != 0 {
            return None;
        }
        let entries = rest.chunks_exact(8).map(|chunk| match *chunk {
            [t0, t1, p0, p1, i0, i1, i2, i3] => Some(Entry {
                tag: u16::from_le_bytes([t0, t1]),
                perm: u16::from_le_bytes([p0, p1]),
                id: u32::from_le_bytes([i0, i1, i2, i3]),
            }),
            _ => None,
        });
        let acl = Acl(entries.collect::<Option<_>>()?);
        let count = |tag| acl.0.iter().filter(|entry| entry.tag == tag).count();
        let known = acl
            .0
            .iter()
            .all(|entry| entry.perm <= 7 && matches!(entry.tag, USER_OBJ | USER | GROUP_OBJ | GROUP | MASK | OTHER));
        let base = [USER_OBJ, GROUP_OBJ, OTHER].into_iter().all(|tag| count(tag) == 1);
        // Without a mask the group bits would have to show several entries at once.
        let masked = count(MASK) == 1 || (count(MASK) == 0 && count(USER) + count(GROUP) == 0);
        (known && base && masked).then_some(acl)
    }

    /// The list in bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for entry in &self.0 {
            bytes.extend(entry.tag.to_le_bytes());
            bytes.extend(entry.perm.to_le_bytes());
            bytes.extend(entry.id.to_le_bytes());
        }
        bytes
    }

    /// Whether the list says no more than permission bits do.
    pub fn is_minimal(&self) -> bool {
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
    pub fn mode(&self) -> u32 {
        let of = |tag| {
            self.0
                .iter()
                .find(|entry| entry.tag == tag)
                .map_or(0, |entry| u32::from(entry.perm))
        };
        of(USER_OBJ) << 6 | of(self.group_class()) << 3 | of(OTHER)
    }

    /// Combines the three base classes with permission bits.
    pub fn apply(&mut self, mode: u32, combine: impl Fn(u16, u16) -> u16) {
        let group_class = self.group_class();
        let bits = |shift: u32| (mode >> shift & 7) as u16;
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
            assert_eq!(Acl::parse(&list.to_bytes()), None);
        }
        assert!(Acl::parse(b"").is_none());
        assert!(Acl::parse(&[2, 0, 0, 0, 1]).is_none());
    }
}
