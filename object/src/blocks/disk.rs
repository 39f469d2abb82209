//! Decoded blocks on disk: files that are written one after the other, of which the oldest is deleted.
//!
//! A record is a header of 44 bytes and the block: magic (4), key (24), length (4), CRC-32 of the block (4), zeros (4),
//! CRC-32 of the 40 bytes before (4). A record that is damaged is a block that is not there.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lmfs_codec::MAX_BLOCK;
use object_store::Result;
use parking_lot::Mutex;

use crate::error::generic;
use crate::keys::{BlockKey, ObjectKey};
use crate::options::DiskCache;

const MAGIC: [u8; 4] = *b"LMc1";
const HEADER: usize = 44;
/// Files that all blocks are spread over: so much of them goes at a time.
const FILES: u64 = 16;
/// The fewest bytes of a file. A folder smaller than a few of them would be empty most of the time.
const SMALLEST: u64 = 1 << 20;

/// Where a block is.
#[derive(Clone, Copy)]
struct Spot {
    file: u64,
    /// Where the block begins, behind its header.
    at: u64,
    len: u32,
    crc: u32,
}

struct State {
    index: HashMap<BlockKey, Spot>,
    files: BTreeMap<u64, Arc<File>>,
    /// Bytes of the newest file.
    end: u64,
    /// Writing failed: nothing more is written.
    full: bool,
}

/// The blocks of a folder.
pub struct Disk {
    folder: PathBuf,
    /// Bytes of a file, and how many there may be.
    file_bytes: u64,
    most_files: usize,
    state: Mutex<State>,
    /// Held as long as this is.
    _lock: File,
}

impl Disk {
    /// Opens a folder, makes it if there is none, and looks at what is in it.
    pub fn open(options: &DiskCache) -> Result<Disk> {
        let named = |error: io::Error| generic(format!("the cache in {}: {error}", options.folder.display()));
        let file_bytes = (options.bytes / FILES).max(SMALLEST);
        let most_files = usize::try_from(options.bytes / file_bytes).unwrap_or(usize::MAX);
        if most_files < 2 {
            let least = 2 * SMALLEST;
            return Err(generic(format!("a cache on disk needs at least {} MiB", least >> 20)));
        }
        let folder = options.folder.clone();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(named)?;
        let lock = create(&folder.join("lock")).map_err(named)?;
        if let Err(error) = lock.try_lock() {
            let folder = folder.display();
            return Err(generic(format!(
                "the cache in {folder} is used by another process: {error}"
            )));
        }
        let mut state = State {
            index: HashMap::new(),
            files: BTreeMap::new(),
            end: 0,
            full: false,
        };
        for number in numbers(&folder).map_err(named)? {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(path(&folder, number))
                .map_err(named)?;
            state.end = scan(&file, number, &mut state.index).map_err(named)?;
            state.files.insert(number, Arc::new(file));
        }
        let disk = Disk {
            folder,
            file_bytes,
            most_files,
            state: Mutex::new(state),
            _lock: lock,
        };
        disk.shrink(&mut disk.state.lock(), most_files);
        Ok(disk)
    }

    pub fn has(&self, key: &BlockKey) -> bool {
        self.state.lock().index.contains_key(key)
    }

    /// A block of `len` bytes. One that is not what was written is forgotten.
    pub fn get(&self, key: &BlockKey, len: u64) -> Option<Vec<u8>> {
        let (spot, file) = {
            let mut state = self.state.lock();
            let spot = *state.index.get(key)?;
            if u64::from(spot.len) != len {
                tracing::warn!(
                    "a block in {} has another length than its object says",
                    self.folder.display()
                );
                state.index.remove(key);
                return None;
            }
            (spot, Arc::clone(state.files.get(&spot.file)?))
        };
        let mut bytes = vec![0; spot.len as usize];
        match file.read_exact_at(&mut bytes, spot.at) {
            Ok(()) if crc32fast::hash(&bytes) == spot.crc => Some(bytes),
            read => {
                tracing::warn!("a block in {} is damaged: {read:?}", self.folder.display());
                self.state.lock().index.remove(key);
                None
            }
        }
    }

    /// Forgets a block, which is not what its object has; whether it was here. A restart finds it again, unless another
    /// one was kept since.
    pub fn forget(&self, key: &BlockKey) -> bool {
        self.state.lock().index.remove(key).is_some()
    }

    /// Keeps a block. If it cannot be written, nothing more is.
    pub fn put(&self, key: &BlockKey, bytes: &[u8]) {
        let mut state = self.state.lock();
        if state.full || state.index.contains_key(key) {
            return;
        }
        if let Err(error) = self.append(&mut state, key, bytes) {
            tracing::warn!("the cache in {} takes no more blocks: {error}", self.folder.display());
            state.full = true;
        }
    }

    fn append(&self, state: &mut State, key: &BlockKey, bytes: &[u8]) -> io::Result<()> {
        let newest = state
            .files
            .last_key_value()
            .map(|(number, file)| (*number, Arc::clone(file)));
        let (number, file) = match newest {
            Some(newest) if state.end + (HEADER + bytes.len()) as u64 <= self.file_bytes => newest,
            newest => {
                self.shrink(state, self.most_files - 1);
                let number = newest.map_or(Some(0), |(number, _)| number.checked_add(1));
                let number = number.ok_or_else(|| io::Error::other("there are no more names for files"))?;
                let file = Arc::new(create(&path(&self.folder, number))?);
                state.files.insert(number, Arc::clone(&file));
                state.end = 0;
                (number, file)
            }
        };
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let crc = crc32fast::hash(bytes);
        let mut record = header(key, len, crc).to_vec();
        record.extend(bytes);
        let at = state.end + HEADER as u64;
        file.write_all_at(&record, state.end)?;
        state.end += record.len() as u64;
        let spot = Spot {
            file: number,
            at,
            len,
            crc,
        };
        state.index.insert(*key, spot);
        Ok(())
    }

    /// Deletes the oldest files.
    fn shrink(&self, state: &mut State, most: usize) {
        while state.files.len() > most {
            let Some((number, _)) = state.files.pop_first() else {
                break;
            };
            state.index.retain(|_, spot| spot.file != number);
            if let Err(error) = fs::remove_file(path(&self.folder, number)) {
                tracing::warn!(
                    "cannot delete a file of the cache in {}: {error}",
                    self.folder.display()
                );
            }
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016}.blocks"))
}

/// The numbers of the files, rising.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".blocks"));
        let number = number.and_then(|number| number.parse::<u64>().ok());
        // Exactly the names that are made here: "+1.blocks" and "1.blocks" are somebody else's.
        found.extend(number.filter(|number| path(folder, *number).file_name() == Some(name.as_os_str())));
    }
    found.sort_unstable();
    Ok(found)
}

fn header(key: &BlockKey, len: u32, crc: u32) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    let parts = [
        &MAGIC[..],
        &key.object.0,
        &key.start.to_le_bytes(),
        &len.to_le_bytes(),
        &crc.to_le_bytes(),
        &[0; 4],
    ];
    let (covered, sum) = out.split_at_mut(HEADER - 4);
    covered.iter_mut().zip(parts.concat()).for_each(|(to, from)| *to = from);
    sum.copy_from_slice(&crc32fast::hash(covered).to_le_bytes());
    out
}

/// The key, length and checksum in an intact header.
fn parse(bytes: &[u8; HEADER]) -> Option<(BlockKey, u32, u32)> {
    let (start, rest) = bytes.split_first_chunk::<4>()?;
    let (object, rest) = rest.split_first_chunk::<16>()?;
    let (at, rest) = rest.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (crc, _) = rest.split_first_chunk::<4>()?;
    let key = BlockKey {
        object: ObjectKey(*object),
        start: u64::from_le_bytes(*at),
    };
    let (len, crc) = (u32::from_le_bytes(*len), u32::from_le_bytes(*crc));
    let intact = *start == MAGIC && header(&key, len, crc) == *bytes && len as usize <= MAX_BLOCK;
    intact.then_some((key, len, crc))
}

/// Takes the records of a file into the index, up to the first that is not intact. Where that is.
fn scan(file: &File, number: u64, index: &mut HashMap<BlockKey, Spot>) -> io::Result<u64> {
    let all = file.metadata()?.len();
    let mut input = BufReader::new(file);
    let mut at = 0;
    let mut bytes = [0; HEADER];
    while at + HEADER as u64 <= all {
        input.read_exact(&mut bytes)?;
        let Some((key, len, crc)) = parse(&bytes) else { break };
        let Some(next) = (at + HEADER as u64).checked_add(len.into()).filter(|next| *next <= all) else {
            break;
        };
        let spot = Spot {
            file: number,
            at: at + HEADER as u64,
            len,
            crc,
        };
        index.insert(key, spot);
        input.seek_relative(len.into())?;
        at = next;
    }
    // What follows may be the rest of a longer record.
    file.set_len(at)?;
    Ok(at)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use super::*;

    fn key(start: u64) -> BlockKey {
        BlockKey {
            object: ObjectKey([7; 16]),
            start,
        }
    }

    fn block(start: u64) -> Vec<u8> {
        (0..100_000_u64).map(|i| (i * (start + 3) / 7) as u8).collect()
    }

    fn open(folder: &Path, bytes: u64) -> Disk {
        Disk::open(&DiskCache {
            folder: folder.to_owned(),
            bytes,
        })
        .unwrap()
    }

    #[test]
    fn blocks_survive_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let disk = open(folder.path(), 4 << 20);
        for start in 0..100 {
            disk.put(&key(start), &block(start));
        }
        let kept: Vec<u64> = (0..100).filter(|start| disk.has(&key(*start))).collect();
        assert!((25..=42).contains(&kept.len()), "{kept:?}");
        assert_eq!(*kept.last().unwrap(), 99);
        assert_eq!(kept.len() as u64, 100 - kept[0], "the newest are kept");
        drop(disk);

        let disk = open(folder.path(), 4 << 20);
        for start in &kept {
            assert_eq!(disk.get(&key(*start), 100_000).unwrap(), block(*start));
        }
        let total: u64 = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(total <= 4 << 20, "{total}");
        drop(disk);
        // Files with other names are somebody else's.
        for name in ["7.blocks", "+000000000000007.blocks", "x.blocks"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        // A smaller limit counts at once.
        let disk = open(folder.path(), 2 << 20);
        assert!(disk.has(&key(99)) && !disk.has(&key(kept[0])));
        assert!(folder.path().join("7.blocks").exists());
    }

    #[test]
    fn a_damaged_block_is_a_miss_and_can_be_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let disk = open(folder.path(), 4 << 20);
        (0..3).for_each(|start| disk.put(&key(start), &block(start)));
        let file = OpenOptions::new().write(true).open(path(folder.path(), 0)).unwrap();
        file.write_all_at(b"?", (HEADER + 100_000 + HEADER + 500) as u64)
            .unwrap();
        assert_eq!(disk.get(&key(1), 100_000), None);
        assert!(!disk.has(&key(1)));
        disk.put(&key(1), &block(1));
        assert_eq!(disk.get(&key(2), 99_999), None, "of another length");
        assert!(!disk.has(&key(2)));
        assert_eq!(disk.get(&key(1), 100_000).unwrap(), block(1));
    }

    #[test]
    fn what_follows_a_damaged_header_or_is_cut_short_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        for cut in [true, false] {
            let disk = open(folder.path(), 4 << 20);
            (0..3).for_each(|start| disk.put(&key(start), &block(start)));
            drop(disk);
            let mut file = OpenOptions::new().write(true).open(path(folder.path(), 0)).unwrap();
            if cut {
                file.set_len((3 * (HEADER + 100_000) - 1) as u64).unwrap();
            } else {
                file.seek(SeekFrom::Start((HEADER + 100_000 + 5) as u64)).unwrap();
                file.write_all(b"???").unwrap();
            }
            let disk = open(folder.path(), 4 << 20);
            let left: Vec<u64> = (0..3)
                .filter(|start| disk.get(&key(*start), 100_000).is_some())
                .collect();
            assert_eq!(left, if cut { vec![0, 1] } else { vec![0] });
        }
    }

    #[test]
    fn one_process_uses_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let options = DiskCache {
            folder: folder.path().to_owned(),
            bytes: 4 << 20,
        };
        let first = Disk::open(&options).unwrap();
        let second = Disk::open(&options).err().unwrap().to_string();
        assert!(second.contains("another process"), "{second}");
        drop(first);
        Disk::open(&options).unwrap();
    }
}
