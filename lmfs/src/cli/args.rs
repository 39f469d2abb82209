//! What can be typed: every command with its options and help.

mod files;
mod measure;
mod store;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

pub use super::pack_objects::PackObjects;
use files::READING_MODEL;
pub use files::{Eval, List, Model, ModelChoice, ModelCommand, Stream, Test, Train};
pub use measure::{Generate, Paper};
pub use store::{Check, CloneStore, Gc, Init, Mount, Pack, Parity, Push, Rebuild, Stat, Status, Umount, Work};

const LONG_ABOUT: &str = "\
A filesystem that compresses with a language model.

Mount a store and use it like any other folder. Writes are durable once fsync returns, or automatically within five \
seconds. Idle files are compressed in the background. Adaptive models predict every byte, together with a \
language model where that pays, and an arithmetic coder stores what they did not expect. Files are compressed in \
blocks that can be read in any order.";

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
    /// Encode blocks for `lmfs pack --workers` on another machine
    Work(Work),
    /// Compress the objects of a bucket, for programs that read them through lmfs
    PackObjects(PackObjects),
    /// Put a store into a bucket, from which others read it
    Push(Push),
    /// Fetch a store from a bucket
    Clone(CloneStore),
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
        mut_arg("key_size", |arg| arg.hide(true)),
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
    /// Write what a compressor expects after a prompt: compression run backwards
    Generate(Generate),
    /// Write the man pages and shell completions (called by `make install`)
    #[command(hide = true)]
    Manual(Manual),
}

const DECOMPRESS_EXAMPLES: &str = "\
Examples:
  lmfs decompress notes.txt.lmz            makes notes.txt, keeps notes.txt.lmz
  lmfs decompress -c notes.txt.lmz | less
  lmfs decompress --recover -o rest damaged.lmz

A file records how it was compressed. An output file appears only when it is complete. It has the mode, times \
and, where permitted, the owner of its input.";

/// `lmfs manual`
#[derive(Debug, Args)]
pub struct Manual {
    /// Folder such as /usr/share, which gets `man/man1`, `bash-completion/completions`, `zsh/site-functions` and
    /// `fish/vendor_completions.d`
    pub share: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::Cli;
    use crate::byte_size;
    use crate::store::DEFAULT_BLOCK_SIZE;

    fn each(command: &Command, look: &mut dyn FnMut(&Command)) {
        look(command);
        command.get_subcommands().for_each(|command| each(command, look));
    }

    /// Regression: lines broken at 110 columns became a long and a short one in turn on a terminal of 80.
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
            // Objects have blocks of their own.
            if command.get_name() == "pack-objects" {
                return;
            }
            for arg in command.get_arguments().filter(|arg| arg.get_id() == "block_size") {
                // A default that depends on other options stands in the help.
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let said = help.split_once("[default: ").map(|(_, rest)| rest);
                let said = said.and_then(|rest| rest.split(',').next().map(str::to_owned));
                let said = said.filter(|text| text.starts_with(|c: char| c.is_ascii_digit()));
                let values = arg.get_default_values().iter();
                for text in values.map(|text| text.to_string_lossy().into_owned()).chain(said) {
                    seen += 1;
                    let size = byte_size::parse_block_size(&text);
                    assert_eq!(size, Ok(DEFAULT_BLOCK_SIZE), "{}", command.get_name());
                }
            }
        });
        assert_eq!(seen, 2, "init and eval");
    }

    /// Regression: `lmfs decompress --help` said that the best built-in model is used.
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
