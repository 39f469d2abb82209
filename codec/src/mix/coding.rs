//! A block through the predictor and the arithmetic coder, both ways.

use std::borrow::Cow;

use super::byte_coder::{code_bytes, damaged};
use super::{DataLayout, Front, Predictor, data_layout};
use crate::entropy::range_coder::{Decoder, Encoder, StreamEnd};
use crate::{Error, Result, Stop};

/// Bytes on which layouts are tried, at least, and their share of a large block: some layouts learn more slowly.
const TRIAL: usize = 16384;
const TRIAL_SHARE: usize = 8;
/// Bytes after which a trial is compared with the best one so far.
const TRIAL_STEP: usize = 1024;

/// Codes a block without a language model.
///
/// # Errors
/// [`Error::Interrupted`](crate::Error::Interrupted).
pub fn encode(predictor: &mut Predictor, raw: &[u8], stop: &Stop) -> Result<Vec<u8>> {
    let (layout, payload) = trial(predictor, raw, stop)?;
    match payload {
        Some(payload) => Ok(payload),
        None => encode_as(predictor, raw, layout, stop),
    }
}

/// The layout of a block that makes a part of it smallest.
///
/// # Errors
/// [`Error::Interrupted`](crate::Error::Interrupted).
pub fn layout_of(predictor: &mut Predictor, raw: &[u8], stop: &Stop) -> Result<DataLayout> {
    Ok(trial(predictor, raw, stop)?.0)
}

/// The same, with the block's payload if all of it was coded to find out.
fn trial(predictor: &mut Predictor, raw: &[u8], stop: &Stop) -> Result<(DataLayout, Option<Vec<u8>>)> {
    let candidates = DataLayout::candidates(raw);
    if let [only] = candidates.as_slice() {
        return Ok((*only, None));
    }
    let len = TRIAL.max(raw.len() / TRIAL_SHARE);
    let start = if raw.len() > len {
        data_layout::busy(raw, len) & !3
    } else {
        0
    };
    let sample = raw.get(start..).and_then(|rest| rest.get(..len)).unwrap_or(raw);
    let mut best: Option<(DataLayout, Vec<u8>)> = None;
    for layout in candidates {
        let most = best.as_ref().map_or(usize::MAX, |(_, payload)| payload.len());
        if let Some(payload) = encode_below(predictor, sample, layout.from(start, sample.len()), most, stop)? {
            best = Some((layout, payload));
        }
    }
    Ok(match best {
        Some((layout, payload)) if sample.len() == raw.len() => (layout, Some(payload)),
        Some((layout, _)) => (layout, None),
        None => (DataLayout::Plain, None),
    })
}

/// Codes a block without a language model, its layout given.
///
/// # Errors
/// [`Error::Interrupted`](crate::Error::Interrupted).
pub fn encode_as(predictor: &mut Predictor, raw: &[u8], layout: DataLayout, stop: &Stop) -> Result<Vec<u8>> {
    let (mut coder, bytes) = begin(predictor, raw, layout);
    code_bytes(predictor, &mut coder, &bytes, bytes.len(), stop)?;
    Ok(coder.finish())
}

/// The same, `None` as soon as it is clear that the result has `most` bytes or more.
fn encode_below(
    predictor: &mut Predictor,
    raw: &[u8],
    layout: DataLayout,
    most: usize,
    stop: &Stop,
) -> Result<Option<Vec<u8>>> {
    let (coder, bytes) = begin(predictor, raw, layout);
    below(predictor, coder, &bytes, most, stop)
}

/// Codes bytes, until the result has `most` bytes or more.
pub(super) fn below(
    predictor: &mut Predictor,
    mut coder: Encoder,
    bytes: &[u8],
    most: usize,
    stop: &Stop,
) -> Result<Option<Vec<u8>>> {
    for part in bytes.chunks(TRIAL_STEP) {
        code_bytes(predictor, &mut coder, part, part.len(), stop)?;
        if coder.len() >= most {
            return Ok(None);
        }
    }
    Ok(Some(coder.finish()).filter(|payload| payload.len() < most))
}

/// A coder at the start of a block, `predictor` with it, and the bytes in the order in which they are coded.
fn begin<'a>(predictor: &mut Predictor, raw: &'a [u8], layout: DataLayout) -> (Encoder, Cow<'a, [u8]>) {
    let layout = layout.checked();
    let (layout, bytes) = match layout.forward(raw) {
        Some(bytes) => (layout, bytes),
        None => (DataLayout::Plain, Cow::Borrowed(raw)),
    };
    predictor.reset_as(&[bytes.len()], false, layout);
    (Encoder::new(layout.to_bytes()), bytes)
}

/// Codes a block of text or records like [`encode_as`], but with what `predictor` learned before: for training. Returns
/// how many bytes it takes.
///
/// # Errors
/// [`Error::Interrupted`](crate::Error::Interrupted).
pub fn train_on(predictor: &mut Predictor, raw: &[u8], layout: DataLayout, stop: &Stop) -> Result<usize> {
    predictor.next_block_as(&[raw.len()], layout);
    let mut coder = Encoder::new(layout.to_bytes());
    code_bytes(predictor, &mut coder, raw, raw.len(), stop)?;
    Ok(coder.finish().len())
}

/// Decodes what [`encode`] made of `len` bytes. Damage that the stream's length does not show yields wrong bytes.
///
/// # Errors
/// [`Error::Damaged`](crate::Error::Damaged); [`Error::Interrupted`](crate::Error::Interrupted).
pub fn decode(predictor: &mut Predictor, payload: &[u8], len: usize, stop: &Stop) -> Result<Vec<u8>> {
    let Some((layout, stream)) = DataLayout::parse(payload) else {
        return Err(damaged(StreamEnd::Short {
            len: payload.len(),
            needed: payload.len() + 1,
        }));
    };
    let Some(coded_len) = layout.coded_len(len) else {
        return Err(Error::damaged("block", "it is shorter than its layout says"));
    };
    predictor.reset_as(&[coded_len], false, layout);
    let mut coder = Decoder::new(stream);
    code_bytes(predictor, &mut coder, &[], coded_len, stop)?;
    coder.finish().map_err(damaged)?;
    Ok(layout.inverse(predictor.take()))
}

/// Codes a block behind a dictionary or a reference. Its data layout is plain.
///
/// # Errors
/// [`Error::Interrupted`](crate::Error::Interrupted).
pub fn encode_behind(predictor: &mut Predictor, front: Front<'_>, raw: &[u8], stop: &Stop) -> Result<Vec<u8>> {
    predictor.start_behind(front, raw.len(), stop)?;
    let mut coder = Encoder::new(Vec::new());
    code_bytes(predictor, &mut coder, raw, raw.len(), stop)?;
    Ok(coder.finish())
}

/// The same, `None` as soon as it is clear that the result has `most` bytes or more.
///
/// # Errors
/// [`Error::Interrupted`](crate::Error::Interrupted).
pub fn encode_behind_below(
    predictor: &mut Predictor,
    front: Front<'_>,
    raw: &[u8],
    most: usize,
    stop: &Stop,
) -> Result<Option<Vec<u8>>> {
    predictor.start_behind(front, raw.len(), stop)?;
    below(predictor, Encoder::new(Vec::new()), raw, most, stop)
}

/// Decodes what [`encode_behind`] made of `len` bytes behind the same.
///
/// # Errors
/// [`Error::Damaged`](crate::Error::Damaged); [`Error::Interrupted`](crate::Error::Interrupted).
pub fn decode_behind(
    predictor: &mut Predictor,
    front: Front<'_>,
    stream: &[u8],
    len: usize,
    stop: &Stop,
) -> Result<Vec<u8>> {
    predictor.start_behind(front, len, stop)?;
    let mut coder = Decoder::new(stream);
    code_bytes(predictor, &mut coder, &[], len, stop)?;
    coder.finish().map_err(damaged)?;
    let mut bytes = predictor.take();
    // Readers keep the block, so nothing may keep the memory of the reference with it.
    Ok(match front.reference.len() {
        0 => bytes,
        len => bytes.split_off(len),
    })
}
