//! What the engine reads from a GGUF file: metadata by type, tensors as f32.

use super::error::{Error, Result};
use crate::model::gguf::{Gguf, Tensor, Value};

/// A parsed file and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    gguf: &'a Gguf,
    bytes: &'a [u8],
}

impl<'a> File<'a> {
    /// `gguf` was parsed from `bytes`.
    pub fn new(gguf: &'a Gguf, bytes: &'a [u8]) -> Self {
        Self { gguf, bytes }
    }

    /// A metadata value.
    pub fn value(self, key: &str) -> Option<&'a Value> {
        self.gguf.metadata.get(key)
    }

    /// A string.
    pub fn text(self, key: &str) -> Option<&'a str> {
        self.gguf.text(key)
    }

    /// An array that must be there.
    pub fn array(self, key: &str) -> Result<&'a [Value]> {
        self.gguf.array(key).ok_or_else(|| Error::Key(key.into()))
    }

    /// An unsigned integer that must be there.
    pub fn unsigned(self, key: &str) -> Result<u64> {
        self.optional_unsigned(key)?.ok_or_else(|| Error::Key(key.into()))
    }

    /// An unsigned integer that may be absent; of another type it is an error.
    pub fn optional_unsigned(self, key: &str) -> Result<Option<u64>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Integer(v)) => u64::try_from(*v).map(Some).map_err(|_| Error::Key(key.into())),
            Some(_) => Err(Error::Key(key.into())),
        }
    }

    /// A number that may be absent; of another type it is an error.
    pub fn optional_float(self, key: &str) -> Result<Option<f64>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Float(v)) => Ok(Some(*v)),
            Some(_) => Err(Error::Key(key.into())),
        }
    }

    /// Whether there is a tensor of this name.
    pub fn has_tensor(self, name: &str) -> bool {
        self.gguf.tensors.iter().any(|t| t.name == name)
    }

    /// The names of all tensors.
    pub fn tensor_names(self) -> impl Iterator<Item = &'a str> {
        self.gguf.tensors.iter().map(|t| t.name.as_str())
    }

    /// The tensor `name`, which must have this shape and only finite values; row after row.
    ///
    /// # Errors
    /// [`Error::Tensor`] when it is absent, shaped otherwise, or not finite.
    pub fn tensor(self, name: &str, rows: usize, columns: usize) -> Result<Vec<f32>> {
        let fail = |what: String| Error::Tensor {
            name: name.into(),
            what,
        };
        let found = self.gguf.tensors.iter().find(|t| t.name == name);
        let tensor = found.ok_or_else(|| fail("the file has none of this name".into()))?;
        let (width, height) = tensor.shape.split_first().unwrap_or((&0, &[]));
        let height: u64 = height.iter().product();
        if (height, *width) != (rows as u64, columns as u64) {
            return Err(fail(format!(
                "has {height} rows of {width}, expected {rows} of {columns}"
            )));
        }
        let values = to_f32(tensor, self.bytes).ok_or_else(|| {
            fail(format!(
                "has element type {}; F32, F16, BF16, Q8_0 are supported",
                tensor.kind
            ))
        })?;
        if values.len() != rows * columns || !all_finite(&values) {
            return Err(fail("has values that are not finite, or too few".into()));
        }
        Ok(values)
    }
}

/// All elements of a tensor; `None` for an element type that is not supported. F16 and BF16 widen exactly; Q8_0 is
/// `scale * q`, rounded once.
fn to_f32(tensor: &Tensor, bytes: &[u8]) -> Option<Vec<f32>> {
    let data = bytes.get(tensor.offset..)?.get(..tensor.len)?;
    Some(match tensor.kind {
        0 => data
            .chunks_exact(4)
            .map(|b| f32::from_bits(u32::from_le_bytes(array(b))))
            .collect(),
        1 => data
            .chunks_exact(2)
            .map(|b| f16_to_f32(u16::from_le_bytes(array(b))))
            .collect(),
        30 => data
            .chunks_exact(2)
            .map(|b| f32::from_bits(u32::from(u16::from_le_bytes(array(b))) << 16))
            .collect(),
        8 => {
            let mut values = Vec::with_capacity(data.len() / 34 * 32);
            for block in data.chunks_exact(34) {
                let (scale, q) = block.split_at_checked(2).unwrap_or((&[], &[]));
                let scale = f16_to_f32(u16::from_le_bytes(array(scale)));
                values.extend(q.iter().map(|&q| scale * f32::from(q.cast_signed())));
            }
            values
        }
        _ => return None,
    })
}

/// Whether no value is infinite or NaN: the sum of their products with 0 is 0 then, in any order.
fn all_finite(values: &[f32]) -> bool {
    let (chunks, rest) = values.as_chunks::<16>();
    let mut sums = [0.0_f32; 16];
    for chunk in chunks {
        for (sum, v) in sums.iter_mut().zip(chunk) {
            *sum += v * 0.0;
        }
    }
    sums.iter().all(|&sum| sum == 0.0) && rest.iter().all(|v| v.is_finite())
}

/// The first `N` bytes of `b`, which has them by construction (zeros otherwise).
fn array<const N: usize>(b: &[u8]) -> [u8; N] {
    b.first_chunk::<N>().copied().unwrap_or([0; N])
}

/// Widens an IEEE half: exact.
fn f16_to_f32(h: u16) -> f32 {
    let sign = u32::from(h >> 15) << 31;
    let exponent = u32::from(h >> 10) & 31;
    let mantissa = u32::from(h) & 1023;
    match exponent {
        // Zero and subnormal halves are multiples of 2^-24, exact in f32.
        0 => {
            let magnitude = mantissa as f32 * f32::from_bits((127 - 24) << 23);
            f32::from_bits(sign | magnitude.to_bits())
        }
        31 => f32::from_bits(sign | 0x7f80_0000 | (mantissa << 13)),
        _ => f32::from_bits(sign | ((exponent + 127 - 15) << 23) | (mantissa << 13)),
    }
}
