//! From what was done to a folder to what a power cut leaves of it.

use super::Event;
use std::collections::BTreeMap;

/// What becomes of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It is there: a killed process, not a power cut.
    Nothing,
    /// It is gone.
    Everything,
    /// Each write, cut, creation and removal is there, gone, or, for a write, there in part, independently of the others:
    /// what this number, the seed of a random generator, says.
    Any(u64),
}

/// The disk's own unit of writing: a torn write leaves some of these.
const SECTOR: u64 = 512;

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }
}

/// The files that are left of `before` when power is cut after `events`.
pub(super) fn image(before: &BTreeMap<String, Vec<u8>>, events: &[Event], loss: Loss) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<usize, Vec<u8>> = before.values().cloned().enumerate().collect();
    let mut names: BTreeMap<String, usize> = before.keys().cloned().zip(0..).collect();
    let certain = Certain::new(events);
    let mut random = Random(if let Loss::Any(seed) = loss { seed } else { 0 });
    for (at, event) in events.iter().enumerate() {
        let survives = certain.holds(at, event)
            || match loss {
                Loss::Nothing => true,
                Loss::Everything => false,
                Loss::Any(_) => random.below(2) == 0,
            };
        match event {
            Event::Write { file, offset, bytes } => {
                let data = files.entry(*file).or_default();
                if survives {
                    write(data, *offset, bytes);
                } else if matches!(loss, Loss::Any(_)) {
                    tear(data, *offset, bytes, &mut random);
                }
            }
            Event::SetLen { file, len } if survives => {
                let len = usize::try_from(*len).unwrap_or(usize::MAX);
                files.entry(*file).or_default().resize(len, 0);
            }
            Event::Create { path, file } if survives => {
                names.insert(path.clone(), *file);
            }
            Event::Remove { path } if survives => {
                names.remove(path);
            }
            Event::Rename { from, to } if survives => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            _ => {}
        }
    }
    names
        .into_iter()
        .map(|(path, file)| (path, files.get(&file).cloned().unwrap_or_default()))
        .collect()
}

/// Up to which event syncs made files and folders durable.
struct Certain<'a> {
    files: BTreeMap<usize, usize>,
    dirs: BTreeMap<&'a str, usize>,
}

impl<'a> Certain<'a> {
    fn new(events: &'a [Event]) -> Self {
        let (mut files, mut dirs) = (BTreeMap::new(), BTreeMap::new());
        for (at, event) in events.iter().enumerate() {
            match event {
                Event::Sync { file } => drop(files.insert(*file, at)),
                Event::SyncDir { dir } => drop(dirs.insert(dir.as_str(), at)),
                _ => {}
            }
        }
        Self { files, dirs }
    }

    fn holds(&self, at: usize, event: &Event) -> bool {
        let dir = |path: &str| {
            let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
            self.dirs.get(dir).is_some_and(|sync| at < *sync)
        };
        match event {
            Event::Write { file, .. } | Event::SetLen { file, .. } => {
                self.files.get(file).is_some_and(|sync| at < *sync)
            }
            Event::Create { path, .. } | Event::Remove { path } => dir(path),
            Event::Rename { from, to } => dir(from) && dir(to),
            Event::Sync { .. } | Event::SyncDir { .. } => true,
        }
    }
}

fn write(data: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let to = from.saturating_add(bytes.len());
    if data.len() < to {
        data.resize(to, 0);
    }
    if let Some(place) = data.get_mut(from..to) {
        place.copy_from_slice(bytes);
    }
}

/// Writes nothing of `bytes`, a first part, or some of the sectors.
fn tear(data: &mut Vec<u8>, offset: u64, bytes: &[u8], random: &mut Random) {
    match random.below(3) {
        0 => {}
        1 => {
            let n = random.below(bytes.len() as u64) as usize;
            write(data, offset, bytes.get(..n).unwrap_or_default());
        }
        _ => {
            let (mut offset, mut rest) = (offset, bytes);
            while !rest.is_empty() {
                let n = rest.len().min((SECTOR - offset % SECTOR) as usize);
                let (sector, later) = rest.split_at(n);
                if random.below(2) == 0 {
                    write(data, offset, sector);
                }
                (offset, rest) = (offset + n as u64, later);
            }
        }
    }
}
