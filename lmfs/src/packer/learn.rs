//! Learning: makes dictionaries of what is about to be packed, where they save several times what they take.
//!
//! Files of one kind make a group. A sample of its blocks makes dictionaries of a few sizes, and some other blocks show
//! what each would save. The one that saves most is kept, if it is worth it.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use lmfs_codec::dictionary::{DictionaryId, train};
use lmfs_codec::{Codec, Method, Options, Stop};
use lmfs_indexer::{Error as StoreError, Extent};
use rayon::prelude::*;
use tracing::info;

use super::error::Error;
use super::queue::Queue;
use super::similar::{Similar, Sketch};
use super::{Packer, kinds};
use crate::store::Tag;
use crate::store::contents::Unreadable;
use crate::store::dictionaries::{self, Info};
use crate::store::reserve::{self, Purpose};

/// A group of fewer bytes cannot give back what a dictionary takes.
const LEAST: u64 = 192 << 10;
/// The first blocks of a file, which know little of it. Those behind them have a solid head instead of a dictionary.
const EARLY: usize = 2;
/// Bytes of a group that are looked at, about.
const SAMPLE: u64 = 4 << 20;
/// Blocks on which a dictionary is tried, at most.
const TRIALS: usize = 12;
/// Texts of these sizes are tried, as long as each saves more than the one before.
const SIZES: [usize; 5] = [16 << 10, 48 << 10, 128 << 10, 320 << 10, 1 << 20];
/// A text is at most this part of its group.
const PART: u64 = 4;
/// A dictionary must save so many times what its copies take together: three times its own size.
const WORTH: f64 = 1.5;
/// The same where only size counts.
const WORTH_FOR_SIZE: f64 = 1.1;
/// Bytes of a record of the log beside its contents.
const RECORD: usize = 18;
/// Copies of a dictionary in the log.
const COPIES: usize = 2;
/// Files whose contents are looked at for their kind because their names say nothing, at most.
const LOOKED_INTO: usize = 2000;
/// Digests of blocks that are remembered to find equal ones.
const REMEMBERED: usize = 1 << 20;
/// Extents looked up at a time.
const PAGE: u64 = 1024;

/// What a run learned.
#[derive(Default)]
pub(super) struct Lesson {
    /// Dictionaries made.
    pub made: u64,
    /// The files that they are for.
    pub files: HashSet<u64>,
}

/// Files of one kind, with their blocks that are to be packed.
#[derive(Default)]
struct Group {
    files: Vec<(u64, Range<u64>)>,
    bytes: u64,
}

/// What was seen of a group.
#[derive(Default)]
struct Seen {
    samples: Vec<Vec<u8>>,
    trials: Vec<Vec<u8>>,
    /// Bytes of the blocks of the group that a dictionary is for: the first ones of its files, of equal ones once,
    /// without those that resemble others.
    bytes: u64,
}

/// A dictionary that would be worth it.
struct Draft {
    text: Vec<u8>,
    id: DictionaryId,
    /// The record's bytes.
    block: Vec<u8>,
    saves: f64,
}

impl Draft {
    fn takes(&self) -> f64 {
        (COPIES * (self.block.len() + RECORD)) as f64
    }
}

/// Makes dictionaries for what is queued.
pub(super) fn learn(
    packer: &Packer,
    queue: &Queue,
    computing: &rayon::ThreadPool,
    stop: &Stop,
) -> Result<Lesson, Error> {
    packer.dictionaries.lock().tidy(&packer.store)?;
    let mut lesson = Lesson::default();
    if queue.bytes < LEAST || !packer.codec.options().mix || !packer.codec.options().dictionaries {
        return Ok(lesson);
    }
    let learner = Learner {
        packer,
        computing,
        stop,
        again: queue.again,
    };
    let mut groups: Vec<(String, Group)> = learner.groups(queue)?.into_iter().collect();
    groups.retain(|(_, group)| group.bytes >= LEAST);
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.bytes));
    for (kind, group) in groups {
        let Some(slot) = packer.dictionaries.lock().free_slot(&packer.store)? else {
            break;
        };
        if let Some(draft) = learner.best(&group)? {
            if !learner.keep(draft, slot, kind)? {
                continue;
            }
            lesson.made += 1;
            lesson.files.extend(group.files.iter().map(|(ino, _)| *ino));
        }
    }
    Ok(lesson)
}

struct Learner<'a> {
    packer: &'a Packer,
    computing: &'a rayon::ThreadPool,
    stop: &'a Stop,
    /// What is packed already is looked at, too.
    again: bool,
}

impl Learner<'_> {
    fn groups(&self, queue: &Queue) -> Result<HashMap<String, Group>, Error> {
        let files: HashSet<u64> = queue.files().map(|(ino, ..)| ino).collect();
        let names = kinds::by_name(&self.packer.store, &files)?;
        let mut groups: HashMap<String, Group> = HashMap::new();
        let mut looked_into = 0;
        for (ino, blocks, bytes) in queue.files() {
            self.go_on()?;
            let kind = match names.get(&ino) {
                Some(kind) => kind.clone(),
                None if looked_into < LOOKED_INTO => {
                    looked_into += 1;
                    let first = self.first(ino, &blocks)?;
                    first.map_or_else(String::new, |raw| kinds::by_contents(&raw))
                }
                None => String::new(),
            };
            let group = groups.entry(kind).or_default();
            group.bytes += bytes;
            group.files.push((ino, blocks));
        }
        groups.remove("");
        Ok(groups)
    }

    fn go_on(&self) -> Result<(), Error> {
        match self.stop.is_set() {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }

    /// The first of these blocks that can be read.
    fn first(&self, ino: u64, blocks: &Range<u64>) -> Result<Option<Vec<u8>>, Error> {
        let Some(block) = self.packer.store.next_extent(ino, blocks.start)? else {
            return Ok(None);
        };
        match self.packer.store.extent(ino, block)? {
            Some(extent) => self.raw(ino, block, &extent),
            None => Ok(None),
        }
    }

    /// What a block decodes to. One that cannot be read, or moves, is passed over: there are others.
    fn raw(&self, ino: u64, block: u64, extent: &Extent) -> Result<Option<Vec<u8>>, Error> {
        let bytes = match self.packer.store.read_block_of(ino, block, extent) {
            Ok(bytes) => bytes,
            Err(StoreError::Moved { .. } | StoreError::Damaged { .. } | StoreError::Io { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let contents = &self.packer.contents;
        match contents.decode(extent, &bytes, Some(self.computing), self.stop) {
            Ok(raw) => Ok(Some(raw)),
            Err(Unreadable::Codec(lmfs_codec::Error::Interrupted)) => Err(Error::Interrupted),
            Err(_) => Ok(None),
        }
    }

    /// Reads blocks from all over a group.
    fn look(&self, group: &Group) -> Result<Seen, Error> {
        let every = group.bytes.div_ceil(SAMPLE) as usize;
        let store = &self.packer.store;
        let mut chosen = Vec::new();
        let mut number = 0_usize;
        let mut seen = Seen::default();
        let mut known = HashSet::new();
        for (ino, blocks) in &group.files {
            let (mut at, mut early) = (blocks.start, EARLY);
            // From extent to extent: a file may have holes of more blocks than can be counted.
            while let Some(first) = store.next_extent(*ino, at)?.filter(|first| *first < blocks.end) {
                self.go_on()?;
                let end = first.saturating_add(PAGE).min(blocks.end);
                for (block, extent) in (first..).zip(store.extents(*ino, first..end)?) {
                    let Some(extent) = extent.filter(|extent| self.again || Tag(extent.tag).needs_packing()) else {
                        continue;
                    };
                    // Equal blocks are stored once, whatever they start behind.
                    let digest = (extent.digest, extent.raw_len);
                    if extent.digest != 0 && known.len() < REMEMBERED && !known.insert(digest) {
                        continue;
                    }
                    let is_early = early > 0;
                    early = early.saturating_sub(1);
                    if is_early {
                        seen.bytes += u64::from(extent.raw_len);
                    }
                    if number.is_multiple_of(every) {
                        chosen.push((*ino, block, extent, is_early));
                    }
                    number += 1;
                }
                at = end;
            }
        }
        // Contents that zstd cannot shrink have nothing in common.
        let dense = chosen
            .iter()
            .filter(|(_, _, extent, _)| Tag(extent.tag).method() == Some(Method::Raw));
        if dense.count() * 2 > chosen.len() || seen.bytes < LEAST {
            return Ok(Seen::default());
        }
        let apart = (chosen.iter().filter(|(.., is_early)| *is_early).count() / TRIALS).max(5);
        // What resembles another block is coded behind that one, and has little left for a dictionary to save.
        let (mut similar, mut resembling, mut read, mut early) = (Similar::default(), 0, 0, 0);
        for (number, (ino, block, extent, is_early)) in chosen.into_iter().enumerate() {
            self.go_on()?;
            if let Some(raw) = self.raw(ino, block, &extent)? {
                read += raw.len() as u64;
                let sketch = Sketch::of(&raw);
                if similar.find(&sketch).iter().any(|alike| alike.is_close) {
                    resembling += raw.len() as u64;
                    continue;
                }
                similar.add(&sketch, number);
                early += usize::from(is_early);
                match is_early && early % apart == apart / 2 && seen.trials.len() < TRIALS {
                    true => seen.trials.push(raw),
                    false => seen.samples.push(raw),
                }
            }
        }
        let new = read.saturating_sub(resembling) as f64 / read.max(1) as f64;
        seen.bytes = (seen.bytes as f64 * new) as u64;
        Ok(seen)
    }

    /// The dictionary that saves most of a group, if any is worth it.
    fn best(&self, group: &Group) -> Result<Option<Draft>, Error> {
        let seen = self.look(group)?;
        if seen.trials.is_empty() {
            return Ok(None);
        }
        let raw: usize = seen.trials.iter().map(Vec::len).sum();
        let scale = seen.bytes as f64 / raw.max(1) as f64;
        // With the language model for every byte that it saves, a look at each size would take too long: the adaptive
        // models choose one, and then it is seen what it saves with the language model.
        let for_size = self.packer.codec.options().model_worth == 0;
        let without = match for_size {
            true => self.mixed(&seen.trials)?,
            false => self.without(&seen.trials)?,
        };
        let saves = |without: &[usize], with: &[usize]| {
            let saved = without.iter().zip(with).map(|(old, new)| old.saturating_sub(*new));
            saved.sum::<usize>() as f64 * scale
        };
        let mut best: Option<Draft> = None;
        for size in SIZES {
            if size as u64 > seen.bytes / PART {
                break;
            }
            let text = train(&seen.samples, size);
            let id = DictionaryId::of(&text);
            let block = self.coded(|stop| dictionaries::encode(&text, stop))?;
            let saves = saves(&without, &self.with(&text, id, &seen.trials, false)?);
            let draft = Draft { text, id, block, saves };
            let gain = |draft: &Draft| draft.saves - draft.takes();
            if best.as_ref().is_some_and(|best| gain(best) >= gain(&draft)) {
                break;
            }
            best = Some(draft);
        }
        let worth = if for_size { WORTH_FOR_SIZE } else { WORTH };
        let is_worth_it = |draft: &Draft| draft.saves >= worth * draft.takes();
        let mut best = best.filter(is_worth_it);
        if let Some(draft) = best.as_mut().filter(|_| for_size) {
            let without = self.without(&seen.trials)?;
            draft.saves = saves(&without, &self.with(&draft.text, draft.id, &seen.trials, true)?);
        }
        Ok(best.filter(is_worth_it))
    }

    /// Bytes of these blocks as they would be packed now.
    fn without(&self, trials: &[Vec<u8>]) -> Result<Vec<usize>, Error> {
        let codec = &self.packer.codec;
        let candidates: Vec<Vec<DictionaryId>> = {
            let dictionaries = self.packer.dictionaries.lock();
            trials.iter().map(|raw| dictionaries.candidates(raw)).collect()
        };
        self.coded(|stop| {
            let blocks = trials.par_iter().zip(&candidates);
            let lens = blocks.map(|(raw, candidates)| Ok(codec.encode_with(raw, candidates, stop)?.len()));
            lens.collect()
        })
    }

    /// Bytes of these blocks by the adaptive models, behind built-in dictionaries at most.
    fn mixed(&self, trials: &[Vec<u8>]) -> Result<Vec<usize>, Error> {
        self.coded(|stop| {
            let codec = Codec::new(None, self.packer.codec.options().clone())?;
            let lens = trials.par_iter().map(|raw| Ok(codec.encode(raw, stop)?.len()));
            lens.collect()
        })
    }

    /// Bytes of these blocks behind a dictionary, with the language model or not.
    fn with(&self, text: &[u8], id: DictionaryId, trials: &[Vec<u8>], model: bool) -> Result<Vec<usize>, Error> {
        let mut options: Options = self.packer.codec.options().clone();
        (options.model, options.dictionaries) = (options.model && model, false);
        let model = self.packer.codec.model().filter(|_| model).cloned();
        self.coded(|stop| {
            let codec = Codec::with_dictionaries(model, std::sync::Arc::new(vec![text.to_vec()]), options)?;
            let lens = trials
                .par_iter()
                .map(|raw| Ok(codec.encode_with(raw, &[id], stop)?.len()));
            lens.collect()
        })
    }

    fn coded<T: Send>(&self, work: impl FnOnce(&Stop) -> lmfs_codec::Result<T> + Send) -> Result<T, Error> {
        let result = self.computing.install(|| work(self.stop));
        result.map_err(|error| match error {
            lmfs_codec::Error::Interrupted => Error::Interrupted,
            other => Error::Learning(other),
        })
    }

    /// Stores a dictionary, from where blocks can start behind it. False if the store has it already, in another slot:
    /// blocks tagged with this one would need what nobody knows to be in use. It is among those that are tried, if it
    /// can be read.
    fn keep(&self, draft: Draft, slot: u8, kind: String) -> Result<bool, Error> {
        let store = &self.packer.store;
        reserve::ensure(store, Purpose::Data)?;
        let info = Info {
            slot,
            len: u32::try_from(draft.text.len()).unwrap_or(u32::MAX),
            kind,
        };
        if !store.add_dictionary(draft.id.0, &info.to_bytes(), &draft.block)? {
            return Ok(false);
        }
        self.packer.dictionaries.lock().put(draft.id, slot, &draft.text);
        info!(
            id = %draft.id,
            kind = info.kind,
            bytes = draft.text.len(),
            takes = draft.takes(),
            saves = draft.saves,
            "learned a dictionary"
        );
        Ok(true)
    }
}
