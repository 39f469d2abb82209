//! SHA-256 of every file, as lines that `sha256sum -c` understands.

use std::collections::{HashSet, VecDeque};

use lmfs_indexer::{Inode, Kind};
use sha2::{Digest, Sha256};

use super::names::Names;
use super::{Error, Job, Line};

/// Inodes read at a time.
const PAGE: usize = 1024;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Hashes files while their blocks come by, in order of inode and block.
pub struct Sums<'a, 'n> {
    job: &'a Job<'a>,
    names: &'n Names,
    line: Line<'a>,
    /// The file whose blocks come by, and what was hashed of it.
    file: Option<(Inode, Sha256, u64)>,
    /// All inodes up to this one are done.
    done: u64,
    /// Inodes still to come, read up to number `read`.
    ahead: VecDeque<Inode>,
    read: u64,
    /// Files that cannot be read whole.
    damaged: HashSet<u64>,
}

impl<'a, 'n> Sums<'a, 'n> {
    pub fn new(job: &'a Job<'a>, names: &'n Names, line: Line<'a>) -> Sums<'a, 'n> {
        Sums {
            job,
            names,
            line,
            file: None,
            done: 0,
            ahead: VecDeque::new(),
            read: 0,
            damaged: HashSet::new(),
        }
    }

    /// Files up to this inode have their lines already.
    pub fn skip_to(&mut self, ino: u64) {
        (self.done, self.read) = (ino, ino);
    }

    /// All files up to this inode have their lines.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// These files get no lines.
    pub fn without(&mut self, inos: impl Iterator<Item = u64>) {
        self.damaged.extend(inos);
    }

    /// The next block cannot be read: its file gets no line.
    pub fn damaged(&mut self, ino: u64) -> Result<(), Error> {
        self.damaged.insert(ino);
        self.reach(ino)
    }

    /// Takes the next block.
    pub fn block(&mut self, ino: u64, block: u64, bytes: &[u8]) -> Result<(), Error> {
        self.reach(ino)?;
        let Some((inode, hash, at)) = &mut self.file else {
            return Ok(());
        };
        let start = block.saturating_mul(self.job.block_size.into()).min(inode.size);
        zeros(hash, start.saturating_sub(*at), self.job)?;
        let left = (inode.size - start) as usize;
        let bytes = bytes.get(..left).unwrap_or(bytes);
        hash.update(bytes);
        *at = (*at).max(start) + bytes.len() as u64;
        Ok(())
    }

    /// Finishes all files before `ino` and begins it.
    fn reach(&mut self, ino: u64) -> Result<(), Error> {
        if self.file.as_ref().is_some_and(|(inode, ..)| inode.ino == ino) {
            return Ok(());
        }
        self.finish_file()?;
        while let Some(inode) = self.next(ino)? {
            self.finish_file()?;
            self.done = inode.ino.saturating_sub(1);
            if inode.kind == Kind::File {
                self.file = Some((inode, Sha256::new(), 0));
            }
        }
        // The last of them is the one whose blocks come, if it has any.
        match &self.file {
            Some((inode, ..)) if inode.ino != ino => self.finish_file(),
            _ => Ok(()),
        }
    }

    /// The next inode, up to this one.
    fn next(&mut self, up_to: u64) -> Result<Option<Inode>, Error> {
        if self.ahead.is_empty() {
            self.ahead = self.job.store.inodes(self.read, PAGE)?.into();
            self.read = self.ahead.back().map_or(self.read, |inode| inode.ino);
        }
        let wanted = self.ahead.front().is_some_and(|inode| inode.ino <= up_to);
        Ok(if wanted { self.ahead.pop_front() } else { None })
    }

    /// Finishes all files.
    pub fn finish(mut self) -> Result<(), Error> {
        self.reach(u64::MAX)?;
        self.finish_file()
    }

    fn finish_file(&mut self) -> Result<(), Error> {
        let Some((inode, mut hash, at)) = self.file.take() else {
            return Ok(());
        };
        self.done = inode.ino;
        if self.damaged.contains(&inode.ino) {
            return Ok(());
        }
        zeros(&mut hash, inode.size.saturating_sub(at), self.job)?;
        let digest = hex::encode(hash.finalize());
        for name in self.names.all(inode.ino) {
            (self.line)(&text(&digest, &name)).map_err(Error::Output)?;
        }
        Ok(())
    }
}

fn zeros(hash: &mut Sha256, mut n: u64, job: &Job<'_>) -> Result<(), Error> {
    while n > 0 {
        if job.stop.is_set() {
            return Err(Error::Interrupted);
        }
        let piece = ZEROS.len().min(n as usize);
        hash.update(ZEROS.get(..piece).unwrap_or_default());
        n -= piece as u64;
    }
    Ok(())
}

/// A line, without its end: paths are relative to the mountpoint, and begin with a dot, as find(1) prints them.
fn text(digest: &str, path: &[u8]) -> Vec<u8> {
    let (path, odd) = escaped(path);
    let start = if odd { "\\" } else { "" };
    [start.as_bytes(), digest.as_bytes(), b"  ./", &path].concat()
}

/// A name as sha256sum(1) writes it, and whether that differs from the name: then a backslash begins the line.
#[must_use]
pub fn escaped(name: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => out.push(*byte),
        }
    }
    let odd = out.len() > name.len();
    (out, odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_sha256sum_does() {
        assert_eq!(text("ab", b"plain name"), b"ab  ./plain name");
        assert_eq!(text("ab", b"a\nb\\c\r\xff"), b"\\ab  ./a\\nb\\\\c\\r\xff");
    }
}
