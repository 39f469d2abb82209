//! rename, with RENAME_NOREPLACE, RENAME_EXCHANGE and RENAME_WHITEOUT.

use std::sync::Arc;

use lmfs_indexer::{Change, Dirent, Kind};

use super::Namespace;
use super::name::{EntryName, check_name};
use super::remove::drop_link;
use crate::fs::error::{Errno, Error, Result};
use crate::fs::inode::edit::Edit;
use crate::fs::inode::node::Node;
use crate::fs::types::now;
use crate::fs::types::{Caller, ROOT, RenameMode};
use crate::store::reserve::{self, Purpose};
use crate::task::Asker;

impl Namespace {
    /// Whether a rename would have to store the source's written data first.
    pub fn rename_would_block(&self, parent: u64, name: &[u8]) -> bool {
        // Most of the time nothing is dirty, and the name need not be looked up.
        if !self.write_back.has_dirty_files() {
            return false;
        }
        let source = self.store().dirent(parent, name);
        source
            .ok()
            .flatten()
            .is_some_and(|entry| self.write_back.is_dirty(entry.ino))
    }

    /// Moves a name. What has the new name already is replaced in the same transaction, whole or not at all; data
    /// written to the source is stored before, so that the new name never leads to less than was written. Waits for a
    /// flush when [`Namespace::rename_would_block`].
    ///
    /// # Errors
    /// ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY as rename(2) says; EINVAL for a directory that would move into
    /// itself; what the store reports.
    pub async fn rename(
        &self,
        parent: u64,
        name: &[u8],
        new_parent: u64,
        new_name: &[u8],
        mode: RenameMode,
        asker: Asker,
    ) -> Result<()> {
        self.journal.check_writable()?;
        check_name(new_name)?;
        let from = EntryName { parent, name };
        let to = EntryName {
            parent: new_parent,
            name: new_name,
        };
        // Before the namespace is locked, because a flush takes the file's turn first.
        self.store_source(from, to, mode, asker).await?;
        let _namespace = self.lock.lock();
        let source = self.store().dirent(parent, name)?.ok_or_else(Error::not_found)?;
        let target = self.store().dirent(new_parent, new_name)?;
        match (mode, target) {
            (RenameMode::NoReplace | RenameMode::Whiteout { replace: false, .. }, Some(_)) => {
                Err(Error::new(Errno::EXIST, "the new name exists"))
            }
            (RenameMode::Exchange, None) => Err(Error::not_found()),
            // rename(2): two names of one file both stay.
            (_, Some(target)) if target.ino == source.ino => Ok(()),
            (RenameMode::Exchange, Some(target)) => self.exchange(from, source, to, target),
            (RenameMode::Whiteout { owner, .. }, target) => self.replace(from, source, to, target, Some(owner)),
            (_, target) => self.replace(from, source, to, target, None),
        }
    }

    async fn store_source(&self, from: EntryName<'_>, to: EntryName<'_>, mode: RenameMode, asker: Asker) -> Result<()> {
        let replaces = matches!(mode, RenameMode::Replace | RenameMode::Whiteout { replace: true, .. });
        if replaces
            && self.store().dirent(to.parent, to.name)?.is_some()
            && let Some(source) = self.store().dirent(from.parent, from.name)?
            && let Some(node) = self.inodes.held(source.ino)
        {
            self.write_back.flush(&node, asker).await?;
            // The name keeps what it has rather than get less than was written; whoever wrote it is told, too.
            if let Some(lost) = node.lock().lost.untold() {
                return Err(lost.clone());
            }
        }
        Ok(())
    }

    /// The old name is deleted, or leads to a whiteout that belongs to somebody.
    fn replace(
        &self,
        from: EntryName<'_>,
        source: Dirent,
        to: EntryName<'_>,
        target: Option<Dirent>,
        whiteout: Option<Caller>,
    ) -> Result<()> {
        // Only a whiteout makes an inode. A plain rename must work on a full disk, since programs save files by it.
        if whiteout.is_some() {
            reserve::ensure(self.store(), Purpose::Names)?;
        }
        self.check_target(source, target)?;
        self.check_ancestry(source, to)?;
        let nodes = self.nodes_of([
            Some(from.parent),
            Some(to.parent),
            Some(source.ino),
            target.map(|t| t.ino),
        ])?;
        let mut edit = Edit::new(&nodes);
        edit.check_directory(from.parent)?;
        edit.check_directory(to.parent)?;
        let time = now();
        let mut gone = false;
        if let Some(target) = target {
            // First, so that the entry below replaces what is no longer counted.
            gone = drop_link(&mut edit, to.parent, target.ino, time)?;
        }
        move_inode(&mut edit, source, from, to)?;
        edit.inode(source.ino)?.ctime = time;
        edit.touch(from.parent, time)?;
        edit.touch(to.parent, time)?;
        let (parent, name) = (from.parent, from.name.to_vec());
        let left = match whiteout {
            None => Change::DelDirent { parent, name },
            Some(owner) => {
                let entry = self.whiteout(&mut edit, parent, owner)?;
                Change::PutDirent { parent, name, entry }
            }
        };
        edit.push(left);
        edit.push(Change::PutDirent {
            parent: to.parent,
            name: to.name.to_vec(),
            entry: source,
        });
        edit.commit(&self.journal)?;
        let unlinked = target.filter(|_| gone);
        if let Some(node) = unlinked.and_then(|target| nodes.iter().find(|node| node.ino == target.ino)) {
            self.retain_unlinked(node.clone());
        }
        Ok(())
    }

    fn exchange(&self, from: EntryName<'_>, source: Dirent, to: EntryName<'_>, target: Dirent) -> Result<()> {
        self.check_ancestry(source, to)?;
        // Each of the two may be a directory above the other.
        self.check_ancestry(target, from)?;
        let nodes = self.nodes_of([from.parent, to.parent, source.ino, target.ino].map(Some))?;
        let mut edit = Edit::new(&nodes);
        edit.check_directory(from.parent)?;
        edit.check_directory(to.parent)?;
        let time = now();
        move_inode(&mut edit, source, from, to)?;
        move_inode(&mut edit, target, to, from)?;
        edit.inode(source.ino)?.ctime = time;
        edit.inode(target.ino)?.ctime = time;
        edit.touch(from.parent, time)?;
        edit.touch(to.parent, time)?;
        edit.push(Change::PutDirent {
            parent: from.parent,
            name: from.name.to_vec(),
            entry: target,
        });
        edit.push(Change::PutDirent {
            parent: to.parent,
            name: to.name.to_vec(),
            entry: source,
        });
        edit.commit(&self.journal)?;
        Ok(())
    }

    fn nodes_of(&self, inos: [Option<u64>; 4]) -> Result<Vec<Arc<Node>>> {
        inos.into_iter().flatten().map(|ino| self.inodes.get(ino)).collect()
    }

    fn check_target(&self, source: Dirent, target: Option<Dirent>) -> Result<()> {
        let Some(target) = target else {
            return Ok(());
        };
        match (source.kind == Kind::Directory, target.kind == Kind::Directory) {
            (true, false) => Err(Error::new(Errno::NOTDIR, "a directory cannot replace a file")),
            (false, true) => Err(Error::new(Errno::ISDIR, "a file cannot replace a directory")),
            (true, true) if !self.store().dir_is_empty(target.ino)? => {
                Err(Error::new(Errno::NOTEMPTY, "the directory to be replaced is not empty"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses to move a directory to where it is itself above. A damaged store may hold a cycle, so the climb ends.
    fn check_ancestry(&self, moved: Dirent, to: EntryName<'_>) -> Result<()> {
        if moved.kind != Kind::Directory {
            return Ok(());
        }
        let into_itself = Error::new(Errno::INVAL, "a directory cannot move into itself");
        let mut at = to.parent;
        for _ in 0..1 << 20 {
            if at == moved.ino {
                return Err(into_itself);
            }
            if at == ROOT {
                return Ok(());
            }
            at = self.inodes.inode(at)?.parent;
        }
        Err(Error::new(
            Errno::LOOP,
            "the directories above go in a circle; run lmfs check",
        ))
    }
}

/// A directory that changes its parent takes its ".." along.
fn move_inode(edit: &mut Edit<'_>, moved: Dirent, from: EntryName<'_>, to: EntryName<'_>) -> Result<()> {
    if moved.kind == Kind::Directory && from.parent != to.parent {
        let below = edit.inode(from.parent)?;
        below.nlink = below.nlink.saturating_sub(1);
        let above = edit.inode(to.parent)?;
        above.nlink = above
            .nlink
            .checked_add(1)
            .ok_or(Error::new(Errno::MLINK, "too many directories"))?;
        edit.inode(moved.ino)?.parent = to.parent;
    }
    Ok(())
}
