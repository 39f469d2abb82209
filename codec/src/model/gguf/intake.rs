//! Reading a model file, and no more of it than its own directory says it has.

use std::io::{self, Read};

use super::Gguf;
use crate::{Error, Result};

/// Bytes read first: more than the metadata of most models.
const FIRST: u64 = 1 << 20;
/// Bytes that may follow the last tensor: padding.
const PADDING: u64 = 1 << 16;

/// Reads a model file of `len` bytes into memory; `name` is for messages. The directory is read and checked first, so a
/// file that only claims to be long, or is long and no model, takes neither memory nor time.
///
/// # Errors
/// [`Error::UnusableModel`] when its length is not that of its tensors or does not fit into memory; [`Error::Io`].
pub fn read(name: &str, input: &mut impl Read, len: u64) -> Result<Vec<u8>> {
    let failed = |source: io::Error| Error::io(format!("model {name}"), source);
    let unusable = |reason: String| Error::unusable(name, reason);
    let mut bytes = Vec::new();
    let mut want = FIRST.min(len);
    let end = loop {
        let more = want.saturating_sub(bytes.len() as u64);
        if input.take(more).read_to_end(&mut bytes).map_err(failed)? as u64 != more {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        match Gguf::end(&bytes, len).map_err(|why| unusable(why.into()))? {
            Some(end) => break end,
            // What is missing lies within the file: `Gguf::end` says what is beyond.
            None => want = want.saturating_mul(2).min(len),
        }
    };
    if len - end > PADDING {
        return Err(unusable(format!("damaged: {} bytes follow its last tensor", len - end)));
    }
    let rest = len - bytes.len() as u64;
    let room = usize::try_from(rest)
        .ok()
        .and_then(|rest| bytes.try_reserve_exact(rest).ok());
    room.ok_or_else(|| unusable(format!("its {len} bytes do not fit into memory")))?;
    if input.take(rest).read_to_end(&mut bytes).map_err(failed)? as u64 != rest {
        return Err(failed(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::builtin;

    /// Gives the bytes and then zeros without end, and counts what is taken of it.
    struct Sparse<'a>(&'a [u8], u64);

    impl Read for Sparse<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let start = self.0.get(self.1 as usize..).unwrap_or_default();
            let len = match start.len() {
                0 => buffer.len(),
                some => some.min(buffer.len()),
            };
            buffer[..len].fill(0);
            buffer.iter_mut().zip(start).for_each(|(to, from)| *to = *from);
            self.1 += len as u64;
            Ok(len)
        }
    }

    #[test]
    fn a_model_is_read_whole() {
        let file = builtin::default().unwrap().gguf;
        assert_eq!(read("m", &mut &*file, file.len() as u64).unwrap(), file);
        let cut = read("m", &mut &file[..file.len() - 1], file.len() as u64);
        assert!(matches!(cut, Err(Error::Io { .. })), "shorter than it was said to be");
    }

    /// Regression: a sparse file of 1 TiB in the place of a model was read into memory.
    #[test]
    fn a_sparse_file_takes_no_memory() {
        let file = builtin::default().unwrap().gguf;
        let mut string = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
        string.extend((1_u64 << 39).to_le_bytes());
        let mut tensor = b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        tensor.extend(1_u64.to_le_bytes());
        tensor.extend(b"t\x01\0\0\0");
        tensor.extend((1_u64 << 40).to_le_bytes());
        tensor.extend([0; 12]);
        let len = 1 << 40;
        for (start, words) in [
            (&[][..], "not a GGUF file"),
            (b"GGUF", "version 0"),
            (file, "follow its last tensor"),
            (&string, "room for"),
            (&tensor, "truncated"),
        ] {
            let mut source = Sparse(start, 0);
            let error = read("m", &mut source, len).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            println!("{words}: {} of {len} bytes read", source.1);
            assert!(source.1 <= FIRST, "{words}: {} bytes", source.1);
        }
    }
}
