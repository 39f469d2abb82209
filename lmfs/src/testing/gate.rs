//! A disk whose reads can be made to hang: decodes that take as long as a test wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lmfs_indexer::io::{File, FileLayer, Layer};
use lmfs_indexer::{Io, MemIo};
use parking_lot::{Condvar, Mutex};

/// Reads wait while it is closed.
#[derive(Default)]
pub struct Gate {
    closed: Mutex<bool>,
    changed: Condvar,
    waiting: AtomicUsize,
}

impl Gate {
    pub fn close(&self) {
        *self.closed.lock() = true;
    }

    pub fn open(&self) {
        *self.closed.lock() = false;
        self.changed.notify_all();
    }

    /// How many reads hang.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
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

/// A disk in memory behind a [`Gate`].
pub struct GatedIo {
    pub disk: Arc<MemIo>,
    pub gate: Arc<Gate>,
}

struct GatedFile {
    file: Arc<dyn File>,
    gate: Arc<Gate>,
}

impl GatedIo {
    pub fn new(disk: Arc<MemIo>) -> GatedIo {
        GatedIo {
            disk,
            gate: Arc::default(),
        }
    }
}

impl Layer for GatedIo {
    fn below(&self) -> &dyn Io {
        &*self.disk
    }

    fn wrap(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        let gate = self.gate.clone();
        Arc::new(GatedFile { file, gate })
    }
}

impl FileLayer for GatedFile {
    fn below(&self) -> &dyn File {
        &*self.file
    }

    fn before_read(&self) {
        self.gate.pass();
    }
}
