//! Trees to put into a store: real text and code from `tests/data`, and everything that is awkward about files.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use crate::run;

/// A file or folder of the committed samples (`tests/data`).
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

/// `cp -a FROM TO`
#[track_caller]
pub fn copy_in(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to)).ok();
}

/// Bytes that no method makes smaller, the same for the same seed (SplitMix64).
pub struct Noise(u64);

impl Noise {
    /// A stream of its own for every seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next_u64() % limit
    }

    /// `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = std::iter::repeat_with(|| self.next_u64().to_le_bytes())
            .take(len.div_ceil(8))
            .flatten()
            .collect();
        bytes.truncate(len);
        bytes
    }
}

/// A tree of some hundred kilobytes that a model can pack in a test's time: prose, code, logs, CSV, JSON, noise, and
/// the odd files of [`odd_files`].
#[track_caller]
pub fn small_tree(at: &Path) {
    fs::create_dir(at).expect("tree");
    let piece = |from: &str, to: &str, len: usize| {
        let bytes = fs::read(data(from)).expect("sample");
        fs::write(at.join(to), bytes.get(..len).unwrap_or(&bytes)).expect("write");
    };
    piece("text/alice29.txt", "alice.txt", 40_000);
    piece("text/genesis.txt", "genesis.txt", 5_000);
    piece("code/leveldb/table/block.cc", "block.cc", usize::MAX);
    piece("code/flask/sessions.py", "sessions.py", usize::MAX);
    piece("logs/access.log", "access.log", 20_000);
    piece("csv/stations.csv", "stations.csv", 12_000);
    piece("json/events.ndjson", "events.ndjson", 10_000);
    fs::write(at.join("noise.bin"), Noise::new(1).bytes(50_001)).expect("write");
    odd_files(&at.join("odd"));
}

/// A few megabytes: all committed samples, large generated files, and the odd files.
#[track_caller]
pub fn sample_tree(at: &Path) {
    fs::create_dir(at).expect("tree");
    for kind in ["text", "code", "logs", "csv", "json"] {
        copy_in(&data(kind), at);
    }
    fs::write(at.join("noise.bin"), Noise::new(2).bytes(1_500_000)).expect("write");
    let counts: String = (0..60_000_u64).map(|n| format!("{n},{}\n", n * n % 977)).collect();
    fs::write(at.join("counts.csv"), counts).expect("write");
    odd_files(&at.join("odd"));
}

/// What is awkward: empty and sparse files, names of any bytes, links, modes, times before 1970 and to the nanosecond.
fn odd_files(at: &Path) {
    fs::create_dir(at).expect("folder");
    File::create(at.join("empty")).expect("create");
    let sparse = File::create(at.join("sparse")).expect("create");
    sparse.write_all_at(b"after a hole", 3_000_000).expect("write");
    sparse.set_len(5_000_000).expect("set_len");
    for len in [1, 4095, 4096, 4097, 16383, 16384, 16385, 65535, 65536, 65537] {
        let line = format!("a file of {len} bytes\n");
        fs::write(
            at.join(format!("len-{len}")),
            line.bytes().cycle().take(len).collect::<Vec<_>>(),
        )
        .expect("write");
    }
    fs::write(at.join(OsStr::from_bytes(b"not \xFF UTF-8\n")), "named by bytes").expect("write");
    fs::write(at.join("n".repeat(255)), "a name of 255 bytes").expect("write");
    let deep = at.join("a/b/c/d/e/f/g/h");
    fs::create_dir_all(&deep).expect("folders");
    fs::write(deep.join("leaf"), "at the bottom").expect("write");
    fs::write(at.join("one"), "two names, one file").expect("write");
    fs::hard_link(at.join("one"), at.join("two")).expect("link");
    symlink("len-4096", at.join("link")).expect("symlink");
    symlink("/nowhere/at/all", at.join("dangling")).expect("symlink");
    fs::write(at.join("private"), "for one").expect("write");
    fs::set_permissions(at.join("private"), Permissions::from_mode(0o4600)).expect("mode");
    let old = File::create(at.join("old")).expect("create");
    old.set_times(FileTimes::new().set_modified(UNIX_EPOCH - Duration::new(86_400, 123_456_789)))
        .expect("times");
    fs::create_dir(at.join("sticky")).expect("folder");
    fs::set_permissions(at.join("sticky"), Permissions::from_mode(0o1777)).expect("mode");
}
