//! What an object is: a container, or anything else.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use lmfs_codec::stream::layout::{Finder, ends_a_container, starts_a_container};
use object_store::path::Path;
use object_store::{GetOptions, Result};

use crate::error::{ATTEMPTS, Stopped, failed, restless};
use crate::keys::{ContentId, ObjectKey};
use crate::known::{Container, Kind};
use crate::request::{self, Pin, Response, Tail, is_conditional};
use crate::shared::Shared;

/// Bytes of the start of an object that are asked for: they have the header.
const START: u64 = 64;
/// The most bytes of a seek table that are asked for at a time.
const TABLE: u64 = 8 << 20;

/// The most containers of an object.
const CONTAINERS: usize = 1 << 16;

/// An object that can be read.
pub struct Opened {
    pub pin: Pin,
    pub kind: Kind,
    /// What the store said when it was opened; `None` if it was known, and nobody has asked since.
    pub fresh: Option<Response>,
    /// What was read of it.
    pub pieces: Pieces,
}

/// Stretches of what is stored.
#[derive(Clone, Default)]
pub struct Pieces(Vec<(u64, Bytes)>);

impl Pieces {
    /// These bytes, if they are here.
    pub fn get(&self, range: &Range<u64>) -> Option<Bytes> {
        self.0.iter().find_map(|(start, bytes)| {
            let from = usize::try_from(range.start.checked_sub(*start)?).ok()?;
            let to = usize::try_from(range.end - start).ok()?;
            (to <= bytes.len()).then(|| bytes.slice(from..to))
        })
    }

    /// What to ask for when `wanted` is. `table` is the rest of a table that will be wanted, too.
    fn missing(&self, wanted: &Range<u64>, table: Option<Range<u64>>, tail: u64) -> Range<u64> {
        let known = self
            .0
            .iter()
            .map(|(start, _)| *start)
            .filter(|start| *start > wanted.start);
        let next = known.min().unwrap_or(u64::MAX);
        match table {
            Some(table) => wanted.start..table.end.min(next).min(wanted.start + TABLE),
            None if wanted.start == 0 => 0..next.min(START.max(wanted.end)),
            // What is before it is wanted next.
            None => wanted.start.min(wanted.end.saturating_sub(tail))..wanted.end,
        }
    }
}

impl Shared {
    /// Opens an object, again if it is replaced meanwhile.
    pub async fn open_now(&self, location: &Path, conditions: &GetOptions) -> Result<Opened> {
        for _ in 0..ATTEMPTS {
            let attempt = self.open(location, conditions).await;
            if let Some(opened) = self.settled(location, attempt)? {
                return Ok(opened);
            }
        }
        Err(restless(location))
    }

    /// Opens an object. The conditions are the caller's; without any, one that is known costs no request.
    pub async fn open(&self, location: &Path, conditions: &GetOptions) -> Result<Opened, Stopped> {
        let known = self.known.seen(location);
        if let (Some(seen), false) = (&known, is_conditional(conditions)) {
            return Ok(Opened {
                pin: seen.pin.clone(),
                kind: seen.kind.clone(),
                fresh: seen.fresh(self.options.trust),
                pieces: Pieces::default(),
            });
        }
        let (before, begun) = (self.known.changes(location), Instant::now());
        let tail = request::tail(&*self.inner, location, conditions, self.options.tail).await?;
        let Tail {
            pin,
            response,
            start,
            bytes,
        } = tail;
        let mut pieces = Pieces(vec![(start, bytes)]);
        let kind = match known {
            Some(seen) if seen.pin.meta.e_tag == pin.meta.e_tag && seen.pin.meta.size == pin.meta.size => {
                seen.kind.clone()
            }
            _ => self.find_out(&pin, &mut pieces).await?,
        };
        self.known.set_seen(&pin, &kind, &response, begun, before);
        Ok(Opened {
            pin,
            kind,
            fresh: Some(response),
            pieces,
        })
    }

    /// What an object is whose end is here.
    async fn find_out(&self, pin: &Pin, pieces: &mut Pieces) -> Result<Kind, Stopped> {
        let size = pin.meta.size;
        let end = size.saturating_sub(8)..size;
        if !pieces.get(&end).is_some_and(|end| ends_a_container(&end)) {
            // One that was cut short must not be taken for something else.
            let start = self.stored(pin, pieces, 0..size.min(8), None).await?;
            if starts_a_container(&start) {
                return Err(failed(&pin.meta.location, "a damaged container: its end is missing").into());
            }
            return Ok(Kind::Plain);
        }
        let damaged = |error| Stopped::Failed(failed(&pin.meta.location, error));
        let mut finder = Finder::new(size, false).map_err(damaged)?;
        while let Some(range) = finder.next().map_err(damaged)? {
            bounded(&finder).map_err(damaged)?;
            let bytes = self.stored(pin, pieces, range, finder.table()).await?;
            finder.take(&bytes).map_err(damaged)?;
        }
        let found = finder.finish().map_err(damaged)?;
        let content = ContentId {
            len: found.len(),
            crc32: found.content_crc(),
        };
        let codecs = Arc::clone(&self.options.codecs);
        let layout = self.pool.run(move || found.with(|header| codecs.of(header))).await?;
        Ok(Kind::Container(Arc::new(Container {
            layout: layout.map_err(damaged)?,
            content,
            key: ObjectKey::new(&self.name, &pin.meta, &content),
        })))
    }

    /// These bytes of what is stored.
    async fn stored(
        &self,
        pin: &Pin,
        pieces: &mut Pieces,
        range: Range<u64>,
        table: Option<Range<u64>>,
    ) -> Result<Bytes, Stopped> {
        if let Some(bytes) = pieces.get(&range) {
            return Ok(bytes);
        }
        let asked = pieces.missing(&range, table, self.options.tail);
        let (mut bytes, _) = request::bytes(&*self.inner, pin, asked.clone()).await?;
        // What was joined to a piece is one piece with it.
        let mut whole = asked;
        if let Some(at) = pieces.0.iter().position(|(start, _)| *start == whole.end)
            && whole.end - whole.start <= TABLE
        {
            let (_, next) = pieces.0.swap_remove(at);
            whole.end += next.len() as u64;
            bytes = [bytes, next].concat().into();
        }
        pieces.0.push((whole.start, bytes));
        let missing = || failed(&pin.meta.location, format!("the range {range:?} was not read"));
        Ok(pieces.get(&range).ok_or_else(missing)?)
    }

    /// Bytes of content of an object that was listed or asked for; `None` if it is damaged.
    pub async fn content_len(&self, tail: Tail) -> Result<Option<u64>, Stopped> {
        let pin = tail.pin;
        let size = pin.meta.size;
        let mut pieces = Pieces(vec![(tail.start, tail.bytes)]);
        let end = size.saturating_sub(8)..size;
        if !pieces.get(&end).is_some_and(|end| ends_a_container(&end)) {
            return Ok(Some(size));
        }
        // Headers are not looked at where they need not be: that is another request.
        let mut finder = match Finder::new(size, true) {
            Ok(finder) => finder,
            Err(error) => return Ok(damaged(&pin, error)),
        };
        loop {
            if let Some(len) = finder.only_len() {
                return Ok(Some(len));
            }
            let range = match bounded(&finder).and_then(|()| finder.next()) {
                Ok(Some(range)) => range,
                Ok(None) => break,
                Err(error) => return Ok(damaged(&pin, error)),
            };
            let bytes = self.stored(&pin, &mut pieces, range, finder.table()).await?;
            if let Err(error) = finder.take(&bytes) {
                return Ok(damaged(&pin, error));
            }
        }
        match finder.finish() {
            Ok(found) => Ok(Some(found.len())),
            Err(error) => Ok(damaged(&pin, error)),
        }
    }
}

/// Each container of an object costs requests and memory: somebody else may have made millions of them.
fn bounded(finder: &Finder) -> lmfs_codec::Result<()> {
    if finder.containers() <= CONTAINERS {
        return Ok(());
    }
    let reason = format!("an object of more than {CONTAINERS} containers is not read");
    Err(lmfs_codec::Error::InvalidOption(reason))
}

/// Says that the size of an object is not known.
fn damaged(pin: &Pin, error: lmfs_codec::Error) -> Option<u64> {
    tracing::warn!("{}: {error}", pin.meta.location);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_and_the_rest_of_a_table_are_asked_for_at_once() {
        let pieces = Pieces(vec![(1000, Bytes::from(vec![0; 100]))]);
        assert_eq!(pieces.missing(&(0..8), None, 50), 0..64);
        assert_eq!(pieces.missing(&(700..708), Some(700..1050), 50), 700..1000);
        assert_eq!(pieces.missing(&(990..1010), Some(990..1050), 50), 990..1000);
        // A container before another one: backwards, whatever is behind it.
        assert_eq!(pieces.missing(&(700..712), None, 50), 662..712);
        assert_eq!(pieces.missing(&(20..32), None, 50), 0..32);
        let far = Pieces(vec![(TABLE * 2, Bytes::from(vec![0; 100]))]);
        assert_eq!(far.missing(&(700..708), Some(700..TABLE * 2 + 9), 50), 700..TABLE + 700);
    }
}
