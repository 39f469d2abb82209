//! Real sizes: what lmfs makes of files, beside other compressors on the same blocks and on whole files.
//!
//! Every figure is the length of bytes that were made and could be decoded, headers counted; nothing is estimated from
//! probabilities. All compressors see the same blocks of the same files in the same run:
//!
//! ```
//! use lmfs::eval::{Compressor, Gzip, Lmfs, Options, Xz, Zstd, evaluate, find_files};
//! use lmfs_codec::{Codec, Stop};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # std::fs::write(folder.path().join("a.txt"), "to be or not to be ".repeat(500)).unwrap();
//! # let path = folder.path().to_path_buf();
//! let files = find_files(&[path])?;
//! let lmfs = Lmfs::new("lmfs", Codec::new(None, Default::default()).unwrap());
//! let compressors: [&dyn Compressor; 4] = [&lmfs, &Gzip, &Zstd, &Xz];
//! let report = evaluate(&files, &compressors, &Options::default(), &|_| (), &Stop::new())?;
//! println!("{report}");
//! assert!(report.total.blocks["lmfs"].bytes < report.total.bytes);
//! # Ok::<(), lmfs::eval::Error>(())
//! ```

mod compressor;
mod content;
mod files;
mod flac;
mod peers;
mod picture;
mod png;
mod program;
mod report;
mod sound;
pub(crate) mod table;
mod tiff;

use std::path::PathBuf;

use lmfs_codec::Stop;
use rayon::prelude::*;

use crate::proc_status::processor_time;
use crate::store::DEFAULT_BLOCK_SIZE;

pub use compressor::{Compressed, Compressor, Fault, Form, Lmfs};
pub use content::{Class, Content, SAMPLE, recognise};
pub use files::{Input, find_files};
pub use flac::Flac;
pub use peers::{Gzip, Xz, Zstd};
pub use picture::{PATCH, Picture};
pub use png::{Png, encode_png};
pub use program::Program;
pub use report::{Report, Row, Size};
pub use sound::Sound;

/// Why an evaluation could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be listed or read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The paths lead to no file with anything in it.
    #[error("nothing to evaluate: no file with any bytes in {paths}")]
    Nothing {
        /// The paths that were given.
        paths: String,
    },
    /// A compressor failed.
    #[error("{compressor} failed on {}: {reason}", path.display())]
    Compressor {
        /// Which compressor.
        compressor: String,
        /// On which file.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// The evaluation was asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// The worker threads could not be started.
    #[error("cannot start threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// How to evaluate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes a block, at least 1.
    pub block_size: usize,
    /// Evaluate the compressors that can on whole files, too.
    pub whole: bool,
    /// Worker threads; 0 for one a core.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            block_size: DEFAULT_BLOCK_SIZE as usize,
            whole: true,
            threads: 0,
        }
    }
}

/// One piece of work: a range of one file, through all compressors.
struct Task<'a> {
    file: &'a Input,
    offset: u64,
    len: usize,
    whole: bool,
}

/// Runs every compressor over every block of every file, and the ones that can over every whole file.
///
/// `progress` is called from the worker threads with the bytes of each block once all compressors are done with it;
/// whole files count as their bytes again when [`Options::whole`] is set.
///
/// # Errors
/// [`Error::Interrupted`] soon after `stop` is set; a file that cannot be read; a compressor that fails.
pub fn evaluate(
    files: &[Input],
    compressors: &[&dyn Compressor],
    options: &Options,
    progress: &(dyn Fn(u64) + Sync),
    stop: &Stop,
) -> Result<Report, Error> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads).build()?;
    let empty = || Report::new(options.block_size, files, compressors, options.whole);
    pool.install(|| {
        tasks(files, options)
            .into_par_iter()
            .map(|task| {
                let mut report = empty();
                task.run(compressors, &mut report, stop)?;
                progress(task.len as u64);
                Ok(report)
            })
            .try_reduce(empty, |left, right| Ok(left.merge(right)))
    })
}

/// All work, whole files first: they take longest.
fn tasks<'a>(files: &'a [Input], options: &Options) -> Vec<Task<'a>> {
    let task = |file: &'a Input, offset: u64, len: u64, whole| Task {
        file,
        offset,
        len: len as usize,
        whole,
    };
    let size = options.block_size.max(1) as u64;
    let whole = files
        .iter()
        .filter(|_| options.whole)
        .map(|file| task(file, 0, file.bytes, true));
    let blocks = files.iter().flat_map(|file| {
        (0..file.bytes.div_ceil(size)).map(move |n| {
            let offset = n * size;
            task(file, offset, size.min(file.bytes - offset), false)
        })
    });
    whole.chain(blocks).collect()
}

impl Task<'_> {
    fn run(&self, compressors: &[&dyn Compressor], report: &mut Report, stop: &Stop) -> Result<(), Error> {
        let raw = self.file.read(self.offset, self.len).map_err(|source| Error::Read {
            path: self.file.path.clone(),
            source,
        })?;
        for compressor in compressors {
            if stop.is_set() {
                return Err(Error::Interrupted);
            }
            if self.whole && !compressor.takes_whole_files() {
                continue;
            }
            let begun = processor_time();
            let compressed = compressor.compress(&raw, stop).map_err(|error| {
                if stop.is_set() {
                    return Error::Interrupted;
                }
                Error::Compressor {
                    compressor: compressor.name().to_owned(),
                    path: self.file.path.clone(),
                    reason: error.to_string(),
                }
            })?;
            report.count(
                self.file,
                compressor.name(),
                self.whole,
                &compressed,
                processor_time().saturating_sub(begun),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
