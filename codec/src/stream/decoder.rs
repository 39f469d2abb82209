//! Reading containers from their beginning.

mod ahead;
mod halt;
mod scan;

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;

use super::format::ContainerHeader;
use super::pipeline::Pipeline;
use super::table::SeekTable;
use super::{Progress, StreamOptions};
use crate::dictionary_id::DictionaryId;
use crate::{Codec, Error, MAX_BLOCK, Result, Stop};
use halt::{Halt, Halting};
use scan::{Part, Scanner, Stored};

/// What comes next in the content.
enum Step {
    /// A block in the pipeline, of so many bytes and as many stored ones.
    Block(usize, usize),
    /// Bytes that cannot be had.
    Gap(u64, Error),
    /// The end of a container.
    End(SeekTable),
    /// Nothing, now or for ever.
    Halt(Halt),
}

type Decoded = Result<Vec<u8>>;

/// Decompresses one container or several in a row. All intact blocks come out before the error of a damaged one.
pub struct Decoder<R, F> {
    scanner: Scanner<R, F>,
    options: StreamOptions,
    pipeline: Option<Pipeline<Stored, Decoded>>,
    steps: VecDeque<Step>,
    /// Of the blocks in the pipeline.
    inside: Progress,
    /// Bytes of a gap that are still to come.
    zeros_left: u64,
    crc: crc32fast::Hasher,
    done: Progress,
    chunk: Vec<u8>,
    taken: usize,
    at_end: bool,
    /// An error was returned after which nothing can follow.
    failed: bool,
    missing: Vec<(Range<u64>, Error)>,
    gaps: u64,
    /// A block was decoded.
    decoded: bool,
    /// A dictionary that is not here, for which a block became a gap.
    lacking: Option<DictionaryId>,
}

/// Gaps that are listed at most, however many a damaged input has.
const MOST_LISTED: usize = 10_000;

impl<R: Read, F: FnMut(&ContainerHeader) -> Result<Codec>> Decoder<R, F> {
    /// A decoder that asks `codec_of` for a codec with the model that a container's header names.
    pub fn new(input: R, codec_of: F, options: StreamOptions) -> Decoder<R, F> {
        Decoder {
            scanner: Scanner::new(input, codec_of, options.recover, options.stop.clone()),
            options,
            pipeline: None,
            steps: VecDeque::new(),
            inside: Progress::default(),
            zeros_left: 0,
            crc: crc32fast::Hasher::new(),
            done: Progress::default(),
            chunk: Vec::new(),
            taken: 0,
            at_end: false,
            failed: false,
            missing: Vec::new(),
            gaps: 0,
            decoded: false,
            lacking: None,
        }
    }

    /// With [`StreamOptions::recover`]: which bytes of the content are zeros because they could not be had, and why.
    /// The first 10,000 [gaps](Decoder::gaps) are listed.
    pub fn missing(&self) -> &[(Range<u64>, Error)] {
        &self.missing
    }

    /// How many gaps there are.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    pub(super) fn into_gaps(self) -> (Vec<(Range<u64>, Error)>, u64) {
        (self.missing, self.gaps)
    }

    /// The next bytes of the content, about a block at a time; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Damaged`], once all that lies before the damage was returned; whatever `codec_of` or the input reports.
    /// After an error of the input the call may be repeated; after any other, all further calls fail.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>> {
        if self.failed {
            return Err(Error::damaged("container", "reading it has failed before"));
        }
        match self.chunk() {
            Ok(chunk) => Ok(chunk),
            Err(Halt::Paused(error)) => {
                self.at_end = false;
                Err(error)
            }
            Err(Halt::Failed(error)) => {
                self.failed = true;
                Err(error)
            }
        }
    }

    fn chunk(&mut self) -> Halting<Option<Vec<u8>>> {
        loop {
            self.options.stop.check()?;
            if self.zeros_left > 0 {
                return Ok(Some(self.zeros()));
            }
            while !self.at_end && !self.pipeline.as_ref().is_some_and(Pipeline::is_full) && self.steps.len() < 1000 {
                match self.scanner.next().and_then(|part| self.take(part)) {
                    Ok(goes_on) => self.at_end = !goes_on,
                    Err(halt) => {
                        self.at_end = true;
                        self.steps.push_back(Step::Halt(halt));
                    }
                }
            }
            match self.steps.pop_front() {
                None => return self.ended(),
                Some(Step::Block(raw, stored)) => match self.block(raw, stored) {
                    // A damaged byte may name any dictionary.
                    Err(error @ Error::MissingDictionary { id }) if self.options.recover => {
                        self.lacking.get_or_insert(id);
                        self.gap(raw as u64, error);
                    }
                    Err(error) if self.options.recover && error.is_damage() => self.gap(raw as u64, error),
                    Err(error) => return Err(self.located(error).into()),
                    bytes => return Ok(bytes.map(Some)?),
                },
                Some(Step::Gap(len, error)) => self.gap(len, error),
                Some(Step::End(table)) => self.end(&table)?,
                Some(Step::Halt(Halt::Failed(error)))
                    if self.options.recover && self.scanner.containers() > 0 && error.is_damage() =>
                {
                    self.gap(0, error);
                    return self.ended();
                }
                Some(Step::Halt(halt)) => return Err(halt),
            }
        }
    }

    /// The end. Content of which no block can be decoded without a dictionary is not recovered: it needs that one.
    fn ended(&self) -> Halting<Option<Vec<u8>>> {
        match self.lacking.filter(|_| !self.decoded) {
            Some(id) => Err(Error::MissingDictionary { id }.into()),
            None => Ok(None),
        }
    }

    /// Takes a part in; whether there may be more.
    fn take(&mut self, part: Option<Part>) -> Halting<bool> {
        let step = match part {
            None => return Ok(false),
            Some(Part::Block(stored, len)) => {
                let pipeline = self.pipeline.get_or_insert_with(|| {
                    let work = |stored: Stored, stop: &Stop| stored.decode(stop);
                    Pipeline::new(self.options.threads, &self.options.stop, work)
                });
                let stored_len = stored.block.len();
                pipeline.submit(stored)?;
                self.inside.raw += len as u64;
                self.inside.stored += stored_len as u64;
                Step::Block(len, stored_len)
            }
            Some(Part::Gap(len, error)) => Step::Gap(len, error),
            Some(Part::End(table)) => Step::End(table),
        };
        self.steps.push_back(step);
        Ok(true)
    }

    fn report(&mut self) {
        self.done.stored = self.scanner.used().saturating_sub(self.inside.stored);
        self.options.report(self.done);
    }

    /// The next block of the pipeline, of so many bytes and as many stored ones.
    fn block(&mut self, raw: usize, stored: usize) -> Result<Vec<u8>> {
        let (inside, done, options) = (self.inside, self.done, &self.options);
        let waiting = |coded: u64| {
            let share = coded as f64 / inside.raw.max(1) as f64;
            options.report(Progress {
                raw: done.raw + coded,
                stored: done.stored + (inside.stored as f64 * share) as u64,
            });
        };
        let next = self.pipeline.as_mut().and_then(|pipeline| pipeline.next(waiting));
        self.inside.raw -= raw as u64;
        self.inside.stored -= stored as u64;
        let raw = next.ok_or_else(|| Error::damaged("container", "a block is missing"))???;
        self.decoded = true;
        self.crc.update(&raw);
        self.done.raw += raw.len() as u64;
        self.report();
        Ok(raw)
    }

    fn gap(&mut self, len: u64, error: Error) {
        let range = self.done.raw..self.done.raw.saturating_add(len);
        self.gaps += 1;
        if self.missing.len() < MOST_LISTED {
            self.missing.push((range, error));
        }
        self.zeros_left = len;
    }

    /// Some bytes of a gap.
    fn zeros(&mut self) -> Vec<u8> {
        let len = self.zeros_left.min(MAX_BLOCK as u64);
        self.zeros_left -= len;
        self.done.raw = self.done.raw.saturating_add(len);
        self.report();
        vec![0; len as usize]
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
        // Taking nothing here would look like the end of the content.
        let (_, rest) = self.chunk.split_at(self.taken);
        let len = rest.len().min(buffer.len());
        let ((to, _), (from, _)) = (buffer.split_at_mut(len), rest.split_at(len));
        to.copy_from_slice(from);
        self.taken += len;
        Ok(len)
    }
}
