//! Going through a record event by event, ready at each to say what a power cut would leave.
//!
//! What is durable is applied once and kept, so an image costs what was not synced and no more: histories of thousands
//! of operations can be cut at every place.

use super::image::{Loss, Random, set_len, tear, write};
use super::{Event, MemIo, Record};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A file as the disk has it.
#[derive(Clone, Default)]
struct Contents {
    durable: Arc<Vec<u8>>,
    /// Numbers of the events that changed it since it was synced.
    pending: Vec<usize>,
}

/// A change of names that is not durable.
#[derive(Clone)]
struct Move {
    event: usize,
    /// Folders still to be synced before it is.
    dirs: Vec<String>,
}

/// A place in what was recorded: see [`super::CrashIo::replay`].
#[derive(Clone)]
pub struct Replay {
    record: Arc<Mutex<Record>>,
    at: usize,
    files: BTreeMap<usize, Contents>,
    /// Durable names.
    names: BTreeMap<String, usize>,
    moves: Vec<Move>,
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock()
}

fn folder(path: &str) -> String {
    path.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned()
}

impl Replay {
    pub(super) fn new(before: Arc<BTreeMap<String, Vec<u8>>>, record: Arc<Mutex<Record>>) -> Self {
        let files = before.values().enumerate().map(|(number, bytes)| {
            let contents = Contents {
                durable: Arc::new(bytes.clone()),
                pending: Vec::new(),
            };
            (number, contents)
        });
        Self {
            record,
            at: 0,
            files: files.collect(),
            names: before.keys().cloned().zip(0..).collect(),
            moves: Vec::new(),
        }
    }

    /// How many events have happened here.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Lets the next event happen; false if there is none.
    pub fn advance(&mut self) -> bool {
        let record = Arc::clone(&self.record);
        let record = lock(&record);
        let Some(event) = record.events.get(self.at) else {
            return false;
        };
        let number = self.at;
        self.at += 1;
        match event {
            Event::Write { file, .. } | Event::SetLen { file, .. } => {
                self.files.entry(*file).or_default().pending.push(number);
            }
            Event::Sync { file } => {
                let contents = self.files.entry(*file).or_default();
                let bytes = Arc::make_mut(&mut contents.durable);
                for number in contents.pending.drain(..) {
                    if let Some(event) = record.events.get(number) {
                        happen(bytes, event);
                    }
                }
            }
            Event::LostSync { file } => {
                let lost = |number: &usize| matches!(record.events.get(*number), Some(Event::Write { .. }));
                let contents = self.files.entry(*file).or_default();
                contents.pending.retain(|number| !lost(number));
            }
            Event::Create { path, .. } | Event::Remove { path } => self.moves.push(Move {
                event: number,
                dirs: vec![folder(path)],
            }),
            Event::Rename { from, to } => self.moves.push(Move {
                event: number,
                dirs: vec![folder(from), folder(to)],
            }),
            Event::SyncDir { dir } => {
                for m in &mut self.moves {
                    m.dirs.retain(|d| d != dir);
                }
                let names = &mut self.names;
                self.moves.retain(|m| {
                    let durable = m.dirs.is_empty();
                    if durable && let Some(event) = record.events.get(m.event) {
                        rename(names, event);
                    }
                    !durable
                });
            }
        }
        true
    }

    /// What a power cut here leaves.
    pub fn image(&self, loss: Loss) -> MemIo {
        let record = lock(&self.record);
        let mut random = Random(if let Loss::Any(seed) = loss { seed } else { 0 });
        let survives = |random: &mut Random| match loss {
            Loss::Nothing => true,
            Loss::Everything => false,
            Loss::Any(_) => random.below(2) == 0,
        };
        let mut names = self.names.clone();
        for event in self.moves.iter().filter_map(|m| record.events.get(m.event)) {
            if survives(&mut random) {
                rename(&mut names, event);
            }
        }
        let files = names.into_iter().map(|(path, number)| {
            let Some(contents) = self.files.get(&number) else {
                return (path, Arc::default());
            };
            let mut bytes = Arc::clone(&contents.durable);
            for event in contents.pending.iter().filter_map(|n| record.events.get(*n)) {
                if survives(&mut random) {
                    happen(Arc::make_mut(&mut bytes), event);
                } else if matches!(loss, Loss::Any(_))
                    && let Event::Write { offset, bytes: new, .. } = event
                {
                    tear(Arc::make_mut(&mut bytes), *offset, new, &mut random);
                }
            }
            (path, bytes)
        });
        MemIo::from_shared(files.collect::<Vec<_>>())
    }
}

fn happen(data: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Write { offset, bytes, .. } => write(data, *offset, bytes),
        Event::SetLen { len, .. } => set_len(data, *len),
        _ => {}
    }
}

fn rename(names: &mut BTreeMap<String, usize>, event: &Event) {
    match event {
        Event::Create { path, file } => drop(names.insert(path.clone(), *file)),
        Event::Remove { path } => drop(names.remove(path)),
        Event::Rename { from, to } => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        _ => {}
    }
}
