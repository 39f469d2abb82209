//! The log: numbered segment files of checksummed records. It is the truth; everything else is made from it.

#[cfg(test)]
mod example;
mod frame;
mod ground;
mod scan;
mod segment;
mod sync;
mod writer;

pub(crate) use frame::{FRAME_LEN, Frame, RecordKind, block_record_len, damaged, dictionary_record_len, parse_block};
pub(crate) use scan::{Item, Search, scan};
pub(crate) use segment::{Footer, HEADER_LEN, Handles, Header, Segment, segment_name, segment_number};
pub(crate) use writer::{Log, LogOptions, Measured, Resume, lock};

/// Folder of the segment files.
pub(crate) const FOLDER: &str = "segments";

/// A place in the log; places sort by age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
}
