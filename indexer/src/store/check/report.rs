//! What is checked, and what was found.

/// What is checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckOptions {
    /// Read every record of the log and compare its checksum.
    pub log: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is lost: wasted space, a wrong count, damage in what nobody needs.
    Warning,
    /// Something that was stored cannot be given back, or the tree contradicts itself.
    Error,
}

/// Something that should not be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in words.
    pub what: String,
    /// The inode it concerns.
    pub ino: Option<u64>,
    /// The block of that inode.
    pub block: Option<u64>,
    /// The segment.
    pub segment: Option<u32>,
    /// The offset in that segment.
    pub offset: Option<u64>,
}

impl Finding {
    pub(in crate::store) fn new(severity: Severity, what: impl Into<String>) -> Self {
        Self {
            severity,
            what: what.into(),
            ino: None,
            block: None,
            segment: None,
            offset: None,
        }
    }

    pub(in crate::store) fn ino(mut self, ino: u64) -> Self {
        self.ino = Some(ino);
        self
    }

    pub(in crate::store) fn block(mut self, block: u64) -> Self {
        self.block = Some(block);
        self
    }

    pub(in crate::store) fn at(mut self, segment: u32, offset: u64) -> Self {
        (self.segment, self.offset) = (Some(segment), Some(offset));
        self
    }
}

/// The outcome of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// What was found, worst first.
    pub findings: Vec<Finding>,
    /// Inodes seen.
    pub inodes: u64,
    /// Directory entries seen.
    pub dirents: u64,
    /// Extents seen.
    pub extents: u64,
    /// Bytes of the log that were read.
    pub log_bytes: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}
