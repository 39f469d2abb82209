//! The compiled part of the Python package `lmfs`. Reading and writing files stays in Python: this part says which
//! bytes it needs, and codes. All coding is done without the interpreter's lock, and ends at Ctrl-C.

mod bytes;
mod interrupt;
mod layout;
mod pack;
mod writer;

use lmfs_codec::model::{EngineChoice, LoadOptions, ModelSource, load};
use lmfs_codec::stream::{Decoder, StreamOptions};
use lmfs_codec::{Codec, Error, Level};
use lmfs_object::Codecs;
use pyo3::create_exception;
use pyo3::exceptions::{PyKeyboardInterrupt, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use interrupt::interruptible;

create_exception!(
    lmfs._core,
    DamagedError,
    PyOSError,
    "What is stored is not what was written."
);
create_exception!(
    lmfs._core,
    MissingModelError,
    PyOSError,
    "A model or dictionary is needed that is not here."
);
create_exception!(
    lmfs._core,
    NotAContainerError,
    PyValueError,
    "The bytes are not those of an .lmz file."
);

/// As an exception of Python.
fn raised(error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::NotAContainer { .. } => NotAContainerError::new_err(text),
        Error::MissingModel { .. }
        | Error::MissingDictionary { .. }
        | Error::MissingReference { .. }
        | Error::ForeignNumerics => MissingModelError::new_err(text),
        Error::InvalidOption(_) | Error::UnknownBuiltin { .. } | Error::TooLarge { .. } => PyValueError::new_err(text),
        Error::Interrupted => PyKeyboardInterrupt::new_err(()),
        other if other.is_damage() => DamagedError::new_err(text),
        _ => PyOSError::new_err(text),
    }
}

/// The model of a text: a level's own, `none`, `builtin:NAME`, or a path.
fn source(model: Option<&str>, of_level: Option<&'static str>) -> Result<Option<ModelSource>, Error> {
    match model {
        None => Ok(of_level.map(ModelSource::Builtin)),
        Some("none") => Ok(None),
        Some(text) => text.parse().map(Some),
    }
}

/// The codec that compresses, and the bytes of a block.
fn writer(level: u8, block_size: Option<usize>, model: Option<&str>) -> Result<(Codec, usize), Error> {
    let level = Level::new(level)?;
    let mut options = level.options();
    let model = source(model, level.model)?;
    options.model = model.is_some();
    let model = model.map(|source| load(&source, EngineChoice::Auto, &LoadOptions::default()));
    let codec = Codec::new(model.transpose()?, options)?;
    Ok((codec, block_size.unwrap_or(level.block_size)))
}

/// The codecs that decompress.
fn readers(model: Option<&str>) -> Result<Codecs, Error> {
    let codecs = Codecs::default();
    if let Some(source) = source(model, None)? {
        codecs.add(load(&source, EngineChoice::Auto, &LoadOptions::default())?)?;
    }
    Ok(codecs)
}

fn options(threads: usize) -> StreamOptions {
    let mut options = StreamOptions::default();
    if threads > 0 {
        options.threads = threads;
    }
    options
}

/// Decompresses one container or several in a row.
#[pyfunction]
#[pyo3(signature = (data, model=None, threads=0))]
fn decompress<'py>(
    py: Python<'py>,
    data: pyo3::pybacked::PyBackedBytes,
    model: Option<String>,
    threads: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let out = interruptible(py, move |stop| {
        let codecs = readers(model.as_deref())?;
        let mut options = options(threads);
        options.stop = stop.clone();
        let mut decoder = Decoder::new(&data[..], |header: &_| codecs.of(header), options);
        let mut out = Vec::new();
        while let Some(chunk) = decoder.next_chunk()? {
            out.extend(chunk);
        }
        Ok(out)
    })?;
    Ok(PyBytes::new(py, &out))
}

/// The compiled part of lmfs.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("DamagedError", py.get_type::<DamagedError>())?;
    module.add("MissingModelError", py.get_type::<MissingModelError>())?;
    module.add("NotAContainerError", py.get_type::<NotAContainerError>())?;
    module.add_function(wrap_pyfunction!(decompress, module)?)?;
    module.add_class::<layout::Layout>()?;
    module.add_class::<writer::Encoder>()?;
    module.add_class::<pack::Packer>()?;
    Ok(())
}
