//! A folder in memory.

use super::{Entry, File, Io, Stat};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A folder in memory: for tests, and for trying a store out without a disk. Clones share the files.
#[derive(Clone, Default)]
pub struct MemIo {
    files: Arc<Mutex<BTreeMap<String, Arc<MemFile>>>>,
    /// What of 2^64 - 1 bytes is said to be not free.
    taken: Arc<AtomicU64>,
}

/// Contents are shared until they are written to, so that many folders can begin as the same one at no cost.
#[derive(Default)]
struct MemFile(Mutex<Arc<Vec<u8>>>);

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock()
}

impl MemIo {
    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// A folder with these files.
    pub fn from_files(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self::from_shared(files.into_iter().map(|(k, v)| (k, Arc::new(v))))
    }

    /// A folder with these files, whose contents are copied only when they are written to.
    pub fn from_shared(files: impl IntoIterator<Item = (String, Arc<Vec<u8>>)>) -> Self {
        let files = files
            .into_iter()
            .map(|(k, v)| (k, Arc::new(MemFile(Mutex::new(v)))))
            .collect();
        Self {
            files: Arc::new(Mutex::new(files)),
            taken: Arc::default(),
        }
    }

    /// Says from now on that so many bytes are free. Writing more than that does not fail.
    pub fn set_free_space(&self, bytes: u64) {
        self.taken.store(u64::MAX - bytes, Ordering::Relaxed);
    }

    /// A copy of all files, by path.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        lock(&self.files)
            .iter()
            .map(|(k, v)| (k.clone(), lock(&v.0).to_vec()))
            .collect()
    }

    fn get(&self, path: &str) -> io::Result<Arc<MemFile>> {
        lock(&self.files)
            .get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Io for MemIo {
    fn list(&self, dir: &str) -> io::Result<Vec<Entry>> {
        let prefix = if dir.is_empty() {
            String::new()
        } else {
            format!("{dir}/")
        };
        Ok(lock(&self.files)
            .iter()
            .filter_map(|(k, v)| {
                let name = k.strip_prefix(&prefix)?;
                // Locked once: the guard of a field's expression lives until the last field is done.
                let len = lock(&v.0).len() as u64;
                (!name.contains('/')).then(|| Entry {
                    name: name.to_owned(),
                    len,
                    allocated: len,
                })
            })
            .collect())
    }

    fn make_dir(&self, _dir: &str) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut files = lock(&self.files);
        if files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(MemFile::default());
        files.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, path: &str, _write: bool) -> io::Result<Arc<dyn File>> {
        Ok(self.get(path)?)
    }

    fn stat(&self, path: &str) -> io::Result<Stat> {
        self.get(path)?.stat()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = lock(&self.files);
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        lock(&self.files)
            .remove(path)
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn clear_dir(&self, dir: &str, keep: &str) -> io::Result<()> {
        let prefix = format!("{dir}/");
        lock(&self.files).retain(|k, _| k.strip_prefix(&prefix).is_none_or(|name| name == keep));
        Ok(())
    }

    fn sync_dir(&self, _dir: &str) -> io::Result<()> {
        Ok(())
    }

    fn free_space(&self) -> io::Result<u64> {
        Ok(u64::MAX - self.taken.load(Ordering::Relaxed))
    }
}

impl File for MemFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let data = lock(&self.0);
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let src = data.get(from..).unwrap_or_default();
        let n = src.len().min(buf.len());
        if let (Some(dst), Some(src)) = (buf.get_mut(..n), src.get(..n)) {
            dst.copy_from_slice(src);
        }
        Ok(n)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut data = lock(&self.0);
        let data = Arc::make_mut(&mut data);
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let to = from.checked_add(buf.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        if data.len() < to {
            data.resize(to, 0);
        }
        if let Some(dst) = data.get_mut(from..to) {
            dst.copy_from_slice(buf);
        }
        Ok(buf.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        Arc::make_mut(&mut lock(&self.0)).resize(len, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len() as u64)
    }
    fn stat(&self) -> io::Result<Stat> {
        Ok(Stat {
            id: (0, std::ptr::from_ref(self) as u64),
            len: self.len()?,
            links: 1,
        })
    }
}
