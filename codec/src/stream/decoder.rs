//! Reading containers from their beginning.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;

use super::format::{ContainerHeader, FOOTER_MAGIC, Footer, MAGIC, SeekTable, TABLE_MAGIC};
use super::pipeline::Pipeline;
use super::{Progress, StreamOptions};
use crate::block::decode_as;
use crate::{Codec, Error, Header, Result, Stop};

/// What comes next in the content.
enum Step {
    /// A block in the pipeline, of so many bytes.
    Block(usize),
    /// Bytes that cannot be had.
    Gap(usize, Error),
    /// The end of a container.
    End(SeekTable),
    /// Nothing more can be read.
    Failed(Error),
}

/// A container under way.
struct Current {
    codec: Codec,
    header: ContainerHeader,
    stored: Vec<u32>,
    raw: u64,
    length: u64,
    /// A block was shorter than the others: it must have been the last.
    short: bool,
    /// Something was skipped, so sums will not fit.
    skipped: bool,
    /// Bytes of the input that were skipped.
    lost: u64,
    /// Why content is missing here; what comes next says how much.
    pending: Option<Error>,
}

impl Current {
    /// Bytes of content that can lie in what was skipped: a block each that has a header's length or more.
    fn room(&self) -> u64 {
        self.lost / Header::LEN as u64 * self.header.block_size as u64
    }
}

/// A block with what decodes it.
type Stored = (Codec, ContainerHeader, Vec<u8>);
type Decoded = Result<Vec<u8>>;

/// Decompresses one container or several in a row. All intact blocks come out before the error of a damaged one.
pub struct Decoder<R, F> {
    input: R,
    codec_of: F,
    options: StreamOptions,
    /// Read but not used.
    ahead: Vec<u8>,
    current: Option<Current>,
    containers: u64,
    pipeline: Option<Pipeline<Stored, Decoded>>,
    steps: VecDeque<Step>,
    crc: crc32fast::Hasher,
    done: Progress,
    chunk: Vec<u8>,
    taken: usize,
    at_end: bool,
    /// The input has reported an error; reading may go on where it was.
    paused: bool,
    /// An error was returned after which nothing can follow.
    failed: bool,
    missing: Vec<(Range<u64>, Error)>,
}

impl<R: Read, F: FnMut(&ContainerHeader) -> Result<Codec>> Decoder<R, F> {
    /// A decoder that asks `codec_of` for a codec with the model that a container's header names.
    pub fn new(input: R, codec_of: F, options: StreamOptions) -> Decoder<R, F> {
        Decoder {
            input,
            codec_of,
            options,
            ahead: Vec::new(),
            current: None,
            containers: 0,
            pipeline: None,
            steps: VecDeque::new(),
            crc: crc32fast::Hasher::new(),
            done: Progress::default(),
            chunk: Vec::new(),
            taken: 0,
            at_end: false,
            paused: false,
            failed: false,
            missing: Vec::new(),
        }
    }

    /// With [`StreamOptions::recover`]: which bytes of the content are zeros because they could not be had, and why.
    pub fn missing(&self) -> &[(Range<u64>, Error)] {
        &self.missing
    }

    pub(super) fn into_missing(self) -> Vec<(Range<u64>, Error)> {
        self.missing
    }

    /// The next bytes of the content, about a block at a time; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Damaged`], once all that lies before the damage was returned; whatever `codec_of` or the input reports. After
    /// an error of the input the call may be repeated; after any other, all further calls fail.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>> {
        if self.failed {
            return Err(Error::damaged("container", "reading it has failed before"));
        }
        let chunk = self.chunk();
        match &chunk {
            Err(_) if std::mem::take(&mut self.paused) => self.at_end = false,
            Err(_) => self.failed = true,
            Ok(_) => {}
        }
        chunk
    }

    fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            self.options.stop.check()?;
            while !self.at_end && !self.pipeline.as_ref().is_some_and(Pipeline::is_full) && self.steps.len() < 1000 {
                if let Err(error) = self.advance() {
                    self.at_end = true;
                    self.steps.push_back(Step::Failed(error));
                }
            }
            match self.steps.pop_front() {
                None => return Ok(None),
                Some(Step::Block(len)) => return self.block(len).map(Some),
                Some(Step::Gap(len, error)) => return Ok(Some(self.gap(len, error))),
                Some(Step::End(table)) => self.end(&table)?,
                Some(Step::Failed(error)) if self.options.recover && self.containers > 0 && !self.paused => {
                    self.missing.push((self.done.raw..self.done.raw, error));
                    return Ok(None);
                }
                Some(Step::Failed(error)) => return Err(error),
            }
        }
    }

    fn block(&mut self, len: usize) -> Result<Vec<u8>> {
        match self.pipeline.as_mut().and_then(Pipeline::next) {
            Some(Ok(Ok(raw))) => {
                self.crc.update(&raw);
                self.done.raw += raw.len() as u64;
                self.options.report(self.done);
                Ok(raw)
            }
            // The model may seem to be another one because the container's header is damaged.
            Some(Ok(Err(error @ (Error::Damaged { .. } | Error::MissingModel { .. } | Error::ForeignNumerics))))
                if self.options.recover =>
            {
                Ok(self.gap(len, error))
            }
            Some(Ok(Err(error)) | Err(error)) => Err(self.located(error)),
            None => Err(Error::damaged("container", "a block is missing")),
        }
    }

    fn gap(&mut self, len: usize, error: Error) -> Vec<u8> {
        let end = self.done.raw + len as u64;
        self.missing.push((self.done.raw..end, error));
        self.done.raw = end;
        self.crc.update(&vec![0; len]);
        vec![0; len]
    }

    fn located(&self, error: Error) -> Error {
        match error {
            Error::Damaged { what, reason } => Error::Damaged {
                what,
                reason: format!("{reason} (content from byte {} on)", self.done.raw),
            },
            other => other,
        }
    }

    fn end(&mut self, table: &SeekTable) -> Result<()> {
        let crc = std::mem::take(&mut self.crc).finalize();
        if crc != table.raw_crc && self.missing.is_empty() {
            let reason = format!(
                "CRC-32 of the content is {crc:08x}, the seek table says {:08x}",
                table.raw_crc
            );
            return Err(Error::damaged("container", reason));
        }
        Ok(())
    }

    /// Reads one part of the input.
    fn advance(&mut self) -> Result<()> {
        let Some(mut current) = self.current.take() else {
            return self.start();
        };
        let goes_on = self.part(&mut current);
        if self.paused || matches!(goes_on, Ok(true)) {
            self.current = Some(current);
        }
        goes_on.map(|_| ())
    }

    /// Reads a block or the end of a container; whether it goes on.
    fn part(&mut self, current: &mut Current) -> Result<bool> {
        self.fill(Header::LEN)?;
        if self.ahead.starts_with(&TABLE_MAGIC) {
            return match self.table(current) {
                Err(error) if self.options.recover && !self.paused => self.abandon(current, error),
                other => other.map(|()| false),
            };
        }
        if self.ahead.starts_with(&MAGIC) || self.ahead.len() < Header::LEN {
            let reason = format!("it is truncated after {} bytes of content", current.raw);
            let error = Error::damaged("container", reason);
            if self.options.recover && !self.ahead.is_empty() {
                return self.abandon(current, error);
            }
            return Err(error);
        }
        let header = match Header::parse_prefix(&self.ahead) {
            Ok(header) => header,
            Err(error) if self.options.recover => return self.resync(current, error),
            Err(error @ Error::NewerFormat { .. }) => return Err(error),
            Err(error) => {
                let reason = format!("{error} (content from byte {} on)", current.raw);
                return Err(Error::damaged("container", reason));
            }
        };
        let raw_len = header.raw_len as usize;
        if (current.short || raw_len > current.header.block_size || raw_len == 0) && !current.skipped {
            return Err(Error::damaged(
                "container",
                format!("a block of {raw_len} bytes where none can be"),
            ));
        }
        let len = Header::LEN + header.payload_len as usize;
        self.fill(len)?;
        if self.ahead.len() < len {
            return Err(Error::damaged(
                "container",
                format!("it is truncated in the block at byte {} of the content", current.raw),
            ));
        }
        self.settle(current, current.header.block_size as u64);
        current.short = raw_len < current.header.block_size;
        let block = self.use_up(len);
        current.stored.push(u32::try_from(len).unwrap_or(u32::MAX));
        current.raw += raw_len as u64;
        current.length += len as u64;
        let job = (current.codec.clone(), current.header.clone(), block);
        let pipeline = match &mut self.pipeline {
            Some(pipeline) => pipeline,
            empty => {
                let work =
                    |(codec, header, block): Stored, stop: &Stop| decode_as(&codec, &block, &header.fingerprint, stop);
                empty.insert(Pipeline::new(self.options.threads, &self.options.stop, work))
            }
        };
        pipeline.submit(job)?;
        self.steps.push_back(Step::Block(raw_len));
        Ok(true)
    }

    fn start(&mut self) -> Result<()> {
        self.fill(ContainerHeader::LEN)?;
        if self.ahead.is_empty() && self.containers > 0 {
            self.at_end = true;
            return Ok(());
        }
        if self.ahead.is_empty() {
            return Err(Error::damaged("container", "it is empty"));
        }
        let after = self.containers > 0;
        let parsed = ContainerHeader::parse(&self.ahead).map_err(|error| match error {
            Error::Damaged { what, reason } if after => Error::Damaged {
                what,
                reason: format!("after its end: {reason}"),
            },
            Error::NotAContainer { .. } if after => {
                Error::damaged("container", "after its end: what follows is no container")
            }
            other => other,
        });
        let skipped = parsed.is_err();
        let header = match parsed {
            Err(error) if self.options.recover => match self.next_container()? {
                Some(header) => {
                    // There is one: only its first bytes are not what they were.
                    let error = match error {
                        Error::NotAContainer { .. } => {
                            Error::damaged("container", "it does not start like an .lmz file")
                        }
                        other => other,
                    };
                    self.steps.push_back(Step::Gap(0, error));
                    header
                }
                None => return Err(error),
            },
            other => other?,
        };
        self.use_up(ContainerHeader::LEN);
        self.containers += 1;
        let codec = (self.codec_of)(&header)?;
        let length = ContainerHeader::LEN as u64;
        self.current = Some(Current {
            codec,
            header,
            stored: Vec::new(),
            raw: 0,
            length,
            short: false,
            skipped,
            lost: 0,
            pending: None,
        });
        Ok(())
    }

    /// Where a header should be and is damaged: what it seems to say if a block follows it, or else the next header that is
    /// intact. It is what is ahead then. `None` if there is neither.
    fn next_container(&mut self) -> Result<Option<ContainerHeader>> {
        self.fill(ContainerHeader::LEN + Header::LEN)?;
        let behind = self.ahead.get(ContainerHeader::LEN..).unwrap_or_default();
        if Header::parse_prefix(behind).is_ok() {
            return Ok(Some(ContainerHeader::guess(&self.ahead)));
        }
        while !self.ahead.is_empty() {
            self.skip();
            self.fill(ContainerHeader::LEN)?;
            if let Ok(header) = ContainerHeader::parse(&self.ahead) {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// Drops what is ahead up to the next byte that every magic begins with, at least one byte; returns how many.
    fn skip(&mut self) -> usize {
        let next = self.ahead.iter().skip(1).position(|&byte| byte == 0xb5);
        let skip = next.map_or(self.ahead.len(), |at| at + 1);
        self.ahead.drain(..skip);
        skip
    }

    fn table(&mut self, current: &mut Current) -> Result<()> {
        let blocks = current.stored.len() as u64;
        self.fill(8)?;
        let said = self
            .ahead
            .get(4..8)
            .and_then(|bytes| bytes.first_chunk())
            .map_or(0, |count| u32::from_le_bytes(*count));
        // The count was not checked yet: never read more than the table of the blocks that were seen, and of those that the
        // bytes skipped may have been.
        let most = blocks + current.lost.div_ceil(Header::LEN as u64);
        if u64::from(said) < blocks || u64::from(said) > most {
            return Err(Error::damaged(
                "container",
                format!("{blocks} blocks where its seek table has {said}"),
            ));
        }
        let len = SeekTable::len(u64::from(said)) as usize;
        self.fill(len + Footer::LEN)?;
        let table = SeekTable::parse(self.ahead.get(..len).unwrap_or_default())?;
        let footer = Footer::parse(self.ahead.get(len..len + Footer::LEN).unwrap_or_default())?;
        self.use_up(len + Footer::LEN);
        self.settle(current, table.raw_len.saturating_sub(current.raw).min(current.room()));
        let whole = current.length + (len + Footer::LEN) as u64;
        let fits = table.stored == current.stored
            && table.raw_len == current.raw
            && footer
                == Footer {
                    table_len: len as u64,
                    container_len: whole,
                };
        if !fits && !current.skipped {
            return Err(Error::damaged(
                "container",
                "its blocks are not those of its seek table",
            ));
        }
        if current.skipped && table.raw_len != current.raw {
            let reason = format!(
                "{} bytes were found, {} were there: what follows a gap may be shifted",
                current.raw, table.raw_len
            );
            self.steps.push_back(Step::Gap(0, Error::damaged("container", reason)));
        }
        self.steps.push_back(Step::End(table));
        Ok(())
    }

    /// After a block header that is damaged: goes on at the next thing that is intact, and takes what lies between for
    /// one block, unless what follows says how much it was. Whether the container goes on.
    fn resync(&mut self, current: &mut Current, error: Error) -> Result<bool> {
        current.skipped = true;
        let before = current.lost;
        loop {
            let skipped = self.skip() as u64;
            current.length += skipped;
            current.lost += skipped;
            self.fill(Header::LEN)?;
            if self.ahead.starts_with(&FOOTER_MAGIC) {
                let table = SeekTable::len(current.stored.len() as u64);
                // Only the table's first bytes are not what they were.
                if current.lost - before != table {
                    current.pending = Some(error);
                    return self.abandon(current, Error::damaged("container", "its seek table is damaged"));
                }
                return self.abandon(current, error);
            }
            if self.ahead.len() < Header::LEN
                || self.ahead.starts_with(&TABLE_MAGIC)
                || self.ahead.starts_with(&MAGIC)
                || Header::parse_prefix(&self.ahead).is_ok()
            {
                current.pending = Some(error);
                return Ok(true);
            }
        }
    }

    /// Adds the gap that is pending, of so many bytes.
    fn settle(&mut self, current: &mut Current, len: u64) {
        if let Some(error) = current.pending.take() {
            current.raw += len;
            self.steps
                .push_back(Step::Gap(usize::try_from(len).unwrap_or_default(), error));
        }
    }

    /// Gives up a container whose end cannot be read, and goes on at the next one. Returns false: this one is over.
    fn abandon(&mut self, current: &mut Current, error: Error) -> Result<bool> {
        self.settle(current, current.header.block_size as u64);
        self.steps.push_back(Step::Gap(0, error));
        while !self.ahead.is_empty() && !self.ahead.starts_with(&MAGIC) {
            self.skip();
            self.fill(MAGIC.len())?;
        }
        Ok(false)
    }

    /// Reads until `len` bytes are ahead, or the input ends.
    fn fill(&mut self, len: usize) -> Result<()> {
        let want = len.saturating_sub(self.ahead.len()) as u64;
        let mut limited = (&mut self.input).take(want);
        limited.read_to_end(&mut self.ahead).map_err(|source| {
            self.paused = true;
            Error::io("reading the container", source)
        })?;
        Ok(())
    }

    fn use_up(&mut self, len: usize) -> Vec<u8> {
        let rest = self.ahead.split_off(len.min(self.ahead.len()));
        self.done.stored += self.ahead.len() as u64;
        std::mem::replace(&mut self.ahead, rest)
    }
}

impl<R: Read, F: FnMut(&ContainerHeader) -> Result<Codec>> Read for Decoder<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.chunk.len() {
            match self.next_chunk() {
                Ok(Some(chunk)) => (self.chunk, self.taken) = (chunk, 0),
                Ok(None) => return Ok(0),
                Err(Error::Io { source, .. }) => return Err(source),
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
        let rest = self.chunk.get(self.taken..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..len), rest.get(..len)) {
            to.copy_from_slice(from);
        }
        self.taken += len;
        Ok(len)
    }
}
