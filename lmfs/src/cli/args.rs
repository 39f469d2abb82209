//! What can be typed: every command with its options and help.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};
use lmfs_codec::model::EngineChoice;

pub use super::level::LevelFlags;
pub use super::pack_objects::PackObjects;
use super::size;
use crate::daemon::PackMode;
use crate::store::Prefer;

const LONG_ABOUT: &str = "\
A filesystem that compresses with a language model.

Mount a store and use it like any other folder. Writes are durable once fsync returns, or automatically within five \
seconds. Idle files are compressed in the background. A language model predicts every byte, and an arithmetic coder \
stores what it did not expect. Files are compressed in blocks that can be read in any order.";

const EXAMPLES: &str = "\
Examples:
  lmfs init ~/archive.lmfs               create a store with the built-in model
  lmfs mount ~/archive.lmfs ~/archive    use it as a directory
  cp -a ~/documents ~/archive/
  lmfs pack ~/archive                    compress now instead of waiting
  lmfs status ~/archive                  show what it saves
  lmfs umount ~/archive                  returns when everything is on disk
  tar -I 'lmfs compress' -cf docs.tar.lmz docs

Exit codes: 0 success, 1 failure, 2 wrong usage; `lmfs check` has its own.
LMFS_LOG sets what is logged, for example LMFS_LOG=lmfs=debug.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "lmfs", version, about = "A filesystem that compresses with a language model", long_about = LONG_ABOUT,
    after_help = EXAMPLES, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Verbosity.
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// Verbosity.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Verbosity {
    /// Increase verbosity (repeat for trace output)
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
    /// Print errors only
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a store, which is the folder that holds the compressed data and its model
    Init(Init),
    /// Mount a store
    Mount(Mount),
    /// Unmount, and return when everything is durable and the daemon has exited
    #[command(visible_alias = "unmount")]
    Umount(Umount),
    /// Compress now instead of waiting until files are idle
    Pack(Pack),
    /// Compress the objects of a bucket, for programs that read them through lmfs
    PackObjects(PackObjects),
    /// Show sizes, ratio, queue, methods, cache and model of a store
    Status(Status),
    /// Show how files are stored: size, stored size, blocks by method
    Stat(Stat),
    /// Check a store for damage, and repair it
    Check(Check),
    /// Add, change or remove parity
    Parity(Parity),
    /// Rebuild the index from the log
    Rebuild(Rebuild),
    /// Reclaim the space of deleted and replaced data
    Gc(Gc),
    /// Compress files to .lmz, or standard input to standard output
    Compress(Stream),
    /// Decompress .lmz files
    // What only compressing looks at is taken, as by zstd, but not shown.
    #[command(after_help = DECOMPRESS_EXAMPLES, mut_arg("model", |arg| arg.help(READING_MODEL)),
        mut_arg("level", |arg| arg.hide(true)),
        mut_arg("block_size", |arg| arg.hide(true)), mut_arg("engine", |arg| arg.hide(true)),
        mut_arg("decompress", |arg| arg.hide(true)))]
    Decompress(Stream),
    /// Decode .lmz files and compare their checksums
    Test(Test),
    /// Show sizes and models of .lmz files
    List(List),
    /// Make a dictionary of samples, for `lmfs compress -D`
    Train(Train),
    /// List the built-in models, describe a model, or write one to a file
    Model(Model),
    /// Compare lmfs with gzip, zstd and xz on your own data
    Eval(Eval),
    /// Write the man pages and shell completions (called by `make install`)
    #[command(hide = true)]
    Manual(Manual),
}

const READING_MODEL: &str = "GGUF file that the files were compressed with, if that is not a built-in model";

const DECOMPRESS_EXAMPLES: &str = "\
Examples:
  lmfs decompress notes.txt.lmz            makes notes.txt, keeps notes.txt.lmz
  lmfs decompress -c notes.txt.lmz | less
  lmfs decompress --recover -o rest damaged.lmz

A file records how it was compressed. An output file appears only when it is complete. It has the mode, times \
and, where permitted, the owner of its input.";

const TRAIN_EXAMPLES: &str = "\
Examples:
  lmfs train samples/ -o logs.dict
  lmfs compress -D logs.dict today.log
  lmfs decompress -D logs.dict today.log.lmz

Small files and small blocks of data like the samples take much less space with a dictionary. Any file of at most 1 MiB \
can be one. Keep it: files that were compressed with it cannot be read without it.";

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
    /// Blocks coded in parallel, each with up to 136 MiB of tables (34 MiB at -6); 0 means one per core
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
    #[arg(long, value_name = "SIZE", value_parser = size::parse_block_size)]
    pub block_size: Option<u32>,
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
    /// Samples: files, and folders with all that is in them
    #[arg(required = true)]
    pub samples: Vec<PathBuf>,
    /// Name of the dictionary
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The most bytes of the dictionary, up to 1MiB
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "256KiB")]
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
    /// Block size, a power of two from 4KiB to 1MiB (stores use 16KiB, .lmz files 256KiB)
    #[arg(long, value_name = "SIZE", value_parser = size::parse_block_size, default_value = "16KiB")]
    pub block_size: u32,
    /// The model and its engine.
    #[command(flatten)]
    pub choice: ModelChoice,
    /// Do not measure the other programs on whole files
    #[arg(long)]
    pub blocks_only: bool,
    /// Files and blocks in parallel; 0 means one per core
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

/// `lmfs manual`
#[derive(Debug, Args)]
pub struct Manual {
    /// Folder such as /usr/share, which gets `man/man1`, `bash-completion/completions`, `zsh/site-functions` and
    /// `fish/vendor_completions.d`
    pub share: PathBuf,
}

const INIT_EXAMPLES: &str = "\
Examples:
  lmfs init ~/archive.lmfs
  lmfs init /srv/logs.lmfs --block-size 64KiB
  lmfs init store --model ~/models/tinyllama-q8_0.gguf

The model file is copied into the store, so the store alone is enough to read it. Any GGUF works that llama.cpp \
loads and whose vocabulary can express all 256 bytes. A larger model compresses better and more slowly.";

/// `lmfs init`
#[derive(Debug, Args)]
#[command(after_help = INIT_EXAMPLES)]
pub struct Init {
    /// Folder to create (must be new or empty)
    pub store: PathBuf,
    /// The model and its engine.
    #[command(flatten)]
    pub choice: ModelChoice,
    /// Block size, a power of two from 4KiB to 1MiB. Small blocks are faster to read at random, large ones take less
    /// space
    #[arg(long, value_name = "SIZE", value_parser = size::parse_block_size, default_value = "16KiB")]
    pub block_size: u32,
    /// Parity beside the log, 1% to 50%, from which `lmfs check --repair` can repair damaged regions
    #[arg(long, value_name = "PERCENT", value_parser = size::parse_percent, default_value = "0")]
    pub parity: u8,
    /// What new blocks are to be: never coded by the language model, only where that saves much, or as small as possible
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    pub prefer: Prefer,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

const MOUNT_EXAMPLES: &str = "\
Examples:
  lmfs mount ~/archive.lmfs ~/archive
  lmfs mount /srv/logs.lmfs /var/log/old -o allow_other,ro
  lmfs mount -f --cache-size 1GiB store mnt     in the foreground

In /etc/fstab (with a link from /sbin/mount.lmfs to lmfs):
  /srv/logs.lmfs  /var/log/old  lmfs  allow_other,nofail,cache_size=1GiB  0 0

A background daemon logs to STORE/lmfs.log. `systemctl start lmfs@...` logs to the journal.";

/// `lmfs mount`
#[derive(Debug, Default, Args)]
#[command(after_help = MOUNT_EXAMPLES)]
pub struct Mount {
    /// Folder of the store
    #[arg(required_unless_present = "config")]
    pub store: Option<PathBuf>,
    /// Where to mount it (an existing empty directory)
    #[arg(required_unless_present = "config")]
    pub mountpoint: Option<PathBuf>,
    /// Read STORE, MOUNTPOINT and options from a file, as the systemd unit does (see docs/OPERATIONS.md)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["store", "mountpoint"])]
    pub config: Option<PathBuf>,
    /// Stay in the foreground and log to standard error
    #[arg(short, long)]
    pub foreground: bool,
    /// Mount options as in fstab, comma-separated: ro, allow_other, allow_root, noatime, nodev, nosuid, noexec, sync,
    /// dirsync, nonempty and their opposites, cache_size=SIZE, pack=idle|off, pack_idle=SECONDS, prefer=WHAT. Options for
    /// mount(8) and systemd are ignored
    #[arg(short, long = "options", value_name = "OPT,...", value_delimiter = ',', action = ArgAction::Append)]
    pub options: Vec<String>,
    /// Memory for decoded blocks [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub cache_size: Option<u64>,
    /// When to compress with the model [default: idle]
    #[arg(long, value_name = "WHEN", value_enum, hide_possible_values = false)]
    pub pack: Option<PackMode>,
    /// With --pack=idle, compress a file this many seconds after its last write [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub pack_idle: Option<u64>,
    /// What new blocks are to be [default: as the store was made]
    #[arg(long, value_name = "WHAT", value_enum)]
    pub prefer: Option<Prefer>,
    /// Mount read-only
    #[arg(long)]
    pub read_only: bool,
    /// This process is the daemon. Its standard output is the pipe to the waiting parent.
    #[arg(long, hide = true)]
    pub background_child: bool,
}

/// `lmfs umount`
#[derive(Debug, Args)]
#[command(after_help = "If nothing is mounted there, it says so and succeeds. A mount whose daemon died is detached.")]
pub struct Umount {
    /// Where the store is mounted
    #[arg(required_unless_present = "config")]
    pub mountpoint: Option<PathBuf>,
    /// Read the mountpoint from a file, as `lmfs mount` does
    #[arg(long, value_name = "FILE", conflicts_with = "mountpoint")]
    pub config: Option<PathBuf>,
}

/// `lmfs pack`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lmfs pack ~/archive                       a mounted store
  lmfs pack ~/archive/documents             only files below this path
  lmfs pack ~/archive.lmfs --jobs 4         a store that is not mounted

It can be interrupted at any time. Completed work stays.")]
pub struct Pack {
    /// Folder of a store, where it is mounted, or a path below that, which is then packed alone
    #[arg(value_name = "STORE|MOUNTPOINT")]
    pub target: PathBuf,
    /// Only these files and folders, as paths in the mount or relative to the store's root
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Blocks encoded in parallel [default: one per core]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Also what is packed already, with the dictionaries, model and settings of now; a block changes only if it becomes
    /// smaller or is no longer coded by the language model
    #[arg(long)]
    pub again: bool,
    /// What new blocks are to be [default: as the store was made]. A mounted store has its mount option for this
    #[arg(long, value_name = "WHAT", value_enum)]
    pub prefer: Option<Prefer>,
    /// Print one JSON object at the end
    #[arg(long)]
    pub json: bool,
}

/// `lmfs status`
#[derive(Debug, Args)]
pub struct Status {
    /// Folder of a store, or where it is mounted
    #[arg(value_name = "STORE|MOUNTPOINT")]
    pub target: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Exit with status 1 if the store needs attention (a Trouble or Warning is shown)
    #[arg(long)]
    pub fail: bool,
}

/// `lmfs stat`
#[derive(Debug, Args)]
pub struct Stat {
    /// Files in a mounted store
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  lmfs check ~/archive.lmfs                      names, links and sizes (quick)
  lmfs check ~/archive.lmfs --data               every byte (--resume continues)
  lmfs check ~/archive --data --max-rate 20MiB   a mounted store, in use
  lmfs check ~/archive.lmfs --repair             repair from parity
  lmfs check ~/archive.lmfs --sha256 > sums; cd ~/archive && sha256sum -c sums

Exit codes: 0 no damage, 1 damage found, 2 the check could not run or was interrupted, 3 damage found and all of \
it repaired.";

/// `lmfs check`
#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct Check {
    /// Folder of a store, or where it is mounted (then only with --data)
    #[arg(value_name = "STORE|MOUNTPOINT", required_unless_present = "config")]
    pub target: Option<PathBuf>,
    /// Read the store from a file, as `lmfs mount` does
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    pub config: Option<PathBuf>,
    /// Also decode every block and compare it with its checksum
    #[arg(long)]
    pub data: bool,
    /// Repair damaged segments from their parity, and create missing parity
    #[arg(long)]
    pub repair: bool,
    /// Print the SHA-256 of every file for `sha256sum -c`, and damage to standard error (implies --data)
    #[arg(long, conflicts_with = "json")]
    pub sha256: bool,
    /// Continue an interrupted check (implies --data)
    #[arg(long)]
    pub resume: bool,
    /// Read at most this many bytes of the store per second (implies --data)
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub max_rate: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `lmfs parity`
#[derive(Debug, Args)]
#[command(after_help = "\
Segments with parity keep what they have. Segments without get it now, and new segments when they are full. \
With 0, all parity is deleted.")]
pub struct Parity {
    /// Folder of a store that is not mounted
    pub store: PathBuf,
    /// Size of the parity relative to the log, 1% to 50%, or 0
    #[arg(value_name = "PERCENT", value_parser = size::parse_percent)]
    pub percent: u8,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `lmfs rebuild`
#[derive(Debug, Args)]
#[command(after_help = "The index can be rebuilt from the log at any time. The log does not change.")]
pub struct Rebuild {
    /// Folder of a store that is not mounted
    pub store: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `lmfs gc`
#[derive(Debug, Args)]
#[command(
    after_help = "The daemon of a mounted store and `lmfs pack` do this automatically when there is much to gain."
)]
pub struct Gc {
    /// Folder of a store, or where it is mounted
    #[arg(value_name = "STORE|MOUNTPOINT")]
    pub target: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::{Cli, size};
    use crate::store::DEFAULT_BLOCK_SIZE;

    fn each(command: &Command, look: &mut dyn FnMut(&Command)) {
        look(command);
        command.get_subcommands().for_each(|command| each(command, look));
    }

    /// Lines broken at 110 columns became a long and a short one in turn on a terminal of 80.
    #[test]
    fn help_is_broken_into_lines_by_the_terminal_alone() {
        let mut seen = 0;
        each(&Cli::command(), &mut |command| {
            let Some(text) = command.get_after_help() else { return };
            for paragraph in text.to_string().split("\n\n") {
                let lines: Vec<&str> = paragraph.lines().collect();
                for line in &lines {
                    seen += 1;
                    assert!(lines.len() == 1 || line.len() <= 80, "{}: {line}", command.get_name());
                }
            }
        });
        assert!(seen > 40, "{seen} lines");
    }

    #[test]
    fn the_block_size_of_stores_is_the_same_everywhere() {
        let mut seen = 0;
        each(&Cli::command(), &mut |command| {
            for arg in command.get_arguments().filter(|arg| arg.get_id() == "block_size") {
                for text in arg.get_default_values() {
                    seen += 1;
                    let size = size::parse_block_size(&text.to_string_lossy());
                    assert_eq!(size, Ok(DEFAULT_BLOCK_SIZE), "{}", command.get_name());
                }
            }
        });
        assert_eq!(seen, 2, "init and eval");
    }

    /// `lmfs decompress --help` said that the best built-in model is used.
    #[test]
    fn what_decompresses_asks_for_a_model_only_when_the_file_does_not_name_a_built_in_one() {
        for name in ["decompress", "test"] {
            let mut command = Cli::command();
            let help = command
                .find_subcommand_mut(name)
                .map(|command| command.render_long_help().to_string());
            // However wide the terminal is.
            let help = help
                .unwrap_or_default()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            assert!(
                help.contains("compressed with, if that is not a built-in model"),
                "{help}"
            );
            assert!(!help.contains("default: the best"), "{help}");
        }
    }
}
