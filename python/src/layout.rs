//! Where everything is in a file of containers. Python reads the file.

use std::ops::Range;
use std::sync::Arc;

use lmfs_codec::Error;
use lmfs_codec::stream::layout::{Finder, Found, Layout as Inner, Place, ends_a_container, starts_a_container};
use lmfs_object::Codecs;
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::bytes::filled;
use crate::interrupt::fill;
use crate::{options, raised, readers};

/// Finds blocks, and decodes them.
///
/// Feed it the bytes it wants until it wants no more: `while (want := layout.want()): layout.feed(read(*want))`.
#[pyclass(frozen)]
pub struct Layout {
    state: Mutex<State>,
    codecs: Arc<Codecs>,
    threads: usize,
}

enum State {
    Finding(Finder),
    Found(Found),
    Ready(Arc<Inner>),
    Failed,
}

impl Layout {
    /// With the codecs, which may load a model. Nobody waits here with the interpreter's lock, for which the holder of
    /// this one may be waiting.
    fn ready(&self, py: Python<'_>) -> PyResult<Arc<Inner>> {
        py.detach(|| {
            let mut state = self.state.lock();
            let ready = match std::mem::replace(&mut *state, State::Failed) {
                State::Found(found) => Arc::new(found.with(|header| self.codecs.of(header))?),
                State::Ready(inner) => inner,
                other => {
                    *state = other;
                    return Err(Error::InvalidOption("the layout wants more bytes first".into()));
                }
            };
            *state = State::Ready(Arc::clone(&ready));
            Ok(ready)
        })
        .map_err(raised)
    }

    /// Looks at what was found.
    pub fn found<T>(&self, look: impl FnOnce(&Found) -> T) -> PyResult<T> {
        match &*self.state.lock() {
            State::Found(found) => Ok(look(found)),
            State::Ready(inner) => Ok(look(inner.found())),
            _ => Err(wants_more()),
        }
    }
}

#[pymethods]
impl Layout {
    /// For a file of so many bytes.
    #[new]
    #[pyo3(signature = (size, model=None, threads=0))]
    fn new(py: Python<'_>, size: u64, model: Option<String>, threads: usize) -> PyResult<Layout> {
        let codecs = py.detach(|| readers(model.as_deref())).map_err(raised)?;
        Ok(Layout {
            state: Mutex::new(State::Finding(Finder::new(size, false).map_err(raised)?)),
            codecs: Arc::new(codecs),
            threads: options(threads).threads,
        })
    }

    /// The range of bytes to feed next, or None.
    fn want(&self) -> PyResult<Option<(u64, u64)>> {
        let mut state = self.state.lock();
        let State::Finding(finder) = &*state else {
            return Ok(None);
        };
        let range = finder.next().map_err(raised)?;
        if range.is_none()
            && let State::Finding(finder) = std::mem::replace(&mut *state, State::Failed)
        {
            *state = State::Found(finder.finish().map_err(raised)?);
        }
        Ok(range.map(|range| (range.start, range.end)))
    }

    /// The rest of a seek table that will be wanted, so that it can be fetched at once; or None.
    fn table(&self) -> Option<(u64, u64)> {
        match &*self.state.lock() {
            State::Finding(finder) => finder.table().map(|range| (range.start, range.end)),
            _ => None,
        }
    }

    /// Takes the bytes that are wanted.
    fn feed(&self, data: PyBackedBytes) -> PyResult<()> {
        match &mut *self.state.lock() {
            State::Finding(finder) => finder.take(&data).map_err(raised),
            _ => Err(PyValueError::new_err("nothing is wanted")),
        }
    }

    /// Bytes of content.
    #[getter]
    fn size(&self) -> PyResult<u64> {
        self.found(Found::len)
    }

    /// CRC-32 of all content.
    #[getter]
    fn crc32(&self) -> PyResult<u32> {
        self.found(Found::content_crc)
    }

    /// The block with this byte of content: (first byte, bytes, start of its stored bytes, their end).
    fn block(&self, py: Python<'_>, offset: u64) -> PyResult<(u64, u64, u64, u64)> {
        let place = self.ready(py)?.block(offset).map_err(raised)?;
        Ok((place.start, place.len, place.stored.start, place.stored.end))
    }

    /// Where the blocks with these bytes of content are stored: one range.
    fn stored(&self, py: Python<'_>, start: u64, end: u64) -> PyResult<(u64, u64)> {
        let inner = self.ready(py)?;
        let (first, last) = (inner.block(start), inner.block(end.saturating_sub(1)));
        Ok((first.map_err(raised)?.stored.start, last.map_err(raised)?.stored.end))
    }

    /// Decodes content from `start` to `end`. `stretches` are what is stored there, rising: from where on, and the
    /// bytes. No block lies in two of them.
    ///
    /// Where containers have what their other blocks are coded behind, and nothing knows it, the ranges of these bytes
    /// are returned. Call it again with what was stored there, added to the `fronts` that it got before and sorted.
    fn decode<'py>(
        &self,
        py: Python<'py>,
        start: u64,
        end: u64,
        stretches: Vec<(u64, PyBackedBytes)>,
        fronts: Vec<(u64, PyBackedBytes)>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let inner = self.ready(py)?;
        let mut pieces = Vec::new();
        let mut wanted = Vec::new();
        let mut next = start;
        while next < end {
            let mut place = inner.block(next).map_err(raised)?;
            let to = end.min(place.start + place.len);
            // From here on the place holds what is known, so nothing is missing later.
            let front = place.key(stretch(&stretches, &place).map_err(raised)?);
            if let Some(range) = &front
                && given(&fronts, range).is_err()
                && wanted.last() != Some(&(range.start, range.end))
            {
                wanted.push((range.start, range.end));
            }
            pieces.push(((place, front, next), (to - next) as usize));
            next = to;
        }
        if !wanted.is_empty() {
            return wanted.into_pyobject(py);
        }
        let len = usize::try_from(end.saturating_sub(start)).map_err(|_| PyValueError::new_err("too much at once"))?;
        let decoded = filled(py, len, |out| {
            fill(py, out, pieces, self.threads, |(mut place, front, from), out, stop| {
                let coded = stretch(&stretches, &place)?;
                if let Some(range) = front {
                    place.take_key(given(&fronts, &range)?, stop)?;
                }
                if out.len() as u64 == place.len {
                    return place.decode_into(coded, out, stop);
                }
                let bytes = place.decode(coded, stop)?.into_bytes();
                let skip = (from - place.start) as usize;
                // As long as its place says, or it would not have been decoded.
                let part = bytes
                    .get(skip..skip + out.len())
                    .ok_or_else(|| too_short(place.start))?;
                out.copy_from_slice(part);
                Ok(())
            })
        })?;
        Ok(decoded.into_any())
    }

    /// Bytes of content of a file of `size` bytes that ends with `tail`; None if that takes more of it.
    #[staticmethod]
    fn content_size(size: u64, tail: &[u8]) -> PyResult<Option<u64>> {
        let at = size.saturating_sub(tail.len() as u64);
        // Headers are not looked at, as they may be elsewhere.
        let mut finder = Finder::new(size, true).map_err(raised)?;
        while let Some(range) = finder.next().map_err(raised)? {
            if let Some(len) = finder.only_len() {
                return Ok(Some(len));
            }
            let Ok(bytes) = stored(tail, at, &range) else {
                return Ok(None);
            };
            finder.take(bytes).map_err(raised)?;
        }
        Ok(Some(finder.finish().map_err(raised)?.len()))
    }

    /// Whether what starts with these bytes, eight or more, is a container.
    #[staticmethod]
    fn starts(data: &[u8]) -> bool {
        starts_a_container(data)
    }

    /// Whether what ends with these bytes, four or more, ends as a container does.
    #[staticmethod]
    fn ends(data: &[u8]) -> bool {
        ends_a_container(data)
    }
}

/// The stored bytes of a block.
fn stretch<'a>(stretches: &'a [(u64, PyBackedBytes)], place: &Place) -> Result<&'a [u8], Error> {
    given(stretches, &place.stored)
}

/// The bytes of a range in the one of these that begins last before it.
fn given<'a>(stretches: &'a [(u64, PyBackedBytes)], range: &Range<u64>) -> Result<&'a [u8], Error> {
    let next = stretches.partition_point(|(at, _)| *at <= range.start);
    let stretch = next.checked_sub(1).and_then(|last| stretches.get(last));
    let (at, data) = stretch.ok_or_else(|| not_given(range))?;
    stored(data, *at, range)
}

/// The bytes of a range in what is stored from `at` on.
fn stored<'a>(data: &'a [u8], at: u64, range: &Range<u64>) -> Result<&'a [u8], Error> {
    let slice = || {
        let from = usize::try_from(range.start.checked_sub(at)?).ok()?;
        let to = usize::try_from(range.end.checked_sub(at)?).ok()?;
        data.get(from..to)
    };
    slice().ok_or_else(|| not_given(range))
}

fn not_given(range: &Range<u64>) -> Error {
    Error::InvalidOption(format!("the stored bytes {range:?} were not given"))
}

fn wants_more() -> PyErr {
    PyValueError::new_err("the layout wants more bytes first")
}

fn too_short(start: u64) -> Error {
    Error::InvalidOption(format!("the block at {start} is too short"))
}
