//! What a check found.

use serde::{Deserialize, Serialize};

use super::parity;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Path from the store's root; empty if the inode has none.
    pub path: String,
    /// Inode.
    pub ino: u64,
    /// First byte concerned, for damaged contents.
    pub offset: Option<u64>,
    /// Bytes concerned.
    pub length: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Nothing is wrong, or not any more.
    pub clean: bool,
    /// Something was wrong and is repaired.
    pub repaired: bool,
    /// Blocks were decoded, too.
    pub data: bool,
    /// An earlier check was continued; the numbers count its work as well.
    pub resumed: bool,
    /// Inodes looked at.
    pub inodes: u64,
    /// Directory entries looked at.
    pub entries: u64,
    /// Blocks looked at.
    pub blocks: u64,
    /// Bytes that were decoded and compared with their checksums.
    pub decoded_bytes: u64,
    /// What is wrong.
    pub damage: Vec<Damage>,
    /// What the comparison with parity said; none if it was not asked for.
    pub parity: Option<parity::Summary>,
    /// What opening the store found and contained, and what is wrong with what nobody needs.
    pub warnings: Vec<String>,
}

impl Report {
    /// Takes over what the comparison with parity said.
    pub fn add_parity(&mut self, parity: parity::Summary) {
        self.clean &= parity.left() == 0;
        self.repaired |= parity.repaired() > 0;
        self.parity = Some(parity);
    }
}
