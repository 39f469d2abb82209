//! The extents of files, and the stored blocks that they name: who uses what.

use super::users::{UsedBy, Users};
use super::{Transaction, refused};
use crate::index::rows::{self, RUN, Run, Use};
use crate::limits::MAX_USERS;
use crate::types::{BlockRef, Extent, StoredBlock};
use crate::{Error, Result};
use std::collections::BTreeSet;

/// More users than a stored block can have.
pub(super) const TOO_MANY: u64 = 1 << 31;

/// Instead of an inode number: all files.
const ALL: u64 = 0;

impl Transaction<'_> {
    /// A stored block, as it is at this point of the transaction.
    pub(super) fn block(&mut self, id: u64) -> Result<Option<StoredBlock>> {
        Ok(self.blocks_of(id / RUN)?.get((id % RUN) as usize).copied().flatten())
    }

    fn blocks_of(&mut self, run: u64) -> Result<&mut Vec<Option<StoredBlock>>> {
        if !self.blocks.contains_key(&run) {
            let blocks = match self.get(&rows::blocks_key(run))? {
                None => vec![None; RUN as usize],
                Some(row) => rows::decode_blocks(run * RUN, &row)
                    .ok_or_else(|| Error::Index(format!("stored blocks from {} on", run * RUN)))?,
            };
            self.blocks.insert(run, blocks);
        }
        self.blocks
            .get_mut(&run)
            .ok_or_else(|| Error::Index("a row that was just read".into()))
    }

    pub(super) fn set_block(&mut self, id: u64, new: Option<StoredBlock>) -> Result<()> {
        let slot = self.blocks_of(id / RUN)?.get_mut((id % RUN) as usize);
        let old = slot.and_then(|slot| std::mem::replace(slot, new));
        let counters = &mut self.out.counters;
        old.iter().for_each(|old| counters.block(id, old, -1));
        new.iter().for_each(|new| counters.block(id, new, 1));
        Ok(())
    }

    /// One more extent of `ino` names a stored block. If that is not in use yet, `new` says what it is.
    fn add_user(&mut self, ino: u64, id: u64, new: Option<&Extent>) -> Result<Use> {
        let stored = match (self.block(id)?, new) {
            (Some(old), _) if old.users + 1 >= TOO_MANY => {
                return refused(format!("the stored block {id} has too many users"));
            }
            (Some(old), _) => StoredBlock {
                users: old.users + 1,
                ..old
            },
            (None, Some(e)) => {
                self.out.placed.push(e.location);
                StoredBlock {
                    location: e.location,
                    tag: e.tag,
                    raw_len: e.raw_len,
                    digest: e.digest,
                    users: 1,
                    reference: 0,
                    referrers: 0,
                }
            }
            (None, None) => return refused(format!("the stored block {id} is not in use")),
        };
        self.set_block(id, Some(stored))?;
        self.grow(ino, i64::from(stored.location.len));
        let raw_len = stored.raw_len.min(new.map_or(u32::MAX, |e| e.raw_len));
        Ok(Use { id, raw_len })
    }

    /// One extent of `ino` less names a stored block.
    fn drop_user(&mut self, ino: u64, id: u64) -> Result<()> {
        // An index made from a checkpoint that is wrong may name what is not there.
        let Some(old) = self.block(id)? else { return Ok(()) };
        self.grow(ino, -i64::from(old.location.len));
        let users = old.users.saturating_sub(1);
        self.set_or_free(id, StoredBlock { users, ..old })
    }

    fn grow(&mut self, ino: u64, bytes: i64) {
        *self.stored.entry(ino).or_default() += bytes;
    }

    fn run(&self, ino: u64, run: u64) -> Result<Run> {
        match self.get(&rows::run_key(ino, run))? {
            None => Ok(vec![None; RUN as usize]),
            Some(row) => {
                rows::decode_run(&row).ok_or_else(|| Error::Index(format!("extents of inode {ino}, run {run}")))
            }
        }
    }

    fn put_run(&mut self, ino: u64, run: u64, old: &Run, new: &Run) -> Result<()> {
        let key = rows::run_key(ino, run);
        match rows::encode_run(new) {
            Some(row) => self.put(key, Some(row)),
            None => self.delete(key)?,
        }
        let named = |run: &Run| run.iter().flatten().map(|u| u.id / RUN).collect::<BTreeSet<_>>();
        let (before, after) = (old, new);
        let (old, new) = (named(old), named(new));
        for row in old.union(&new) {
            for of in [ALL, ino] {
                if let Some(users) = self.users.get_mut(&(*row, of)) {
                    users.forget(ino, run, before, *row);
                    users.note(ino, run, after, *row);
                }
            }
        }
        for gone in old.difference(&new) {
            self.delete(rows::users_key(*gone, ino, run))?;
        }
        for come in new.difference(&old) {
            self.put(rows::users_key(*come, ino, run), Some(Vec::new()));
        }
        Ok(())
    }

    pub(super) fn put_extents(&mut self, ino: u64, first: u64, extents: &[Option<Extent>]) -> Result<()> {
        self.replace(ino, first, extents, |t, new| match new {
            Some(e) => t.add_user(ino, e.id, Some(e)).map(Some),
            None => Ok(None),
        })
    }

    pub(super) fn copy_extents(&mut self, ino: u64, first: u64, from: u64, from_first: u64, count: u64) -> Result<()> {
        let mut source = Vec::new();
        let mut block = from_first;
        while block < from_first + count {
            let (run, at) = (block / RUN, (block % RUN) as usize);
            let taken = self.run(from, run)?;
            let wanted = (from_first + count - block) as usize;
            let taken: Vec<_> = taken.into_iter().skip(at).take(wanted).collect();
            block += taken.len() as u64;
            source.extend(taken);
        }
        self.replace(ino, first, &source, |t, new| match new {
            Some(u) => t.add_user(ino, u.id, None).map(|_| Some(*u)),
            None => Ok(None),
        })
    }

    /// Replaces the blocks from `first` on by what `add` makes of `new`.
    fn replace<T>(
        &mut self,
        ino: u64,
        first: u64,
        new: &[T],
        mut add: impl FnMut(&mut Self, &T) -> Result<Option<Use>>,
    ) -> Result<()> {
        // First all new users, so that a stored block that was used and will be is always in use.
        let new = new.iter().map(|new| add(self, new)).collect::<Result<Vec<_>>>()?;
        let mut block = first;
        let mut rest = new.as_slice();
        while !rest.is_empty() {
            let (run, at) = (block / RUN, (block % RUN) as usize);
            let (now, later) = rest.split_at(rest.len().min(RUN as usize - at));
            let old = self.run(ino, run)?;
            let mut row = old.clone();
            for (slot, new) in row.iter_mut().skip(at).zip(now) {
                if let Some(gone) = std::mem::replace(slot, *new) {
                    self.drop_user(ino, gone.id)?;
                }
            }
            self.put_run(ino, run, &old, &row)?;
            block += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Drops the extents of blocks `from` to before `end`.
    pub(super) fn drop_extents(&mut self, ino: u64, from: u64, end: u64) -> Result<()> {
        let after = rows::run_key(ino, end.div_ceil(RUN));
        let prefix = rows::key(rows::EXTENTS, ino);
        for key in self.keys_with(&prefix, &rows::run_key(ino, from / RUN), |key| key < after.as_slice())? {
            let run = rows::split_key(&key).and_then(|(_, _, rest)| rows::run_of(rest));
            let run = run.ok_or_else(|| Error::Index("key of an extents row".into()))?;
            let old = self.run(ino, run)?;
            let mut row = old.clone();
            for (slot, block) in row.iter_mut().zip(run * RUN..) {
                if (from..end).contains(&block)
                    && let Some(gone) = slot.take()
                {
                    self.drop_user(ino, gone.id)?;
                }
            }
            self.put_run(ino, run, &old, &row)?;
        }
        Ok(())
    }

    /// Who uses a stored block. With one user, it is looked for in the file `hint` first.
    fn users(&mut self, id: u64, users: u64, hint: u64) -> Result<Vec<UsedBy>> {
        if users == 0 {
            return Ok(Vec::new());
        }
        if users == 1 && hint != ALL {
            let found = self.users_in(hint, id)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        self.users_in(ALL, id)
    }

    /// The users of a stored block in one file, or in [`ALL`].
    fn users_in(&mut self, ino: u64, id: u64) -> Result<Vec<UsedBy>> {
        let row = id / RUN;
        if !self.users.contains_key(&(row, ino)) {
            let blocks = self.blocks_of(row)?.iter().zip(row * RUN..);
            let many = blocks.filter(|(stored, _)| stored.is_some_and(|stored| stored.users > MAX_USERS));
            let users = Users::without(many.map(|(_, id)| id).collect());
            let users = self.find_users(row, ino, users)?;
            self.users.insert((row, ino), users);
        }
        match self.users.get(&(row, ino)).and_then(|users| users.of(id)) {
            Some(found) => Ok(found),
            // It was left out, and has fewer users since.
            None => {
                let found = self.find_users(row, ino, Users::default())?;
                Ok(found.of(id).unwrap_or_default())
            }
        }
    }

    /// Adds what the rows of users lead to.
    fn find_users(&self, row: u64, ino: u64, mut users: Users) -> Result<Users> {
        let prefix = match ino {
            ALL => rows::users_prefix(row),
            _ => rows::users_of_prefix(row, ino),
        };
        for key in self.keys_with(&prefix, &prefix, |_| true)? {
            let user = rows::split_key(&key).and_then(|(_, _, rest)| rows::user_of(rest));
            let (ino, run) = user.ok_or_else(|| Error::Index("key of a row of users".into()))?;
            users.note(ino, run, &self.run(ino, run)?, row);
        }
        Ok(users)
    }

    pub(super) fn swap_block(
        &mut self,
        id: u64,
        (old, new): (BlockRef, BlockRef),
        tag: u8,
        reference: u64,
        hint: u64,
    ) -> Result<()> {
        let grown = i64::from(new.len) - i64::from(old.len);
        let Some(now) = self
            .block(id)?
            .filter(|now| now.location == old && (grown == 0 || now.users <= MAX_USERS))
        else {
            self.skip(id);
            return Ok(());
        };
        if reference != now.reference && !self.may_refer(id, &now, reference)? {
            self.skip(id);
            return Ok(());
        }
        if grown != 0 {
            for UsedBy { ino, times, .. } in self.users(id, now.users, hint)? {
                self.grow(ino, grown * times as i64);
                self.out.resized.insert(ino);
            }
        }
        self.out.moved.push((id, old, new));
        self.out.placed.push(new);
        let swapped = StoredBlock {
            location: new,
            tag,
            ..now
        };
        self.set_block(id, Some(swapped))?;
        self.refer(id, swapped, reference)
    }

    pub(super) fn merge_block(&mut self, id: u64, into: u64, hint: u64) -> Result<()> {
        let (old, new) = (self.block(id)?, self.block(into)?);
        let (Some(old), Some(new)) = (old, new) else {
            self.skip(id);
            return Ok(());
        };
        // What refers to it would have to be found, to keep one of two blocks.
        let referred = old.referrers > 0;
        if id == into || referred || old.users > MAX_USERS || old.raw_len != new.raw_len {
            self.skip(id);
            return Ok(());
        }
        for UsedBy { ino, run, .. } in self.users(id, old.users, hint)? {
            let before = self.run(ino, run)?;
            let mut row = before.clone();
            for slot in row.iter_mut().flatten().filter(|slot| slot.id == id) {
                self.add_user(ino, into, None)?;
                self.drop_user(ino, id)?;
                slot.id = into;
            }
            self.put_run(ino, run, &before, &row)?;
            self.out.resized.insert(ino);
        }
        Ok(())
    }

    fn skip(&mut self, id: u64) {
        self.out.skipped.push(super::Skipped { id });
    }

    /// The rows of the stored blocks that changed.
    pub(super) fn put_blocks(&mut self) {
        for (run, blocks) in std::mem::take(&mut self.blocks) {
            let row = rows::encode_blocks(run * RUN, &blocks);
            self.put(rows::blocks_key(run), row);
        }
    }
}
