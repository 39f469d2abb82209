//! Writing a container.

mod head;

use std::io::{self, Write};
use std::sync::Arc;

use super::format::ContainerHeader;
use super::pipeline::Pipeline;
use super::{Assembler, Progress, StreamOptions};
use crate::{Codec, Error, Header, Result, Stop};
use head::{Head, Job};

type Coded = Result<Vec<u8>>;

/// Compresses what is written to it into one container. Call [`finish`](Encoder::finish) at the end: what was not
/// finished has no seek table and counts as truncated. Dropping it ends the work.
pub struct Encoder<W: Write> {
    output: W,
    options: StreamOptions,
    /// Until it is written.
    header: Option<ContainerHeader>,
    buffer: Vec<u8>,
    /// The first blocks, until it is clear how many of them may be the key.
    first: Option<Vec<Vec<u8>>>,
    head: Option<Arc<Head>>,
    pipeline: Pipeline<Job, Coded>,
    assembler: Assembler,
    done: Progress,
    /// A block was lost: what would follow it is not written, or nobody would notice.
    failed: bool,
}

impl<W: Write> Encoder<W> {
    /// Begins a container.
    ///
    /// # Errors
    /// Options out of range, or a failing engine.
    pub fn new(output: W, codec: Codec, options: StreamOptions) -> Result<Encoder<W>> {
        options.check()?;
        let header = ContainerHeader::new(&codec, options.block_size)?;
        let pipeline = Pipeline::new(options.threads, &options.stop, move |job: Job, stop: &Stop| {
            job.run(&codec, stop)
        });
        Ok(Encoder {
            output,
            assembler: Assembler::new(&header),
            header: Some(header),
            buffer: Vec::with_capacity(options.block_size),
            first: (Head::len(options.block_size, options.most_key, usize::MAX) > 0).then(Vec::new),
            head: None,
            options,
            pipeline,
            done: Progress::default(),
            failed: false,
        })
    }

    /// Codes what is left, writes the seek table, and returns the output.
    ///
    /// # Errors
    /// As for writing; and if writing has failed before, whatever was written since.
    pub fn finish(mut self) -> Result<W> {
        self.check()?;
        if !self.buffer.is_empty() {
            self.submit(false)?;
        }
        self.submit_first()?;
        while let Some(coded) = self.next() {
            self.store(coded?)?;
        }
        self.begin(false)?;
        self.output.write_all(&self.assembler.finish()).map_err(writing)?;
        self.output.flush().map_err(writing)?;
        Ok(self.output)
    }

    /// Writes the header, once.
    fn begin(&mut self, with_model: bool) -> Result<()> {
        let Some(header) = self.header.take() else {
            return Ok(());
        };
        let header = if with_model { header } else { header.without_model() };
        self.output.write_all(&header.to_bytes()).map_err(writing)?;
        self.assembler = Assembler::new(&header);
        self.done.stored = header.stored_len().into();
        Ok(())
    }

    fn check(&self) -> Result<()> {
        match self.failed {
            true => Err(writing(io::Error::other("it has failed before"))),
            false => Ok(()),
        }
    }

    /// Takes the block in the buffer, behind which there is more or the end.
    fn submit(&mut self, more: bool) -> Result<()> {
        self.check()?;
        // Until it has succeeded.
        self.failed = true;
        self.options.stop.check()?;
        if more {
            self.begin(true)?;
        }
        let block = std::mem::replace(&mut self.buffer, Vec::with_capacity(self.options.block_size));
        match &mut self.first {
            Some(first) => {
                first.push(block);
                // Twice the longest key: enough to tell whether it pays.
                if first.len() >= 2 * Head::len(self.options.block_size, self.options.most_key, usize::MAX) {
                    self.submit_first()?;
                }
            }
            None => {
                let job = match &self.head {
                    Some(head) => Job::Rest(Arc::clone(head), block),
                    None => Job::Alone(block),
                };
                self.hand_over(job)?;
            }
        }
        self.failed = false;
        Ok(())
    }

    /// Hands over the blocks that were kept back: as much is known of the content as is needed.
    fn submit_first(&mut self) -> Result<()> {
        let Some(mut blocks) = self.first.take() else {
            return Ok(());
        };
        let known: usize = blocks.iter().map(Vec::len).sum();
        let count = Head::len(self.options.block_size, self.options.most_key, known);
        let mut rest = blocks.split_off(count.min(blocks.len())).into_iter();
        if let Some(next) = (count > 0).then(|| rest.next()).flatten() {
            let head = Arc::new(Head::new(blocks, next, known - count * self.options.block_size));
            self.hand_over(Job::First(Arc::clone(&head)))?;
            for number in 1..=count {
                self.hand_over(Job::Head(Arc::clone(&head), number))?;
            }
            self.head = Some(head);
        }
        for block in rest {
            let job = match &self.head {
                Some(head) => Job::Rest(Arc::clone(head), block),
                None => Job::Alone(block),
            };
            self.hand_over(job)?;
        }
        Ok(())
    }

    fn hand_over(&mut self, job: Job) -> Result<()> {
        while self.pipeline.is_full() {
            match self.next() {
                Some(coded) => self.store(coded?)?,
                None => break,
            }
        }
        self.pipeline.submit(job)
    }

    /// Waits for the next block to be coded.
    fn next(&mut self) -> Option<Result<Coded>> {
        let (options, done) = (&self.options, self.done);
        self.pipeline.next(|coded| {
            // What the model codes is decoded and compared, which takes as long.
            let raw = done.raw + coded / 2;
            options.report(Progress { raw, ..done });
        })
    }

    fn store(&mut self, coded: Coded) -> Result<()> {
        let block = coded?;
        let header = Header::parse(&block)?;
        // Where it was not written yet, this is the only block: the header names the model only if the block needs it.
        self.begin(header.method.needs_model())?;
        self.output.write_all(&block).map_err(writing)?;
        self.assembler.push(&block)?;
        self.done.raw += u64::from(header.raw_len);
        self.done.stored += block.len() as u64;
        self.options.report(self.done);
        Ok(())
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == self.options.block_size && !data.is_empty() {
            self.submit(true).map_err(io::Error::other)?;
        }
        let room = self.options.block_size - self.buffer.len();
        let (part, _) = data.split_at(room.min(data.len()));
        self.buffer.extend_from_slice(part);
        Ok(part.len())
    }

    /// Flushes the output. A block that is not full stays: blocks have one size.
    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

fn writing(source: io::Error) -> Error {
    Error::io("writing the container", source)
}
