//! Zstandard frames without content size and checksum: the block's header has both.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, WriteBuf};

use crate::{Error, Result};

thread_local! {
    // A context is some 100 KiB to set up: kept per thread, because a write is staged in microseconds.
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn failed(source: std::io::Error) -> Error {
    Error::io("zstd", source)
}

/// `raw` as one frame, or `None` if that is not smaller than `raw`.
pub(super) fn compress(raw: &[u8], level: i32) -> Result<Option<Vec<u8>>> {
    COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some((at, compressor)) if *at == level => compressor,
            _ => {
                let mut fresh = Compressor::new(level).map_err(failed)?;
                fresh
                    .set_parameter(CParameter::ContentSizeFlag(false))
                    .map_err(failed)?;
                fresh.set_parameter(CParameter::ChecksumFlag(false)).map_err(failed)?;
                &mut slot.insert((level, fresh)).1
            }
        };
        let frame = compressor.compress(raw).map_err(failed)?;
        Ok((frame.len() < raw.len()).then_some(frame))
    })
}

/// The bytes of a frame that must hold exactly `raw_len` of them.
pub(super) fn decompress(frame: &[u8], raw_len: usize) -> Result<Vec<u8>> {
    // Not zeroed first: zstd writes into what is reserved.
    let mut raw = Vec::with_capacity(raw_len);
    decompress_to(frame, raw_len, &mut raw)?;
    Ok(raw)
}

/// The same, put where the bytes belong.
pub(super) fn decompress_into(frame: &[u8], out: &mut [u8]) -> Result<()> {
    decompress_to(frame, out.len(), out)
}

fn decompress_to(frame: &[u8], raw_len: usize, out: &mut (impl WriteBuf + ?Sized)) -> Result<()> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(Decompressor::new().map_err(failed)?),
        };
        let len = decompressor
            .decompress_to_buffer(frame, out)
            .map_err(|source| Error::damaged("block", format!("its zstd frame does not decode: {source}")))?;
        // The frame has no content size, and a shorter result is damage that zstd does not see.
        if len != raw_len {
            let reason = format!("its zstd frame holds {len} bytes, the header says {raw_len}");
            return Err(Error::damaged("block", reason));
        }
        Ok(())
    })
}
