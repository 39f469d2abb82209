//! Reading packed files: one decode per block, and nobody else waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use lmfs_tests::{Mount, Scratch, SetOnDrop, data, until};

const BLOCK: usize = 16 << 10;

/// A store with a packed file `text` of four blocks and more, freshly mounted: nothing is cached anywhere.
fn packed(blocks: usize) -> (Scratch, Mount, Vec<u8>) {
    let scratch = Scratch::with_store(&["--block-size=16KiB", "--prefer=size"]);
    let mut text = fs::read(data("text/alice29.txt")).unwrap();
    text.truncate(blocks * BLOCK);
    let mount = scratch.mount(&[]);
    fs::write(mount.path("text"), &text).unwrap();
    mount.pack(&[]);
    assert_eq!(mount.count("/blocks/model"), blocks as u64);
    mount.umount();
    let mount = scratch.mount(&[]);
    (scratch, mount, text)
}

#[test]
fn a_cold_read_of_4_kib_decodes_one_block() {
    let (_scratch, mount, text) = packed(6);
    let file = File::open(mount.path("text")).unwrap();
    let mut page = [0; 4096];
    // Not in order, so that nothing looks like reading ahead; within a block and at both of its ends.
    for (reads, block, at) in [(1, 4, 0), (2, 1, BLOCK - 4096), (3, 3, 8192), (4, 5, 4096)] {
        let offset = block * BLOCK + at;
        file.read_exact_at(&mut page, offset as u64).unwrap();
        assert_eq!(&page[..], text.get(offset..offset + 4096).unwrap());
        assert_eq!(
            mount.count("/cache/decodes"),
            reads,
            "after {reads} cold reads: {:#}",
            mount.status()
        );
    }
    // The same blocks again, past the kernel's pages: no decode.
    mount.forget_pages("text");
    file.read_exact_at(&mut page, 4 * BLOCK as u64 + 4096).unwrap();
    assert_eq!(mount.count("/cache/decodes"), 4, "{:#}", mount.status());
    drop(file);
    mount.umount();
}

#[test]
fn many_readers_of_a_cold_block_cause_one_decode() {
    let (_scratch, mount, text) = packed(1);
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for reader in 0..8_usize {
            let (mount, text, start) = (&mount, &text, &start);
            scope.spawn(move || {
                let file = File::open(mount.path("text")).unwrap();
                let mut bytes = [0; 1024];
                start.wait();
                // Different pages, so that the kernel passes every reader on.
                let offset = reader * BLOCK / 8;
                file.read_exact_at(&mut bytes, offset as u64).unwrap();
                assert_eq!(&bytes[..], text.get(offset..offset + 1024).unwrap());
            });
        }
    });
    assert_eq!(mount.count("/cache/decodes"), 1, "{:#}", mount.status());
    mount.umount();
}

/// They were decoded one at a time, on one core, however many there are.
#[test]
fn files_read_one_after_another_are_decoded_ahead() {
    let scratch = Scratch::with_store(&["--block-size=16KiB", "--prefer=speed"]);
    let text = fs::read(data("text/alice29.txt")).unwrap();
    let mount = scratch.mount(&[]);
    fs::create_dir(mount.path("folder")).unwrap();
    // Each in an alphabet of its own, so that no block is coded behind another one, which would be decoded, too.
    let shifted = |by: u8, byte: &u8| match byte {
        b'a'..=b'z' => (byte - b'a' + by) % 26 + b'a',
        b'A'..=b'Z' => (byte - b'A' + by) % 26 + b'A',
        _ => *byte,
    };
    let texts = (0..9).zip(text.chunks(BLOCK));
    let texts = texts.map(|(i, text)| text.iter().map(|byte| shifted(2 * i, byte)).collect());
    let files: Vec<(String, Vec<u8>)> = (0..9).map(|i| format!("folder/{i}")).zip(texts).collect();
    for (name, bytes) in &files {
        fs::write(mount.path(name), bytes).unwrap();
    }
    mount.pack(&[]);
    mount.umount();
    let mount = scratch.mount(&[]);
    assert_eq!(fs::read_dir(mount.path("folder")).unwrap().count(), files.len());
    let read = |i: usize| {
        let (name, bytes) = files.get(i).unwrap();
        assert_eq!(fs::read(mount.path(name)).unwrap(), *bytes);
    };
    // One alone is no walk, nor are files far from each other.
    for (decodes, i) in [(1, 0), (2, 6)] {
        read(i);
        assert_eq!(mount.count("/cache/decodes"), decodes, "{:#}", mount.status());
    }
    read(1);
    read(2);
    until("the two files after the third are decoded", || {
        mount.count("/cache/decodes") == 6
    });
    (3..9).for_each(read);
    assert_eq!(mount.count("/cache/decodes"), 9, "each once: {:#}", mount.status());
    mount.umount();
}

#[test]
fn files_are_listed_and_stated_while_blocks_decode() {
    let (_scratch, mount, text) = packed(6);
    fs::create_dir(mount.path("folder")).unwrap();
    let (read, stats) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _end = SetOnDrop(&read);
            assert!(fs::read(mount.path("text")).unwrap() == text);
        });
        let mut n = 0;
        while !read.load(Ordering::Acquire) {
            // A new name every time: the kernel cannot answer by itself.
            fs::write(mount.path(format!("folder/{n}")), "small").unwrap();
            assert_eq!(fs::metadata(mount.path(format!("folder/{n}"))).unwrap().len(), 5);
            assert!(fs::read_dir(mount.path("folder")).unwrap().count() > 0);
            n += 1;
            stats.store(n, Ordering::Release);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    });
    // Were they queued behind six decodes, at most about six could have been answered.
    let stats = stats.into_inner();
    assert!(
        stats > 20,
        "only {stats} rounds of create, stat and list were answered while six blocks were decoded"
    );
    mount.umount();
}

#[test]
fn a_cache_of_a_few_blocks_is_enough_to_read_everything() {
    let (scratch, mount, text) = packed(4);
    mount.umount();
    let mount = scratch.mount(&["--cache-size=32KiB"]);
    for _ in 0..2 {
        assert!(fs::read(mount.path("text")).unwrap() == text);
        mount.forget_pages("text");
    }
    assert!(mount.count("/cache/bytes") <= 32 << 10, "{:#}", mount.status());
    mount.umount();
}
