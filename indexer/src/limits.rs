//! Limits of what one change may hold.

/// Most extents in one change: more are more changes.
pub const MAX_EXTENTS: usize = 1 << 20;

/// Most blocks copied by one change.
pub const MAX_COPIED: u64 = 4096;

/// Most blocks copied by the changes of one transaction: each may take an entry in memory when it is applied.
pub(crate) const MAX_COPIED_TOGETHER: u64 = 1 << 20;

/// A stored block with more users than this is moved, but neither coded anew nor merged: each of them costs work.
pub const MAX_USERS: u64 = 1 << 16;

/// The most bytes of a copy.
pub const MAX_DICTIONARY: usize = (1 << 20) + 64;

/// The most copies that a dictionary may have.
pub(crate) const MAX_COPIES: usize = 4;

/// The most bytes of [`Dictionary::info`](crate::Dictionary::info).
pub(crate) const MAX_INFO: usize = 255;
