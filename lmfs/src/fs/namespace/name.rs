//! Names, and which of them no directory may hold. Names are bytes, UTF-8 or not.

use crate::fs::error::{Errno, Error, Result};
use crate::fs::types::MAX_NAME;

/// A name in a directory.
#[derive(Clone, Copy)]
pub struct EntryName<'a> {
    /// The directory.
    pub parent: u64,
    /// The name.
    pub name: &'a [u8],
}

/// Refuses a name that is too long to be looked up.
pub fn check_length(name: &[u8]) -> Result<()> {
    if name.len() > MAX_NAME {
        return Err(Error::new(Errno::NAMETOOLONG, "a name has at most 255 bytes"));
    }
    Ok(())
}

/// Refuses what no directory may hold.
pub fn check_name(name: &[u8]) -> Result<()> {
    check_length(name)?;
    if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(Error::new(Errno::INVAL, "impossible name"));
    }
    Ok(())
}
