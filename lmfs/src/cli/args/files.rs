//! Commands for files, models and measuring.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lmfs_codec::model::EngineChoice;

use super::measure::Paper;
use crate::byte_size;
use crate::cli::level::LevelFlags;

/// Help of `--model` where the file names its model.
pub const READING_MODEL: &str = "GGUF file that the files were compressed with, if that is not a built-in model";

const TRAIN_EXAMPLES: &str = "\
Examples:
  lmfs train samples/ -o logs.dict
  lmfs compress -D logs.dict today.log
  lmfs decompress -D logs.dict today.log.lmz

Small files and small blocks of data like the samples take much less space with a dictionary. Any file of at most \
1 MiB can be one. Keep it: files that were compressed with it cannot be read without it.";

const STREAM_EXAMPLES: &str = "\
Examples:
  lmfs compress notes.txt                  makes notes.txt.lmz, keeps notes.txt
  lmfs decompress -c notes.txt.lmz | less
  tar -I 'lmfs compress' -cf docs.tar.lmz docs
  tar -I 'lmfs compress' -xf docs.tar.lmz
  lmfs compress -1 -c big | ssh host lmfs decompress -o big

Levels (--model and --block-size override parts of a level):
  -1 -2    zstd, fast and stronger, blocks of 1 MiB
  -3 -4    adaptive models, blocks of 128 KiB and 256 KiB
  -5       language model tiny, blocks of 256 KiB
  -6       language model small, blocks of 256 KiB (default)
  -7 -8    the same, blocks of 512 KiB and 1 MiB, slower at random
  -9       the same with more context, smallest and slowest

docs/BENCHMARKS.md lists sizes and speeds.

An output file appears only when it is complete. It has the mode, times and, where permitted, the owner of its input.";

/// The model to compress with, and the engine that runs it.
#[derive(Debug, Args)]
pub struct ModelChoice {
    /// Language model: builtin:NAME, the path of a GGUF file, or none [default: the best built-in model]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Engine for compressing: exact (same bits on every machine), llama (llama.cpp, any model it loads) or auto (exact
    /// if it supports the model). When decompressing, the file names its engine
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    pub engine: EngineChoice,
}

/// `lmfs compress` and `lmfs decompress`
#[derive(Debug, Args)]
#[command(after_help = STREAM_EXAMPLES)]
pub struct Stream {
    /// Input files (default or -: standard input)
    pub files: Vec<PathBuf>,
    /// Write to standard output
    #[arg(short = 'c', long)]
    pub stdout: bool,
    /// Decompress (tar calls `lmfs compress -d`)
    #[arg(short, long)]
    pub decompress: bool,
    /// Keep the input file (default)
    #[arg(short, long)]
    pub keep: bool,
    /// Overwrite existing files, write compressed data to a terminal, read special files without -c or -o
    #[arg(short, long)]
    pub force: bool,
    /// Name of the output
    #[arg(short, long, value_name = "FILE", conflicts_with = "stdout")]
    pub output: Option<PathBuf>,
    /// Remove the input when the output is complete
    #[arg(long, conflicts_with_all = ["stdout", "keep"])]
    pub rm: bool,
    /// Blocks coded in parallel, where 0 means one per core. Each takes up to 136 MiB for tables (34 MiB at -6)
    #[arg(short = 'T', long, value_name = "N", default_value_t = 0, hide_default_value = true,
        value_parser = clap::value_parser!(u16).range(..=1024))]
    pub threads: u16,
    /// The compression level.
    #[command(flatten)]
    pub level: LevelFlags,
    /// The model and its engine.
    #[command(flatten)]
    pub choice: ModelChoice,
    /// Block size, a power of two from 4KiB to 1MiB [default: the level's, 256KiB for -6]
    #[arg(long, value_name = "SIZE", value_parser = byte_size::parse_block_size)]
    pub block_size: Option<u32>,
    /// Let the start of the input, up to SIZE, be a dictionary for the rest, where that saves space. Reading at random
    /// decodes it once. 0: never [default: 1MiB, from -3 on]
    #[arg(long, value_name = "SIZE", value_parser = byte_size::parse)]
    pub key_size: Option<u64>,
    /// Dictionary, such as `lmfs train` makes. Decompressing needs the same. May be given several times
    #[arg(short = 'D', long = "dictionary", value_name = "FILE")]
    pub dictionaries: Vec<PathBuf>,
    /// When decompressing, continue after damage: fill missing bytes with zeros and report them
    #[arg(long)]
    pub recover: bool,
}

/// `lmfs test`
#[derive(Debug, Args)]
pub struct Test {
    /// .lmz files (default or -: standard input)
    pub files: Vec<PathBuf>,
    /// Blocks decoded in parallel; 0 means one per core
    #[arg(short = 'T', long, value_name = "N", default_value_t = 0, hide_default_value = true,
        value_parser = clap::value_parser!(u16).range(..=1024))]
    pub threads: u16,
    /// As for `lmfs decompress`.
    #[arg(long, value_name = "MODEL", help = READING_MODEL)]
    pub model: Option<String>,
    /// Dictionary that the files were compressed with. May be given several times
    #[arg(short = 'D', long = "dictionary", value_name = "FILE")]
    pub dictionaries: Vec<PathBuf>,
}

/// `lmfs train`
#[derive(Debug, Args)]
#[command(after_help = TRAIN_EXAMPLES)]
pub struct Train {
    /// Files, and folders with all that is in them
    #[arg(required = true)]
    pub samples: Vec<PathBuf>,
    /// Name of the dictionary
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Largest size of the dictionary, up to 1MiB
    #[arg(long, value_name = "SIZE", value_parser = byte_size::parse, default_value = "256KiB")]
    pub size: u64,
    /// Overwrite an existing file
    #[arg(short, long)]
    pub force: bool,
}

/// `lmfs list`
#[derive(Debug, Args)]
pub struct List {
    /// .lmz files
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `lmfs eval`
#[derive(Debug, Args)]
#[command(after_help = "Nothing is estimated. All figures are lengths of real output, including headers.")]
pub struct Eval {
    /// Files and folders
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// The compression level.
    #[command(flatten)]
    pub level: LevelFlags,
    /// Block size, a power of two from 4KiB to 1MiB [default: 16KiB, as in a store; the level's, if one is named]
    #[arg(long, value_name = "SIZE", value_parser = byte_size::parse_block_size)]
    pub block_size: Option<u32>,
    /// The model and its engine.
    #[command(flatten)]
    pub choice: ModelChoice,
    /// The paper's experiments.
    #[command(flatten)]
    pub paper: Paper,
    /// Do not measure the other programs on whole files
    #[arg(long)]
    pub blocks_only: bool,
    /// Files and blocks in parallel, where 0 means one per core
    #[arg(short = 'T', long, value_name = "N", default_value_t = 0, hide_default_value = true,
        value_parser = clap::value_parser!(u16).range(..=1024))]
    pub threads: u16,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `lmfs model`
#[derive(Debug, Args)]
pub struct Model {
    /// What to do.
    #[command(subcommand)]
    pub command: ModelCommand,
}

/// The commands about models.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// List the built-in models, with size and speed measured on this machine
    List {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Load a model and describe it, or say why it cannot be used
    Show {
        /// builtin:NAME, or the path of a GGUF file
        model: String,
        /// Engine: exact, llama or auto
        #[arg(long, value_name = "ENGINE", default_value = "auto")]
        engine: EngineChoice,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        /// This process tries a model and may crash.
        #[arg(long, hide = true)]
        untried: bool,
    },
    /// Write a built-in model to a new file, to archive it or to use it with other programs
    Export {
        /// builtin:NAME
        model: String,
        /// GGUF file to create
        file: PathBuf,
    },
}
