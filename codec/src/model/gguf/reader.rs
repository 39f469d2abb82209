//! A cursor over a GGUF file that never reads past the end and believes no count that the file has no room for.

use super::malformed::Malformed;
use super::types;
use super::value::{Tensor, Value};

/// Arrays of arrays are allowed by the format; this deep is enough for everything that exists.
const MAX_DEPTH: usize = 4;
/// Values in the arrays of a file, at most: three times what the largest vocabularies have. In memory each takes 32
/// bytes, in the file it may be one.
const MAX_VALUES: usize = 1 << 22;
/// Bytes of metadata and tensor directory, at most: ten times what the largest vocabularies take.
const MAX_DIRECTORY: u64 = 1 << 27;

pub(super) struct Reader<'a> {
    /// The file's first bytes, or all of it.
    first: &'a [u8],
    /// Bytes that a directory can have in the file.
    room: u64,
    /// Something lies behind `first`, though in the file.
    wants_more: bool,
    at: usize,
    /// Values in arrays so far.
    values: usize,
}

impl<'a> Reader<'a> {
    /// For a file of `len` bytes that begins like this.
    pub(super) fn new(first: &'a [u8], len: u64) -> Reader<'a> {
        Reader {
            first,
            room: len.min(MAX_DIRECTORY),
            wants_more: false,
            at: 0,
            values: 0,
        }
    }

    /// Whether it failed because it was not given enough of the file.
    pub(super) fn wants_more(&self) -> bool {
        self.wants_more
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn bytes(&mut self, len: usize, what: &str) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(len);
        if let Some(bytes) = end.and_then(|end| self.first.get(self.at..end)) {
            self.at += len;
            return Ok(bytes);
        }
        self.wants_more = end.is_some_and(|end| end as u64 <= self.room);
        Err(format!(
            "it is truncated or damaged: {what} needs {len} bytes at offset {}, there is room for {}",
            self.at, self.room
        )
        .into())
    }

    fn fixed<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Malformed> {
        let bytes = self.bytes(N, what)?;
        <[u8; N]>::try_from(bytes).map_err(|_| format!("{what} is cut short").into())
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, Malformed> {
        self.fixed(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64, Malformed> {
        self.fixed(what).map(u64::from_le_bytes)
    }

    /// A count of things that take at least `least` bytes each in what is left of the file.
    pub(super) fn count(&mut self, what: &str, least: usize) -> Result<usize, Malformed> {
        let count = self.u64(what)?;
        let most = (self.room as usize).saturating_sub(self.at) / least.max(1);
        usize::try_from(count)
            .ok()
            .filter(|&count| count <= most)
            .ok_or_else(|| {
                format!("it is truncated or damaged: {what} says {count}, the rest of the file has room for {most}")
                    .into()
            })
    }

    fn string(&mut self, what: &str) -> Result<&'a [u8], Malformed> {
        let len = self.count(what, 1)?;
        self.bytes(len, what)
    }

    pub(super) fn text(&mut self, what: &str) -> Result<String, Malformed> {
        let at = self.at;
        let bytes = self.string(what)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| format!("damaged: {what} at offset {at} is not UTF-8").into())
    }

    pub(super) fn value(&mut self, kind: u32, key: &str) -> Result<Value, Malformed> {
        self.nested_value(kind, key, 0)
    }

    fn nested_value(&mut self, kind: u32, key: &str, depth: usize) -> Result<Value, Malformed> {
        Ok(match kind {
            0 => Value::Integer(u8::from_le_bytes(self.fixed(key)?).into()),
            1 => Value::Integer(i8::from_le_bytes(self.fixed(key)?).into()),
            2 => Value::Integer(u16::from_le_bytes(self.fixed(key)?).into()),
            3 => Value::Integer(i16::from_le_bytes(self.fixed(key)?).into()),
            4 => Value::Integer(u32::from_le_bytes(self.fixed(key)?).into()),
            5 => Value::Integer(i32::from_le_bytes(self.fixed(key)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.fixed(key)?).into()),
            7 => Value::Bool(self.fixed::<1>(key)? != [0]),
            8 => Value::Text(self.string(key)?.to_vec()),
            9 if depth < MAX_DEPTH => {
                let inner = self.u32(key)?;
                let count = self.count(key, types::least_value_len(inner))?;
                self.values = self.values.saturating_add(count);
                if self.values > MAX_VALUES {
                    return Err(format!("metadata {key}: more than {MAX_VALUES} values in arrays").into());
                }
                let values = (0..count).map(|_| self.nested_value(inner, key, depth + 1));
                Value::Array(values.collect::<Result<_, _>>()?)
            }
            10 => Value::Integer(self.u64(key)?.into()),
            11 => Value::Integer(i64::from_le_bytes(self.fixed(key)?).into()),
            12 => Value::Float(f64::from_le_bytes(self.fixed(key)?)),
            _ => {
                return Err(format!("damaged: metadata {key} has the unknown type {kind}").into());
            }
        })
    }

    /// A directory entry; `offset` is still relative to the start of the data.
    pub(super) fn tensor(&mut self) -> Result<Tensor, Malformed> {
        let name = self.text("tensor name")?;
        let dimensions = self.u32(&name)?;
        if !(1..=4).contains(&dimensions) {
            return Err(format!("damaged: tensor {name} has {dimensions} dimensions").into());
        }
        let shape: Vec<u64> = (0..dimensions).map(|_| self.u64(&name)).collect::<Result<_, _>>()?;
        let kind = self.u32(&name)?;
        let offset = self.u64(&name)?;
        let len = types::tensor_len(kind, &shape).map_err(|reason| format!("tensor {name} {reason}"))?;
        let offset = usize::try_from(offset).map_err(|_| format!("damaged: tensor {name} is at offset {offset}"))?;
        Ok(Tensor {
            name,
            shape,
            kind,
            offset,
            len,
        })
    }
}
