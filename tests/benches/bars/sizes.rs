//! Size: what a packed store takes beside zstd -19 at the same block size, by kind. And that it all comes back.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use lmfs::eval::{Compressor, Zstd};
use lmfs_codec::Stop;
use lmfs_tests::{Scratch, diff};

use crate::corpus::Kind;
use crate::seconds;

/// A whole corpus takes its time.
const DEADLINE: Duration = Duration::from_secs(24 * 3600);

#[derive(Default)]
struct Row {
    raw: u64,
    zstd: u64,
    stored: u64,
    folder: u64,
    seconds: f64,
}

pub fn print(kinds: &[Kind]) {
    println!("\n### Size\n");
    println!(
        "`stored`: blocks in the log; `folder`: what all segment files and the index take on the disk after packing and `lmfs gc`.\n"
    );
    println!(
        "| kind | bytes | stored / raw | zstd -19, same blocks / raw | stored / zstd | folder / zstd | packed at |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut total = Row::default();
    for kind in kinds {
        let row = measure(kind);
        row.print(&kind.name);
        total.raw += row.raw;
        total.zstd += row.zstd;
        total.stored += row.stored;
        total.folder += row.folder;
        total.seconds += row.seconds;
    }
    total.print("total");
}

impl Row {
    fn print(&self, name: &str) {
        let ratio = |a: u64, b: u64| a as f64 / b as f64;
        println!(
            "| {name} | {} | {:.4} | {:.4} | {:.3} | {:.3} | {:.1} KB/s |",
            self.raw,
            ratio(self.stored, self.raw),
            ratio(self.zstd, self.raw),
            ratio(self.stored, self.zstd),
            ratio(self.folder, self.zstd),
            self.raw as f64 / self.seconds / 1000.0
        );
    }
}

/// One store with one kind in it: copied in, packed, remounted, compared.
fn measure(kind: &Kind) -> Row {
    let scratch = Scratch::with_store(&[]);
    let (original, copy) = (scratch.path("original"), scratch.path("mnt/copy"));
    kind.copy_to(&original);
    let mount = scratch.mount(&[]);
    lmfs_tests::copy_in(&original, &copy);
    let mut pack = Command::new(lmfs_tests::lmfs_path());
    pack.arg("pack").arg(scratch.mountpoint());
    let packing = seconds(|| drop(lmfs_tests::run_within(&mut pack, DEADLINE).ok()));
    let status = mount.status();
    mount.umount();
    scratch.lmfs("gc", &[]).ok();
    let mount = scratch.mount(&[]);
    diff(&original, &copy);
    mount.umount();

    let block = status
        .pointer("/block_size")
        .and_then(serde_json::Value::as_u64)
        .expect("status has the block size");
    let number = |key: &str| status.get(key).and_then(serde_json::Value::as_u64).expect("a number");
    let zstd = |bytes: Vec<u8>| -> u64 {
        let blocks = bytes.chunks(usize::try_from(block).unwrap());
        blocks
            .map(|block| Zstd.compress(block, &Stop::new()).unwrap().bytes as u64)
            .sum()
    };
    let files = ["segments", "index"]
        .into_iter()
        .flat_map(|folder| scratch.store_files(folder));
    Row {
        raw: kind.bytes,
        zstd: kind.contents().map(|(_, bytes)| zstd(bytes)).sum(),
        stored: number("stored_bytes"),
        folder: files.map(|path| fs::metadata(path).unwrap().blocks() * 512).sum(),
        seconds: packing,
    }
}
