//! Sealing a segment makes it durable, which takes as long as the disk does. Others go on meanwhile.
#![allow(clippy::unwrap_used, reason = "tests")]

use lmfs_indexer::io::{File, FileLayer, Layer};
use lmfs_indexer::{Change, CreateOptions, Extent, Inode, Io, Kind, MemIo, OpenOptions, Store, Time};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Syncs wait while it is closed.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    changed: Condvar,
    waiting: AtomicUsize,
}

impl Gate {
    fn set(&self, closed: bool) {
        *self.closed.lock() = closed;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut closed = self.closed.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        while *closed {
            self.changed.wait(&mut closed);
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A disk whose syncs hang while the gate is closed.
struct SlowDisk(MemIo, Arc<Gate>);

struct SlowFile(Arc<dyn File>, Arc<Gate>);

impl Layer for SlowDisk {
    fn below(&self) -> &dyn Io {
        &self.0
    }

    fn wrap(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(SlowFile(file, Arc::clone(&self.1)))
    }
}

impl FileLayer for SlowFile {
    fn below(&self) -> &dyn File {
        &*self.0
    }

    fn before_sync(&self) {
        self.1.pass();
    }
}

const BLOCK: usize = 64 << 10;

/// Regression: 64 MiB were made durable with the log locked. Meanwhile no directory could be made, and statfs hung.
#[test]
fn names_can_be_changed_while_a_full_segment_is_made_durable() {
    let (disk, gate) = (MemIo::new(), Arc::<Gate>::default());
    let options = CreateOptions {
        segment_size: 4 << 20,
        ..CreateOptions::new([1; 16])
    };
    let store = Store::create(Arc::new(SlowDisk(disk.clone(), Arc::clone(&gate))), options).unwrap();
    let store = Arc::new(store);
    let file = Inode::new(5, Kind::File, 0o644, Time::default());
    let _made = store.commit(vec![Change::PutInode(file)]).unwrap();
    gate.set(true);
    let (appender, blocks) = (Arc::clone(&store), 150);
    let append = std::thread::spawn(move || {
        for block in 0..blocks {
            let new = appender.append_block(&[block as u8; BLOCK]).unwrap();
            let extent = Extent::new(new, 0, BLOCK as u32);
            let put = Change::PutExtents {
                ino: 5,
                first: block,
                extents: vec![Some(extent)],
            };
            let _put = appender.commit(vec![put]).unwrap();
        }
    });
    let begun = std::time::Instant::now();
    while gate.waiting.load(Ordering::SeqCst) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the segment fills up");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (done, committed) = mpsc::channel();
    let other = Arc::clone(&store);
    let commit = std::thread::spawn(move || {
        for ino in 6..1006 {
            let inode = Inode::new(ino, Kind::File, 0o644, Time::default());
            let _made = other.commit(vec![Change::PutInode(inode)]).unwrap();
            let _totals = other.totals();
        }
        done.send(()).unwrap();
    });
    let in_time = committed.recv_timeout(Duration::from_secs(60));
    let still_hangs = gate.waiting.load(Ordering::SeqCst);
    gate.set(false);
    append.join().unwrap();
    commit.join().unwrap();
    assert_eq!(in_time, Ok(()), "they do not wait for the disk");
    assert!(still_hangs > 0);
    store.sync().unwrap();
    drop(store);

    let (store, report) = Store::open(Arc::new(disk), OpenOptions::default()).unwrap();
    assert_eq!(report.warnings, Vec::<String>::new());
    for block in 0..blocks {
        let extent = store.extent(5, block).unwrap().unwrap();
        assert!(store.read_block_of(5, block, &extent).unwrap() == vec![block as u8; BLOCK]);
    }
    assert!((6..1006).all(|ino| store.inode(ino).unwrap().is_some()));
}
