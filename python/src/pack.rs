//! Packing objects. Python reads and swaps them, on as many machines as it likes: this part codes pieces of content and
//! makes containers of them.

use lmfs_codec::stream::{Assembler, ContainerHeader};
use lmfs_codec::{Codec, Error, Header, Stop};
use lmfs_object::pack::{Judge, Packed};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::interrupt::interruptible_by;
use crate::layout::Layout;
use crate::{raised, writer};

/// Compresses content in pieces, which may be coded anywhere and in any order.
#[pyclass(frozen)]
pub struct Packer {
    codec: Codec,
    judge: Judge,
    header: ContainerHeader,
    stop: Stop,
}

#[pymethods]
impl Packer {
    /// Level 1 (fast) to 9 (small).
    #[new]
    #[pyo3(signature = (level, block_size=None, model=None))]
    fn new(py: Python<'_>, level: u8, block_size: Option<usize>, model: Option<String>) -> PyResult<Packer> {
        let packer = py.detach(|| {
            let (codec, block_size) = writer(level, block_size, model.as_deref())?;
            Ok(Packer {
                judge: Judge::new(codec.clone(), level, block_size),
                header: ContainerHeader::new(&codec, block_size)?,
                codec,
                stop: Stop::new(),
            })
        });
        packer.map_err(raised)
    }

    /// Bytes of a block. All pieces but the last have a multiple of it.
    #[getter]
    fn block_size(&self) -> usize {
        self.header.block_size
    }

    /// Codes a piece of content on one thread: blocks one after the other, each decoded and compared.
    fn encode<'py>(&self, py: Python<'py>, data: PyBackedBytes) -> PyResult<Bound<'py, PyBytes>> {
        let (codec, size) = (self.codec.clone(), self.header.block_size);
        let blocks = interruptible_by(py, &self.stop, move |stop| {
            let mut out = Vec::new();
            for raw in data.chunks(size) {
                out.extend(codec.encode(raw, &stop.child())?);
            }
            Ok(out)
        })?;
        Ok(PyBytes::new(py, &blocks))
    }

    /// Ends all coding, here and on other threads, with a KeyboardInterrupt.
    fn stop(&self) {
        self.stop.set();
    }

    /// Makes a container of coded pieces in their order: (container, bytes of content, its CRC-32).
    fn join<'py>(&self, py: Python<'py>, pieces: Vec<PyBackedBytes>) -> PyResult<(Bound<'py, PyBytes>, u64, u32)> {
        let joined = py.detach(|| {
            let mut out = self.header.to_bytes();
            let mut assembler = Assembler::new(&self.header);
            for piece in &pieces {
                let mut rest = &piece[..];
                while !rest.is_empty() {
                    let len = Header::LEN + Header::parse_prefix(rest)?.payload_len as usize;
                    let (block, later) = rest.split_at_checked(len).ok_or_else(cut_short)?;
                    assembler.push(block)?;
                    rest = later;
                }
                out.extend_from_slice(piece);
            }
            let (len, crc) = (assembler.content_len(), assembler.content_crc());
            out.extend(assembler.finish());
            Ok((out, len, crc))
        });
        let (out, len, crc) = joined.map_err(raised)?;
        Ok((PyBytes::new(py, &out), len, crc))
    }

    /// Whether a container was packed before, as hard or harder; or the range of stored bytes that tell.
    fn is_packed(&self, layout: &Layout) -> PyResult<(Option<bool>, Option<(u64, u64)>)> {
        Ok(match layout.found(|found| self.judge.is_packed(found))? {
            Packed::Yes => (Some(true), None),
            Packed::No => (Some(false), None),
            Packed::Ask(range) => (None, Some((range.start, range.end))),
        })
    }

    /// The same, by the bytes that tell.
    fn is_packed_block(&self, layout: &Layout, header: &[u8]) -> PyResult<bool> {
        layout
            .found(|found| self.judge.is_packed_block(found, header))?
            .map_err(raised)
    }

    /// A container in the place of `before` stored bytes is worth a swap if it is smaller than this. `layout` is that
    /// of an object that is a container already.
    fn limit(&self, layout: Option<&Layout>, before: u64) -> PyResult<u64> {
        match layout {
            None => Ok(self.judge.limit(None, before)),
            Some(layout) => layout.found(|found| self.judge.limit(Some(found), before)),
        }
    }
}

fn cut_short() -> Error {
    Error::Verification("a coded piece ends inside of a block".into())
}
