//! TIFF, as far as it holds plain pixels: uncompressed, eight bits a channel, rows from the top.

/// Fields of a directory that matter here.
const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const STRIPS: u16 = 273;
const CHANNELS: u16 = 277;
const STRIP_BYTES: u16 = 279;
const PLANAR: u16 = 284;

/// Most strips that are read.
const MOST_STRIPS: usize = 1 << 16;

struct Reader<'a> {
    file: &'a [u8],
    little: bool,
}

impl Reader<'_> {
    fn short(&self, at: usize) -> Option<u16> {
        let bytes = *self.file.get(at..)?.first_chunk()?;
        Some(if self.little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    }

    fn long(&self, at: usize) -> Option<usize> {
        let bytes = *self.file.get(at..)?.first_chunk()?;
        let number = if self.little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        };
        usize::try_from(number).ok()
    }

    /// The values of a field: short or long numbers, in the entry or elsewhere.
    fn values(&self, entry: usize) -> Option<Vec<usize>> {
        let width = match self.short(entry + 2)? {
            3 => 2,
            4 => 4,
            _ => return None,
        };
        let count = self.long(entry + 4)?;
        if count > MOST_STRIPS {
            return None;
        }
        let start = if count * width <= 4 {
            entry + 8
        } else {
            self.long(entry + 8)?
        };
        let value = |i: usize| {
            let at = start.checked_add(i * width)?;
            if width == 2 {
                self.short(at).map(usize::from)
            } else {
                self.long(at)
            }
        };
        (0..count).map(value).collect()
    }
}

/// Pixels as they lie in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plain {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) channels: usize,
    pub(super) pixels: Vec<u8>,
}

/// The first picture of a file.
pub(super) fn decode(file: &[u8]) -> Option<Plain> {
    let reader = Reader {
        file,
        little: file.starts_with(b"II"),
    };
    let directory = reader.long(4)?;
    let entries = usize::from(reader.short(directory)?);
    let field = |tag: u16| {
        let entry = |i: usize| directory.checked_add(2 + i * 12);
        let entry = (0..entries)
            .filter_map(entry)
            .find(|&entry| reader.short(entry) == Some(tag))?;
        reader.values(entry)
    };
    let one = |tag: u16, default: usize| field(tag).and_then(|values| values.first().copied()).unwrap_or(default);
    let channels = one(CHANNELS, 1);
    let plain = one(COMPRESSION, 1) == 1
        && field(BITS)?.iter().all(|&bits| bits == 8)
        && matches!((one(PHOTOMETRIC, 1), channels), (1, 1 | 2) | (2, 3 | 4))
        && one(PLANAR, 1) == 1;
    if !plain {
        return None;
    }
    let mut pixels = Vec::new();
    for (start, len) in field(STRIPS)?.into_iter().zip(field(STRIP_BYTES)?) {
        pixels.extend_from_slice(file.get(start..)?.get(..len)?);
        // Strips may overlap, so a small file could ask for much memory.
        if pixels.len() > file.len() {
            return None;
        }
    }
    Some(Plain {
        width: one(WIDTH, 0),
        height: one(HEIGHT, 0),
        channels,
        pixels,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn plain_pixels_are_read() {
        let pixels: Vec<u8> = (0..40).collect();
        let mut file = b"II*\0\x30\0\0\0".to_vec();
        file.extend(&pixels);
        let fields: [(u16, u16, u32, u32); 8] = [
            (WIDTH, 3, 1, 8),
            (HEIGHT, 3, 1, 5),
            (BITS, 3, 1, 8),
            (COMPRESSION, 3, 1, 1),
            (PHOTOMETRIC, 3, 1, 1),
            (STRIPS, 4, 1, 8),
            (CHANNELS, 3, 1, 1),
            (STRIP_BYTES, 4, 1, 40),
        ];
        file.extend((fields.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in fields {
            file.extend(tag.to_le_bytes());
            file.extend(kind.to_le_bytes());
            file.extend(count.to_le_bytes());
            file.extend(value.to_le_bytes());
        }
        let picture = decode(&file).unwrap();
        assert_eq!((picture.width, picture.height, picture.pixels), (8, 5, pixels));
        for len in 0..file.len() {
            assert_eq!(decode(&file[..len]), None, "{len}");
        }
    }
}
