//! Compressing. Python writes the file.

use std::io::{self, Write};
use std::sync::Arc;

use lmfs_codec::stream::Encoder as Inner;
use lmfs_codec::{Error, Stop};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::interrupt::interruptible_by;
use crate::{options, raised, writer};

/// Bytes that wait to be taken.
#[derive(Clone, Default)]
struct Outlet(Arc<Mutex<Vec<u8>>>);

impl Outlet {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Write for Outlet {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes one container of what it is fed.
#[pyclass(frozen)]
pub struct Encoder {
    inner: Arc<Mutex<Option<Inner<Outlet>>>>,
    out: Outlet,
    /// Ends the coding of blocks that were fed before, too.
    stop: Stop,
}

#[pymethods]
impl Encoder {
    /// Level 1 (fast) to 9 (small).
    #[new]
    #[pyo3(signature = (level=6, block_size=None, model=None, threads=0))]
    fn new(
        py: Python<'_>,
        level: u8,
        block_size: Option<usize>,
        model: Option<String>,
        threads: usize,
    ) -> PyResult<Encoder> {
        let out = Outlet::default();
        let outlet = out.clone();
        let stop = Stop::new();
        let flag = stop.clone();
        let inner = py.detach(move || {
            let (codec, block_size) = writer(level, block_size, model.as_deref())?;
            let mut options = options(threads);
            options.block_size = block_size;
            options.stop = flag;
            Inner::new(outlet, codec, options)
        });
        Ok(Encoder {
            inner: Arc::new(Mutex::new(Some(inner.map_err(raised)?))),
            out,
            stop,
        })
    }

    /// Takes content, and returns what of the container is ready.
    fn feed<'py>(&self, py: Python<'py>, data: PyBackedBytes) -> PyResult<Bound<'py, PyBytes>> {
        let inner = Arc::clone(&self.inner);
        interruptible_by(py, &self.stop, move |stop| {
            // At the end, or after an error or Ctrl-C, nothing can be added.
            let mut place = inner.lock();
            let mut encoder = place.take().ok_or_else(ended)?;
            let mut rest = &data[..];
            while !rest.is_empty() {
                stop.check()?;
                let piece = rest.split_at(rest.len().min(1 << 20));
                encoder.write_all(piece.0).map_err(|error| {
                    error
                        .downcast::<Error>()
                        .unwrap_or_else(|error| Error::io("compressing", error))
                })?;
                rest = piece.1;
            }
            *place = Some(encoder);
            Ok(())
        })?;
        Ok(PyBytes::new(py, &self.out.take()))
    }

    /// The rest of the container.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let inner = Arc::clone(&self.inner);
        interruptible_by(py, &self.stop, move |_| {
            inner.lock().take().ok_or_else(ended)?.finish().map(drop)
        })?;
        Ok(PyBytes::new(py, &self.out.take()))
    }
}

fn ended() -> Error {
    Error::InvalidOption("the encoder has ended".into())
}
