//! A store that somebody else writes: it is read as it was when it was opened, until it is loaded again.

use super::{OpenOptions, OpenReport, Store, recover};
use crate::{Error, Result};
use std::sync::atomic::Ordering;

impl Store {
    /// Reads the log again, which has grown, of a store that is open for reading only. Everybody who reads meanwhile
    /// finds the state before or the state after. When this fails, the state before stays.
    pub fn reload(&self) -> Result<OpenReport> {
        if !self.read_only {
            return Err(Error::InvalidOption(
                "a store that is written to cannot be loaded again".into(),
            ));
        }
        let _one_at_a_time = self.checkpointing.lock();
        let options = OpenOptions {
            read_only: true,
            store_id: Some(self.store_id),
            ..OpenOptions::default()
        };
        let found = recover::recover(&self.io, &options)?;
        if found.resume.seq < self.log.seq() {
            let newest = found.resume.segments.values().next_back();
            return Err(Error::LogDamaged {
                segment: newest.map_or(0, |segment| segment.id),
                offset: newest.map_or(0, |segment| segment.len()),
                why: format!("transactions after {}, which were there, are missing", found.resume.seq),
            });
        }
        let mut state = self.state_mut();
        self.next_id
            .fetch_max(found.counters.max_id.saturating_add(1), Ordering::Relaxed);
        self.log.replace(found.resume);
        state.index = found.index;
        state.counters = found.counters;
        Ok(found.report)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{Change, CreateOptions, GcOptions, MemIo};
    use std::sync::Arc;

    fn put(store: &Store, n: u32) {
        let (key, value) = (n.to_be_bytes().to_vec(), vec![n as u8; 300]);
        let _put = store.commit(vec![Change::PutMeta { key, value }]).unwrap();
    }

    #[test]
    fn a_reader_follows_a_writer() {
        let io = MemIo::new();
        let writer = Store::create(Arc::new(io.clone()), CreateOptions::new([1; 16])).unwrap();
        put(&writer, 0);
        let options = OpenOptions {
            read_only: true,
            ..OpenOptions::default()
        };
        let (reader, _) = Store::open(Arc::new(io.clone()), options).unwrap();
        for n in 1..60 {
            put(&writer, n);
            if n % 10 == 0 {
                writer.checkpoint().unwrap();
                let options = GcOptions {
                    seal_head: true,
                    ..GcOptions::default()
                };
                let _report = writer.gc(&options, &mut |_| true).unwrap();
            }
            assert_eq!(reader.meta(&n.to_be_bytes()).unwrap(), None, "not before it is loaded");
            let _report = reader.reload().unwrap();
            assert_eq!(reader.seq(), writer.seq());
            assert_eq!(reader.meta(&n.to_be_bytes()).unwrap(), Some(vec![n as u8; 300]));
        }
        assert!(writer.reload().is_err(), "it would lose what is not in the log yet");
    }

    /// Regression: whoever opened a store to read what is left of it read its log, although the index of its last close
    /// was there.
    #[test]
    fn a_store_that_was_closed_is_opened_without_reading_its_log() {
        let io = MemIo::new();
        let writer = Store::create(Arc::new(io.clone()), CreateOptions::new([1; 16])).unwrap();
        put(&writer, 0);
        writer.close().unwrap();
        let before = io.files();
        for (read_only, salvage) in [(true, false), (true, true), (false, true)] {
            let options = OpenOptions {
                read_only,
                salvage,
                ..OpenOptions::default()
            };
            let (reader, report) = Store::open(Arc::new(io.clone()), options).unwrap();
            assert!(report.rebuilt.is_none());
            assert_eq!(reader.meta(&0_u32.to_be_bytes()).unwrap(), Some(vec![0; 300]));
            drop(reader);
            assert!(io.files() == before, "nothing is written");
        }
    }

    #[test]
    fn a_log_that_went_back_is_refused() {
        let io = MemIo::new();
        let writer = Store::create(Arc::new(io.clone()), CreateOptions::new([1; 16])).unwrap();
        let before = io.files();
        put(&writer, 0);
        let now = MemIo::from_files(io.files());
        let options = OpenOptions {
            read_only: true,
            ..OpenOptions::default()
        };
        let (reader, _) = Store::open(Arc::new(now.clone()), options).unwrap();
        let (path, bytes) = before.iter().find(|(path, _)| path.ends_with(".seg")).unwrap();
        let file = crate::Io::open(&now, path, true).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        assert!(matches!(reader.reload(), Err(Error::LogDamaged { .. })));
        assert_eq!(reader.seq(), writer.seq(), "what was there stays");
    }
}
