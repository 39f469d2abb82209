//! Finding the parts of containers: headers, blocks, seek tables; and after damage, the next thing that is intact.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

use super::ahead::Ahead;
use super::halt::{Halt, Halting};
use crate::block::KeyPart;
use crate::stream::format::{ContainerHeader, MAGIC, no_header};
use crate::stream::key::{Role, Turns};
use crate::stream::table::{END_MAGIC, SeekTable, TABLE_MAGIC, TableReader};
use crate::{Codec, Error, Header, MAX_BLOCK, Result, Stop};

/// A block with what decodes it.
pub(super) struct Stored {
    pub(super) block: Vec<u8>,
    codec: Codec,
    fingerprint: [u8; 8],
    key: Arc<Turns>,
    role: Role,
}

impl Stored {
    /// Decodes it. All blocks before it in its container must be decoded, or under way.
    pub(super) fn decode(self, stop: &Stop) -> Result<Vec<u8>> {
        self.key
            .decode(self.role, &self.codec, &self.block, &self.fingerprint, stop)
    }
}

/// A part of the content.
pub(super) enum Part {
    /// A block, of so many bytes.
    Block(Stored, usize),
    /// Bytes that cannot be had.
    Gap(u64, Error),
    /// The end of a container.
    End(SeekTable),
}

/// A container under way.
struct Current {
    codec: Codec,
    key: Arc<Turns>,
    header: ContainerHeader,
    /// The header is what its blocks seem to need.
    guessed: bool,
    stored: Vec<u32>,
    raw: u64,
    length: u64,
    /// A block was shorter than the others: it must have been the last.
    short: bool,
    /// Something was skipped, so sums will not fit.
    skipped: bool,
    /// Bytes of the input that were skipped, and how many of them before the last gap.
    lost: u64,
    lost_before: u64,
    /// Why content is missing here; what comes next says how much.
    pending: Option<Error>,
}

impl Current {
    /// Blocks that can lie in what was skipped: each has a header's length or more.
    fn lost_blocks(&self) -> u64 {
        self.lost / Header::LEN as u64
    }
}

/// On the way to the next container.
struct Search {
    /// What was wrong where one should have been; `None` behind one that was given up, which was said.
    error: Option<Error>,
    /// Bytes skipped.
    lost: u64,
}

/// Cuts an input into parts.
pub(super) struct Scanner<R, F> {
    input: Ahead<R>,
    codec_of: F,
    /// Go on after damage.
    recover: bool,
    /// Set when nobody waits for what is found.
    stop: Stop,
    current: Option<Current>,
    search: Option<Search>,
    containers: u64,
    /// Found but not asked for, and behind it what ended the search for more.
    parts: VecDeque<Halting<Part>>,
    at_end: bool,
}

impl<R: Read, F: FnMut(&ContainerHeader) -> Result<Codec>> Scanner<R, F> {
    /// A scanner that asks `codec_of` for a codec with the model that a container's header names.
    pub(super) fn new(input: R, codec_of: F, recover: bool, stop: Stop) -> Scanner<R, F> {
        Scanner {
            input: Ahead::new(input),
            codec_of,
            recover,
            stop,
            current: None,
            search: None,
            containers: 0,
            parts: VecDeque::new(),
            at_end: false,
        }
    }

    /// Bytes of the input used so far.
    pub(super) fn used(&self) -> u64 {
        self.input.used()
    }

    /// How many containers have begun.
    pub(super) fn containers(&self) -> u64 {
        self.containers
    }

    /// The next part; `None` at the end. After [`Halt::Paused`] it may be called again.
    pub(super) fn next(&mut self) -> Halting<Option<Part>> {
        while self.parts.is_empty() && !self.at_end {
            if let Err(halt) = self.advance() {
                self.parts.push_back(Err(halt));
            }
        }
        self.parts.pop_front().transpose()
    }

    /// Reads one part of the input.
    fn advance(&mut self) -> Halting<()> {
        if self.search.is_some() {
            return self.search();
        }
        let Some(mut current) = self.current.take() else {
            return self.start();
        };
        let goes_on = self.part(&mut current);
        if matches!(goes_on, Ok(true) | Err(Halt::Paused(_))) {
            self.current = Some(current);
        }
        goes_on.map(drop)
    }

    /// Reads a block or the end of a container; whether it goes on.
    fn part(&mut self, current: &mut Current) -> Halting<bool> {
        self.input.fill(Header::LEN)?;
        if self.input.get().starts_with(&TABLE_MAGIC) {
            return match self.table(current) {
                Err(Halt::Failed(error)) if self.recover => Ok(self.abandon(current, error)),
                other => other.map(|()| false),
            };
        }
        if self.input.get().starts_with(&MAGIC) || self.input.get().len() < Header::LEN {
            let reason = format!("it is truncated after {} bytes of content", current.raw);
            let error = Error::damaged("container", reason);
            if self.recover && !self.input.get().is_empty() {
                return Ok(self.abandon(current, error));
            }
            return Err(error.into());
        }
        let header = match Header::parse_prefix(self.input.get()) {
            Ok(header) => header,
            Err(error) if self.recover => return self.resync(current, error),
            Err(error @ Error::NewerFormat { .. }) => return Err(error.into()),
            Err(error) => {
                let reason = format!("{error} (content from byte {} on)", current.raw);
                return Err(Error::damaged("container", reason).into());
            }
        };
        let raw_len = header.raw_len as usize;
        if (current.short || raw_len > current.header.block_size || raw_len == 0) && !current.skipped {
            let reason = format!("a block of {raw_len} bytes where none can be");
            return Err(Error::damaged("container", reason).into());
        }
        let len = Header::LEN + header.payload_len as usize;
        self.input.fill(len)?;
        if self.input.get().len() < len {
            let reason = format!("it is truncated in the block at byte {} of the content", current.raw);
            return Err(Error::damaged("container", reason).into());
        }
        self.settle(current, current.header.block_size as u64);
        current.short = raw_len < current.header.block_size;
        let block = self.input.use_up(len);
        let begins = current.skipped && KeyPart::of(&block).is_some_and(|part| part.number == 0);
        if begins {
            // Of another container, whose header was lost with the end of this one.
            current.key = Arc::default();
        }
        let first = begins || current.stored.is_empty();
        let role = current.key.found(&block, first, current.lost_blocks() > 0);
        current.stored.push(u32::try_from(len).unwrap_or(u32::MAX));
        current.raw += raw_len as u64;
        current.length += len as u64;
        let stored = Stored {
            block,
            codec: current.codec.clone(),
            fingerprint: current.header.fingerprint,
            key: Arc::clone(&current.key),
            role,
        };
        self.parts.push_back(Ok(Part::Block(stored, raw_len)));
        Ok(true)
    }

    fn start(&mut self) -> Halting<()> {
        self.input.fill(ContainerHeader::MAX_LEN)?;
        if self.input.get().is_empty() && self.containers > 0 {
            self.at_end = true;
            return Ok(());
        }
        if self.input.get().is_empty() {
            return Err(Error::damaged("container", "it is empty").into());
        }
        let after = self.containers > 0;
        let error = match ContainerHeader::parse(self.input.get()) {
            Ok(header) => return self.open(header, None),
            Err(Error::Damaged { what, reason }) if after => Error::Damaged {
                what,
                reason: format!("after its end: {reason}"),
            },
            Err(Error::NotAContainer { .. }) if after => {
                Error::damaged("container", "after its end: what follows is no container")
            }
            Err(other) => other,
        };
        if !self.recover {
            return Err(error.into());
        }
        self.search = Some(Search {
            error: Some(error),
            lost: 0,
        });
        Ok(())
    }

    /// Goes on at the next header that is intact, or at the next block that is: then with what the header before it may
    /// have said.
    fn search(&mut self) -> Halting<()> {
        loop {
            self.stop.check()?;
            self.input.fill(ContainerHeader::MAX_LEN + Header::LEN)?;
            let Some(search) = self.search.as_mut() else {
                return Ok(());
            };
            if self.input.get().is_empty() {
                let error = self.search.take().and_then(|search| search.error);
                self.at_end = true;
                return error.map_or(Ok(()), |error| Err(error.into()));
            }
            let block = |at: usize| Header::parse_prefix(self.input.get().get(at..).unwrap_or_default());
            if let Ok(header) = ContainerHeader::parse(self.input.get()) {
                let search = self.search.take();
                if let Some(error) = search.and_then(|search| search.error) {
                    self.parts.push_back(Ok(Part::Gap(0, no_header(error))));
                }
                return self.open(header, None);
            }
            // Where a header was, or else at what looks like one.
            let here = search.lost == 0 && search.error.is_some() || self.input.get().starts_with(&MAGIC);
            let places = [
                (true, 0),
                (here, ContainerHeader::MIN_LEN),
                (here, ContainerHeader::MAX_LEN),
            ];
            let places = places.into_iter();
            let found = places.filter(|&(may, _)| may).find_map(|(_, at)| {
                let block = block(at).ok()?;
                Some((at, block.raw_len as usize))
            });
            if let Some((at, size)) = found {
                let header = ContainerHeader::guess(self.input.get().get(..at).unwrap_or_default(), size);
                let lost = Search {
                    error: search.error.take(),
                    lost: search.lost,
                };
                self.search = None;
                return self.open(header, Some((at, lost)));
            }
            let skipped = self.input.skip() as u64;
            if let Some(search) = &mut self.search {
                search.lost += skipped;
            }
        }
    }

    /// Begins a container with this header, which is ahead; or is guessed, with so many bytes of it ahead and what was
    /// lost before them.
    fn open(&mut self, header: ContainerHeader, guessed: Option<(usize, Search)>) -> Halting<()> {
        let codec = header.codec(guessed.is_some(), &mut self.codec_of)?;
        let is_guessed = guessed.is_some();
        let stored_len = header.stored_len();
        let (ahead, search) = guessed.unwrap_or((stored_len.into(), Search { error: None, lost: 0 }));
        self.input.use_up(ahead);
        self.containers += 1;
        // Bytes before a header were not of this container; of those before a block, some were its header.
        let lost = match ahead {
            0 => search.lost.saturating_sub(ContainerHeader::MAX_LEN as u64),
            _ => 0,
        };
        let mut current = Current {
            codec,
            key: Arc::default(),
            header,
            guessed: is_guessed,
            stored: Vec::new(),
            raw: 0,
            length: u64::from(stored_len) + lost,
            short: false,
            skipped: is_guessed,
            lost,
            lost_before: 0,
            pending: None,
        };
        if is_guessed {
            let error = search
                .error
                .map_or_else(|| Error::damaged("container", "its header is damaged"), no_header);
            if current.lost_blocks() == 0 {
                self.parts.push_back(Ok(Part::Gap(0, error)));
            } else {
                current.pending = Some(error);
            }
        }
        self.current = Some(current);
        Ok(())
    }

    fn table(&mut self, current: &mut Current) -> Halting<()> {
        let blocks = current.stored.len() as u64;
        self.input.fill(8)?;
        let said = self
            .input
            .get()
            .get(4..8)
            .and_then(|bytes| bytes.first_chunk())
            .map_or(0, |count| u32::from_le_bytes(*count));
        // The count was not checked yet: never read more than the table of the blocks that were seen or may have been
        // lost.
        if !(blocks..=blocks + current.lost_blocks()).contains(&u64::from(said)) {
            let reason = format!("{blocks} blocks where its seek table has {said}");
            return Err(Error::damaged("container", reason).into());
        }
        let (mut reader, mut len) = (TableReader::new(said, current.length)?, 0);
        let table = loop {
            self.stop.check()?;
            let end = len + reader.wants();
            self.input.fill(end)?;
            if let Some(table) = reader.take(self.input.get().get(len..end).unwrap_or_default())? {
                len = end;
                break table;
            }
            len = end;
        };
        let fits = table.stored == current.stored
            && table.raw_len == current.raw
            && table.header_len == current.header.stored_len();
        let size = match current.guessed {
            true => MAX_BLOCK,
            false => current.header.block_size,
        };
        if !table.holds(size) || (!fits && !current.skipped) {
            let reason = "its blocks are not those of its seek table";
            return Err(Error::damaged("container", reason).into());
        }
        self.input.use_up(len);
        self.settle(current, table.raw_len.saturating_sub(current.raw));
        if current.skipped && table.raw_len != current.raw {
            let reason = format!(
                "{} bytes were found, {} were there: what follows a gap may be shifted",
                current.raw, table.raw_len
            );
            self.parts
                .push_back(Ok(Part::Gap(0, Error::damaged("container", reason))));
        }
        self.parts.push_back(Ok(Part::End(table)));
        Ok(())
    }

    /// After a block header that is damaged: goes on at the next thing that is intact, and takes what lies between for
    /// one block, unless what follows says how much it was. Whether the container goes on.
    fn resync(&mut self, current: &mut Current, error: Error) -> Halting<bool> {
        // Something pending: the same gap, in which the input paused before what is ahead was looked at.
        let mut resumed = current.pending.is_some();
        if !resumed {
            current.skipped = true;
            current.lost_before = current.lost;
            current.pending = Some(error);
        }
        loop {
            if !std::mem::take(&mut resumed) {
                let skipped = self.input.skip() as u64;
                current.length += skipped;
                current.lost += skipped;
            }
            self.stop.check()?;
            self.input.fill(Header::LEN)?;
            if self.input.get().starts_with(&END_MAGIC) {
                let table = SeekTable::len(current.stored.len() as u64) - END_MAGIC.len() as u64;
                let damaged = Error::damaged("container", "its seek table is damaged");
                // Only the table's first bytes are not what they were.
                let only = current.lost - current.lost_before == table;
                let error = current.pending.take_if(|_| only).unwrap_or(damaged);
                return Ok(self.abandon(current, error));
            }
            if self.input.get().len() < Header::LEN
                || self.input.get().starts_with(&TABLE_MAGIC)
                || self.input.get().starts_with(&MAGIC)
                || Header::parse_prefix(self.input.get()).is_ok()
            {
                return Ok(true);
            }
        }
    }

    /// Adds the gap that is pending, of so many bytes.
    fn settle(&mut self, current: &mut Current, len: u64) {
        if let Some(error) = current.pending.take() {
            current.raw += len;
            self.parts.push_back(Ok(Part::Gap(len, error)));
        }
    }

    /// Gives up a container whose end cannot be read. Returns false: this one is over.
    fn abandon(&mut self, current: &mut Current, error: Error) -> bool {
        self.settle(current, current.header.block_size as u64);
        self.parts.push_back(Ok(Part::Gap(0, error)));
        self.search = Some(Search { error: None, lost: 0 });
        false
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::Options;

    /// Scans all of `bytes`; how many were copied within memory.
    fn moved(bytes: &[u8]) -> u64 {
        let codec = Codec::new(None, Options::default()).unwrap();
        let mut scanner = Scanner::new(bytes, |_: &_| Ok(codec.clone()), true, Stop::new());
        while let Ok(Some(_)) = scanner.next() {}
        assert_eq!(scanner.used() + scanner.input.get().len() as u64, bytes.len() as u64);
        scanner.input.moved()
    }

    /// Regression: recovery took quadratic time where a table that was lost claims many blocks, and bytes follow that
    /// look like the start of something: 14 s for 8 MB.
    #[test]
    fn recovery_takes_time_proportional_to_the_input() {
        let header = ContainerHeader {
            version: ContainerHeader::VERSION,
            block_size: 4096,
            model: None,
            fingerprint: [0; 8],
        };
        let codec = Codec::new(None, Options::default()).unwrap();
        let small = codec.stage(b"a").unwrap();
        for len in [1_usize << 18, 1 << 20, 1 << 22] {
            let lost = len * 26 / 30;
            let blocks = (lost / 26) as u32;
            let before = [
                &header.to_bytes()[..],
                &codec.stage(&[7; 4096]).unwrap(),
                &vec![0; lost],
            ]
            .concat();
            let table = [&TABLE_MAGIC[..], &(blocks + 1).to_le_bytes()].concat();
            let entries: [(&str, Vec<u8>); 3] = [
                ("bytes of magics", vec![0xb5; blocks as usize * 4 + 25]),
                ("entries that are possible", [27, 0, 0, 0].repeat(blocks as usize + 6)),
                ("blocks", small.repeat(len / 8 / small.len())),
            ];
            for (what, entries) in entries {
                let bytes = [&before[..], &table, &entries, &entries].concat();
                let moved = moved(&bytes);
                println!("{} bytes with {what}: {moved} moved", bytes.len());
                assert!(moved <= 2 * bytes.len() as u64, "{what}: {moved} of {}", bytes.len());
            }
        }
    }
}
