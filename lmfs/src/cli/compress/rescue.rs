//! Reading files from disks that lose sectors.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use rustix::io::Errno;

/// What a disk reads or fails to read as one.
const SECTOR: u64 = 4096;

/// Reads zeros where the disk gives EIO, and notes where. Checksums tell these zeros from data.
#[derive(Debug)]
pub struct Rescue<R> {
    inner: R,
    bad: Vec<Range<u64>>,
}

impl<R> Rescue<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Rescue<R> {
        Rescue { inner, bad: Vec::new() }
    }

    /// Which bytes could not be read.
    pub fn bad(&self) -> &[Range<u64>] {
        &self.bad
    }

    fn note(&mut self, range: Range<u64>) {
        // Read before, by whoever looked for tables.
        if self.bad.iter().any(|bad| bad.contains(&range.start)) {
            return;
        }
        match self.bad.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.bad.push(range),
        }
    }
}

impl<R: Read + Seek> Rescue<R> {
    /// Passes over the rest of a sector; returns how much of it there is.
    fn pass_over(&mut self, most: usize) -> io::Result<usize> {
        let at = self.inner.stream_position()?;
        let sector = (at / SECTOR + 1) * SECTOR;
        let end = self
            .inner
            .seek(SeekFrom::End(0))?
            .min(sector)
            .min(at + most as u64)
            .max(at);
        self.inner.seek(SeekFrom::Start(end))?;
        if end > at {
            self.note(at..end);
        }
        Ok((end - at) as usize)
    }
}

impl<R: Read + Seek> Read for Rescue<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => {
                // What cannot be sought in, a pipe or a terminal, is no disk.
                let len = self.pass_over(buffer.len()).map_err(|_| error)?;
                buffer.iter_mut().take(len).for_each(|byte| *byte = 0);
                Ok(len)
            }
            other => other,
        }
    }
}

impl<R: Seek> Seek for Rescue<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::io::Cursor;

    use super::*;

    /// A disk with bad sectors.
    struct Disk(Cursor<Vec<u8>>, Vec<u64>);

    impl Read for Disk {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let at = self.0.position();
            if self.1.contains(&(at / SECTOR)) {
                return Err(Errno::IO.into());
            }
            let next = self.1.iter().map(|bad| bad * SECTOR).filter(|&bad| bad > at).min();
            let most = next.map_or(buffer.len(), |next| buffer.len().min((next - at) as usize));
            self.0.read(&mut buffer[..most])
        }
    }

    impl Seek for Disk {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    /// One bad sector once ended a recovery without any output.
    #[test]
    fn bad_sectors_are_zeros_and_everything_else_is_read() {
        let data: Vec<u8> = (0..30_000_u32).map(|i| (i % 251) as u8 + 1).collect();
        let mut rescue = Rescue::new(Disk(Cursor::new(data.clone()), vec![1, 3, 4, 7]));
        let mut expected = data.clone();
        for bad in [4096..8192, 12_288..20_480, 28_672..30_000] {
            expected[bad].fill(0);
        }
        let mut out = Vec::new();
        rescue.read_to_end(&mut out).unwrap();
        assert_eq!(out, expected);
        rescue.seek(SeekFrom::Start(5000)).unwrap();
        let mut part = [9; 5000];
        rescue.read_exact(&mut part).unwrap();
        assert_eq!(part[..], expected[5000..10_000]);
        assert_eq!(rescue.bad(), [4096..8192, 12_288..20_480, 28_672..30_000]);
        // Other errors stay errors.
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(Errno::ACCESS.into())
            }
        }
        impl Seek for Broken {
            fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
                Ok(0)
            }
        }
        assert!(Rescue::new(Broken).read(&mut part).is_err());
    }
}
