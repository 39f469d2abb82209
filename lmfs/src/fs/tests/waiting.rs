//! Requests that wait for decodes, and everybody else.

use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;

use super::*;
use crate::task::Interrupt;
use crate::testing::gate::{Gate, GatedIo};
use crate::testing::until;

const B: u64 = BLOCK as u64;

/// More than there are threads of any kind.
const MANY: usize = 64;

/// A filesystem with files of two blocks each, none of which is in memory, and a gate for what is read from its disk.
fn cold(files: usize) -> (Disk, Vec<u64>, Arc<Gate>) {
    let disk = Disk::new();
    let files: Vec<u64> = (0..files).map(|n| disk.file(&format!("cold {n}"))).collect();
    for ino in &files {
        disk.fs.write(*ino, 0, &[b'a'; 2 * BLOCK as usize], false).unwrap();
    }
    disk.fs.shutdown().unwrap();
    let gated = GatedIo::new(disk.io.clone());
    let gate = gated.gate.clone();
    let (store, _report) = Store::open(Arc::new(gated), OpenOptions::default()).unwrap();
    let fs = Filesystem::new(Arc::new(store), codec(), options()).unwrap();
    let disk = Disk {
        io: disk.io.clone(),
        fs,
    };
    (disk, files, gate)
}

/// Runs a request as the kernel's side does, and says when it has ended.
fn run<F: Future<Output = Result<()>> + Send + 'static>(
    disk: &Disk,
    request: impl FnOnce(Arc<Filesystem>) -> F,
) -> mpsc::Receiver<Result<()>> {
    let (done, ended) = mpsc::channel();
    let request = request(disk.fs.clone());
    disk.fs.spawn(Asker { uid: 1, pid: 1 }, async move {
        let _ = done.send(request.await);
    });
    ended
}

/// What needs no decode, as requests: each must end, however many others wait.
fn everything_else(disk: &Disk, whole: u64) {
    let other = disk.file("other");
    let end = |ended: mpsc::Receiver<Result<()>>| ended.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
    for block in 0..20 {
        disk.fs.write(other, block * B, &[b'o'; BLOCK as usize], false).unwrap();
    }
    end(run(disk, move |fs| async move {
        fs.fsync_async(other, Asker::DAEMON).await
    }));
    assert!(!disk.fs.is_dirty(other));
    disk.fs.write(other, 3 * B, &[b'm'; BLOCK as usize], false).unwrap();
    end(run(disk, move |fs| async move {
        fs.flush_async(other, Asker::DAEMON).await
    }));
    end(run(disk, |fs| async move { fs.fsyncdir().await }));
    end(run(disk, move |fs| async move {
        fs.lseek_async(other, 0, Seek::Hole).await.map(drop)
    }));
    disk.fs.write(other, 0, &[b'n'; BLOCK as usize], false).unwrap();
    disk.file("target");
    end(run(disk, |fs| async move {
        let mode = RenameMode::Replace;
        fs.rename_async(ROOT, b"other", ROOT, b"target", mode, Asker::DAEMON)
            .await
    }));
    // A whole block of a file of which another block waits.
    disk.fs.write(whole, B, &[b'w'; BLOCK as usize], false).unwrap();
    wait(disk.fs.write_back.round(Duration::ZERO, Cold::Decode)).unwrap();
    assert_eq!(disk.fs.inodes.held(whole).unwrap().lock().dirty.next(1), None);
}

fn changed() -> Vec<u8> {
    let mut bytes = vec![b'a'; 2 * BLOCK as usize];
    bytes[5..9].copy_from_slice(b"part");
    bytes
}

/// Regression: a close that decoded held its file's lock for all of it. The flusher waited for that lock, and nothing
/// of any other file was stored. Eight such closes filled the pool of threads, and fsync of another file waited for
/// minutes.
#[test]
fn closes_that_wait_for_decodes_hold_up_nobody_else() {
    let (disk, files, gate) = cold(MANY);
    gate.close();
    let closes: Vec<_> = files
        .iter()
        .map(|&ino| {
            disk.fs.write(ino, 5, b"part", false).unwrap();
            run(&disk, move |fs| async move { fs.flush_async(ino, Asker::DAEMON).await })
        })
        .collect();
    until("decodes hang", || gate.waiting() > 0);
    everything_else(&disk, files[0]);
    assert!(closes.iter().all(|close| close.try_recv().is_err()), "they wait");
    gate.open();
    for close in closes {
        close.recv().unwrap().unwrap();
    }
    let disk = disk.crash();
    for ino in &files[1..] {
        assert_eq!(disk.all(*ino), changed());
    }
    assert_eq!(disk.all(files[0])[BLOCK as usize..], [b'w'; BLOCK as usize]);
}

/// Regression: so did copies that had to decode what they copied.
#[test]
fn copies_that_wait_for_decodes_hold_up_nobody_else() {
    let (disk, files, gate) = cold(MANY);
    gate.close();
    let copies: Vec<_> = files
        .iter()
        .map(|&ino| {
            let place = move |offset| FilePosition { ino, offset };
            run(&disk, move |fs| async move {
                let copied = fs.copy_file_range_async(place(0), place(2 * B + 3), 100, false, Asker::DAEMON);
                copied.await.map(|count| assert_eq!(count, 100))
            })
        })
        .collect();
    until("decodes hang", || gate.waiting() > 0);
    everything_else(&disk, files[0]);
    assert!(copies.iter().all(|copy| copy.try_recv().is_err()), "they wait");
    gate.open();
    for copy in copies {
        copy.recv().unwrap().unwrap();
    }
    assert_eq!(disk.all(files[1])[2 * BLOCK as usize + 3..], [b'a'; 100]);
}

/// Regression: memory was full of what waited for decodes, and every writer of every file waited for these.
#[test]
fn memory_for_whole_blocks_is_left_however_much_waits_for_decodes() {
    let (disk, files, gate) = cold(MANY);
    let disk = Disk {
        fs: {
            let limited = Options {
                dirty_bytes: 16 * B,
                ..options()
            };
            disk.fs.shutdown().unwrap();
            let gated = GatedIo {
                disk: disk.io.clone(),
                gate: gate.clone(),
            };
            let (store, _report) = Store::open(Arc::new(gated), OpenOptions::default()).unwrap();
            Filesystem::new(Arc::new(store), codec(), limited).unwrap()
        },
        io: disk.io.clone(),
    };
    gate.close();
    let waiting = Arc::new(AtomicUsize::new(0));
    let writes: Vec<_> = files
        .iter()
        .map(|&ino| {
            let waiting = waiting.clone();
            run(&disk, move |fs| async move {
                waiting.fetch_add(1, Ordering::SeqCst);
                let written = fs.write_async(ino, 5, b"part", false, Asker::DAEMON).await;
                waiting.fetch_sub(1, Ordering::SeqCst);
                written.map(drop)
            })
        })
        .collect();
    until("half of the memory is full", || disk.fs.inodes.totals().partial() == 8);
    until("the other writers wait", || waiting.load(Ordering::SeqCst) == MANY - 8);
    everything_else(&disk, files[0]);
    gate.open();
    for write in writes {
        write.recv().unwrap().unwrap();
    }
    disk.fs.sync().unwrap();
    for ino in &files[1..] {
        assert_eq!(disk.all(*ino), changed());
    }
}

/// Regression: a killed program stayed until everything was decoded that it, and others before it, had asked for.
#[test]
fn an_interrupted_request_ends_at_once_and_takes_its_decodes_back() {
    let (disk, files, gate) = cold(MANY);
    gate.close();
    let interrupts: Vec<Interrupt> = files.iter().map(|_| Interrupt::default()).collect();
    let reads: Vec<_> = files
        .iter()
        .zip(interrupts.clone())
        .map(|(&ino, interrupt)| {
            run(&disk, move |fs| async move {
                let read = fs.read(ino, 0, BLOCK, Asker::DAEMON);
                interrupt.unless_set(read).await.map_or(Ok(()), |read| read.map(drop))
            })
        })
        .collect();
    until("decodes hang", || gate.waiting() == 2);
    for (interrupt, read) in interrupts.iter().zip(reads) {
        interrupt.set();
        read.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
    }
    assert!(!disk.fs.blocks().is_awaited());
    gate.open();
    assert_eq!(disk.all(files[0]), [b'a'; 2 * BLOCK as usize]);
    let decodes = disk.fs.stats().cache.decodes;
    assert!(decodes <= 4, "{decodes} blocks were decoded, and two were wanted");
}

/// Regression: fsync failed when the packer or garbage collection moved a block that a flush waited for.
#[test]
fn a_flush_looks_a_block_up_again_that_moves_while_it_waits() {
    let (disk, files, gate) = cold(3);
    gate.close();
    let reads: Vec<_> = files[1..]
        .iter()
        .map(|&ino| {
            run(&disk, move |fs| async move {
                fs.read(ino, 0, 1, Asker::DAEMON).await.map(drop)
            })
        })
        .collect();
    until("all threads that read hang", || gate.waiting() == 2);
    let ino = files[0];
    let misses = || disk.fs.stats().cache.misses;
    let before = misses();
    disk.fs.write(ino, 5, b"part", false).unwrap();
    let sync = run(&disk, move |fs| async move { fs.fsync_async(ino, Asker::DAEMON).await });
    until("the flush waits, too", || misses() > before);
    let again = codec().encode(&[b'a'; BLOCK as usize], &Stop::new()).unwrap();
    spoil(&disk, ino, 0, &again);
    gate.open();
    sync.recv().unwrap().unwrap();
    for read in reads {
        read.recv().unwrap().unwrap();
    }
    let disk = disk.crash();
    assert_eq!(disk.all(ino), changed());
}

/// Regression: only what was written counted, and a byte in each of many blocks was stored on a thread that others
/// need.
#[test]
fn a_flush_that_stores_many_blocks_is_not_quick() {
    let disk = Disk::new();
    let file = disk.file("file");
    disk.fs.write(file, 0, &[b'a'; 16 * BLOCK as usize], false).unwrap();
    disk.fs.fsync(file).unwrap();
    for block in 0..9 {
        assert!(disk.fs.flush_is_quick(file), "{block} blocks");
        disk.fs.write(file, block * B, b"b", false).unwrap();
    }
    assert!(!disk.fs.flush_is_quick(file));
    disk.fs.fsync(file).unwrap();
    assert!(disk.fs.flush_is_quick(file));
}
