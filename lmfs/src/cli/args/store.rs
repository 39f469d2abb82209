//! Commands for stores and mounts.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::ModelChoice;
use crate::byte_size;
use crate::daemon::PackMode;
use crate::store::Prefer;
use crate::workers::Address;

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
    #[arg(long, value_name = "SIZE", value_parser = byte_size::parse_block_size, default_value = "16KiB")]
    pub block_size: u32,
    /// Parity beside the log, 1% to 50%, from which `lmfs check --repair` can repair damaged regions
    #[arg(long, value_name = "PERCENT", value_parser = byte_size::parse_percent, default_value = "0")]
    pub parity: u8,
    /// How new blocks are packed: without the language model, with it where that saves much, or as small as possible
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
  lmfs mount s3://backup/archive mnt -o ro --cache-dir ~/.cache/archive

In /etc/fstab (with a link from /sbin/mount.lmfs to lmfs):
  /srv/logs.lmfs  /var/log/old  lmfs  allow_other,nofail,cache_size=1GiB  0 0

A background daemon logs to STORE/lmfs.log. `systemctl start lmfs@...` logs to the journal.";

/// `lmfs mount`
#[derive(Debug, Default, Args)]
#[command(after_help = MOUNT_EXAMPLES)]
pub struct Mount {
    /// Folder of the store, or the URL of a bucket that `lmfs push` filled, with `-o ro` and --cache-dir
    #[arg(required_unless_present = "config", value_name = "STORE|URL")]
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
    /// dirsync, nonempty and their opposites, cache_size=SIZE, pack=idle|off, pack_idle=SECONDS, prefer=WHAT,
    /// cache_dir=DIR, cache_dir_size=SIZE, poll=SECONDS. Options for mount(8) and systemd are ignored
    #[arg(short, long = "options", value_name = "OPT,...", value_delimiter = ',', action = ArgAction::Append)]
    pub options: Vec<String>,
    /// Memory for decoded blocks [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = byte_size::parse)]
    pub cache_size: Option<u64>,
    /// When to compress with the model [default: idle]
    #[arg(long, value_name = "WHEN", value_enum, hide_possible_values = false)]
    pub pack: Option<PackMode>,
    /// With --pack=idle, compress a file this many seconds after its last write [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub pack_idle: Option<u64>,
    /// How new blocks are packed [default: as the store was made]
    #[arg(long, value_name = "WHAT", value_enum)]
    pub prefer: Option<Prefer>,
    /// Mount read-only
    #[arg(long)]
    pub read_only: bool,
    /// With a URL, the folder for what is fetched. It is kept for the next time
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// The most bytes of segments in it [default: 4GiB]
    #[arg(long, value_name = "SIZE", value_parser = byte_size::parse)]
    pub cache_dir_size: Option<u64>,
    /// With a URL, look for what was pushed every so many seconds [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub poll: Option<u64>,
    /// This process is the daemon. Its standard output is the pipe to the waiting parent.
    #[arg(long, hide = true)]
    pub background_child: bool,
}

/// `lmfs umount`
#[derive(Debug, Args)]
#[command(after_help = "\
The store can be named in place of the mountpoint. A mount whose daemon died is detached. If nothing is mounted there, \
that is an error.")]
pub struct Umount {
    /// Where the store is mounted, or the folder of the store
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
  lmfs pack ~/archive --workers 127.0.0.1:7000

It can be interrupted at any time. Completed work stays. `lmfs work` on other machines makes it faster: see \
`lmfs work --help`.")]
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
    /// Also pack again what is packed already, with the present dictionaries, model and settings. A block changes only
    /// if it becomes smaller or no longer needs the language model
    #[arg(long)]
    pub again: bool,
    /// How new blocks are packed [default: as the store was made]. A mounted store has its mount option for this
    #[arg(long, value_name = "WHAT", value_enum)]
    pub prefer: Option<Prefer>,
    /// Listen there for `lmfs work`, while this runs: HOST:PORT, or the path of a socket, with a slash in it. Without a
    /// token only 127.0.0.1 is possible
    #[arg(long, value_name = "LISTEN")]
    pub workers: Option<Address>,
    /// File with a secret of at least 16 bytes, which workers have to know
    #[arg(long, value_name = "FILE", requires = "workers")]
    pub token_file: Option<PathBuf>,
    /// Print one JSON object at the end
    #[arg(long)]
    pub json: bool,
}

/// `lmfs work`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lmfs pack ~/archive --workers 127.0.0.1:7000           where the store is
  ssh -N -L 7000:127.0.0.1:7000 user@store &             on each other machine
  lmfs work 127.0.0.1:7000

In a network that is trusted, without ssh:
  openssl rand -hex 32 > token                           copied to each machine
  lmfs pack ~/archive --workers 0.0.0.0:7000 --token-file token
  lmfs work store.example:7000 --token-file token

What is sent is not encrypted, and the token does not change that. A worker needs no store: it gets the model and \
the dictionaries that it lacks. It can be started before the packing, and ended or killed at any time.")]
pub struct Work {
    /// Where `lmfs pack --workers` listens: HOST:PORT, or the path of a socket, with a slash in it
    pub address: Address,
    /// Blocks encoded in parallel, where 0 means one per core
    #[arg(short = 'T', long, value_name = "N", default_value_t = 0, hide_default_value = true,
        value_parser = clap::value_parser!(u16).range(..=1024))]
    pub threads: u16,
    /// File with the secret that `lmfs pack` was given
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Wait for the next packing when one has ended, for ever. Otherwise it ends with the packing, or if it reaches
    /// none for five minutes
    #[arg(long)]
    pub stay: bool,
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
  lmfs check ~/archive.lmfs --sha256 > ~/sums    checksums; not mounted
  (cd ~/archive && sha256sum -c ~/sums)          compare; mounted

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
    #[arg(long, value_name = "SIZE", value_parser = byte_size::parse)]
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
    #[arg(value_name = "PERCENT", value_parser = byte_size::parse_percent)]
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

/// `lmfs push`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lmfs push ~/archive.lmfs s3://backup/archive
  lmfs push ~/archive s3://backup/archive --watch   a mounted store, repeatedly
  lmfs push ~/archive.lmfs /mnt/disk/archive        a folder instead of a bucket

Others read it with `lmfs clone`. The bucket holds one state of the store at any time, and only what is new is \
uploaded. Only one machine can push, which is the one that began last. docs/PLUGIN.md has the details.")]
pub struct Push {
    /// Folder of a store, or where it is mounted
    #[arg(value_name = "STORE|MOUNTPOINT", required_unless_present = "config")]
    pub store: Option<PathBuf>,
    /// s3://BUCKET/PREFIX, gs://, az://, file:///FOLDER, or a folder
    #[arg(value_name = "URL", required_unless_present = "config")]
    pub url: Option<String>,
    /// Read the store from a file, as `lmfs mount` does, and the URL, which is `push` there
    #[arg(long, value_name = "FILE", conflicts_with_all = ["store", "url"])]
    pub config: Option<PathBuf>,
    /// Go on, and push what is written from now on
    #[arg(long)]
    pub watch: bool,
    /// First fetch every object of the store that is there, and store anew what is not as it was stored
    #[arg(long)]
    pub verify: bool,
    /// With --watch, how often
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub every: u64,
    /// How long to keep objects that the store needs no more. A reader may be that far behind
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "24h")]
    pub keep_dead: Duration,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `lmfs clone`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lmfs clone s3://backup/archive ~/archive.lmfs

If it is interrupted, the same command goes on. The clone is the same store. Do not push it to where it \
came from while the first one is still in use.")]
pub struct CloneStore {
    /// What `lmfs push` was given
    #[arg(value_name = "URL")]
    pub url: String,
    /// Folder to create (must be new or empty)
    pub store: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
