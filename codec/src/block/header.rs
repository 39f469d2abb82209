//! The 26 bytes in front of every block.

use crate::{Error, MAX_BLOCK, Result};

/// How a block's payload was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Method {
    /// The bytes themselves.
    Raw = 0,
    /// One Zstandard frame (RFC 8878).
    Zstd = 1,
    /// A language model, mixed with adaptive models.
    Model = 2,
    /// Adaptive models alone.
    Mix = 3,
    /// A language model alone, unmixed: to measure models with.
    Lm = 4,
}

impl Method {
    /// All methods, in the order of their numbers.
    pub const ALL: [Method; 5] = [Method::Raw, Method::Zstd, Method::Model, Method::Mix, Method::Lm];

    /// The method with this number in a header.
    pub fn from_code(code: u8) -> Option<Method> {
        Method::ALL.into_iter().find(|&method| method as u8 == code)
    }

    /// Its name, as the serde form and the command line have it.
    pub fn name(self) -> &'static str {
        match self {
            Method::Raw => "raw",
            Method::Zstd => "zstd",
            Method::Model => "model",
            Method::Mix => "mix",
            Method::Lm => "lm",
        }
    }

    /// Whether decoding needs the language model that encoded.
    pub fn needs_model(self) -> bool {
        matches!(self, Method::Model | Method::Lm)
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a block says about itself. docs/FORMAT.md, "Block", is normative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Format version of the block, now [`Header::VERSION`].
    pub version: u8,
    /// How the payload was made.
    pub method: Method,
    /// Sequences predicted side by side; 0 for raw and zstd.
    pub lanes: u16,
    /// Whether the payload of method model begins with what it is coded behind.
    pub is_behind: bool,
    /// Bytes that the block decodes to, at most [`MAX_BLOCK`].
    pub raw_len: u32,
    /// Bytes that follow the header.
    pub payload_len: u32,
    /// CRC-32 (IEEE 802.3) of the decoded bytes.
    pub raw_crc: u32,
    /// Digest of all that decoding depends on besides the payload; zeros for raw and zstd.
    pub params: [u8; 8],
}

const MAGIC: [u8; 2] = [0xb5, 0x4c];

impl Header {
    /// Bytes of a header.
    pub const LEN: usize = 26;
    /// The block format that this program writes.
    pub const VERSION: u8 = 1;
    /// The most lanes a block can have. Each costs memory whoever decodes it: none has more than the engines are best
    /// with.
    pub const MAX_LANES: usize = 16;
    /// The bit of the byte of lanes that says [`is_behind`](Self::is_behind).
    const BEHIND: u8 = 0x80;

    /// The header at the start of `block`.
    ///
    /// # Errors
    /// [`Error::NotABlock`], [`Error::NewerFormat`], or [`Error::Damaged`] with what does not fit. The payload is
    /// not looked at, except that it must have exactly the length the header says.
    pub fn parse(block: &[u8]) -> Result<Header> {
        let header = Header::parse_prefix(block)?;
        let payload = block.len() - Header::LEN;
        if payload != header.payload_len as usize {
            return damaged(format!(
                "{payload} bytes of payload where the header says {}",
                header.payload_len
            ));
        }
        Ok(header)
    }

    /// Like [`Header::parse`], for input that may go on after (or end before) the payload.
    pub fn parse_prefix(input: &[u8]) -> Result<Header> {
        if !input.starts_with(&MAGIC) {
            return Err(Error::NotABlock {
                found: input.iter().copied().take(MAGIC.len()).collect(),
            });
        }
        let Some(bytes) = input.first_chunk::<{ Header::LEN }>() else {
            return damaged(format!("{} bytes where a header has {}", input.len(), Header::LEN));
        };
        let [
            _,
            _,
            kind,
            lanes,
            r0,
            r1,
            r2,
            p0,
            p1,
            p2,
            c0,
            c1,
            c2,
            c3,
            params @ ..,
            h0,
            h1,
            h2,
            h3,
        ] = *bytes;
        let version = kind >> 4;
        // Before the checksum, whose place a newer version may have moved.
        if version > Header::VERSION {
            return Err(Error::NewerFormat {
                what: "block",
                found: version,
                known: Header::VERSION,
            });
        }
        let (covered, _) = bytes.split_at(Header::LEN - 4);
        let (said, is) = (u32::from_le_bytes([h0, h1, h2, h3]), crc32fast::hash(covered));
        if said != is {
            return damaged(format!("its CRC-32 is {is:08x}, it says {said:08x}"));
        }
        let Some(method) = Method::from_code(kind & 15).filter(|_| version == Header::VERSION) else {
            return damaged(format!("version {version}, method {} does not exist", kind & 15));
        };
        let header = Header {
            version,
            method,
            lanes: u16::from(lanes & !Header::BEHIND),
            is_behind: lanes & Header::BEHIND != 0,
            raw_len: u32::from_le_bytes([r0, r1, r2, 0]),
            payload_len: u32::from_le_bytes([p0, p1, p2, 0]),
            raw_crc: u32::from_le_bytes([c0, c1, c2, c3]),
            params,
        };
        header.check()?;
        Ok(header)
    }

    /// The bytes of this header.
    pub fn to_bytes(&self) -> [u8; Header::LEN] {
        let mut out = [0; Header::LEN];
        let lanes = self.lanes.to_le_bytes()[0] | if self.is_behind { Header::BEHIND } else { 0 };
        let fields = MAGIC
            .into_iter()
            .chain([self.version << 4 | self.method as u8, lanes])
            .chain(self.raw_len.to_le_bytes().into_iter().take(3))
            .chain(self.payload_len.to_le_bytes().into_iter().take(3))
            .chain(self.raw_crc.to_le_bytes())
            .chain(self.params);
        out.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        if let Some((covered, crc)) = out.split_last_chunk_mut::<4>() {
            *crc = crc32fast::hash(covered).to_le_bytes();
        }
        out
    }

    fn check(&self) -> Result<()> {
        let coded = !matches!(self.method, Method::Raw | Method::Zstd);
        if self.raw_len as usize > MAX_BLOCK {
            return damaged(format!("it claims {} bytes, a block holds {MAX_BLOCK}", self.raw_len));
        }
        // A writer stores such a block raw, so nothing ever claims more memory than a block holds.
        if self.payload_len > self.raw_len {
            return damaged(format!("a payload of {} bytes for {}", self.payload_len, self.raw_len));
        }
        if self.method == Method::Raw && self.payload_len != self.raw_len {
            return damaged(format!(
                "{} raw bytes in a payload of {}",
                self.raw_len, self.payload_len
            ));
        }
        if self.is_behind && self.method != Method::Model {
            return damaged(format!("method {} behind a front of method model", self.method));
        }
        let possible = match self.method {
            Method::Mix => self.lanes == 1,
            _ => coded == (self.lanes > 0) && usize::from(self.lanes) <= Header::MAX_LANES,
        };
        if !possible {
            return damaged(format!("method {} with {} lanes", self.method, self.lanes));
        }
        Ok(())
    }
}

fn damaged<T>(reason: String) -> Result<T> {
    Err(Error::damaged("block header", reason))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    const SAMPLE: Header = Header {
        version: 1,
        method: Method::Model,
        lanes: 16,
        is_behind: false,
        raw_len: 65536,
        payload_len: 0,
        raw_crc: 0xdead_beef,
        params: [1, 2, 3, 4, 5, 6, 7, 8],
    };

    #[test]
    fn survives_a_round_trip() {
        for is_behind in [false, true] {
            let header = Header { is_behind, ..SAMPLE };
            assert_eq!(Header::parse(&header.to_bytes()).unwrap(), header);
        }
    }

    #[test]
    fn every_bit_flip_is_noticed() {
        let bytes = SAMPLE.to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::parse(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_is_noticed() {
        let bytes = SAMPLE.to_bytes();
        for len in 0..bytes.len() {
            assert!(Header::parse(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn impossible_fields_are_refused_although_the_checksum_fits() {
        let over = u32::try_from(MAX_BLOCK).unwrap() + 1;
        for header in [
            Header {
                raw_len: over,
                ..SAMPLE
            },
            Header { lanes: 0, ..SAMPLE },
            // Regression: 255 lanes took five times the memory that a decode is said to take.
            Header { lanes: 17, ..SAMPLE },
            Header {
                method: Method::Raw,
                lanes: 0,
                ..SAMPLE
            },
            Header {
                method: Method::Zstd,
                ..SAMPLE
            },
            Header {
                method: Method::Lm,
                is_behind: true,
                ..SAMPLE
            },
            Header {
                raw_len: 5,
                payload_len: 6,
                ..SAMPLE
            },
        ] {
            assert!(
                matches!(Header::parse_prefix(&header.to_bytes()), Err(Error::Damaged { .. })),
                "{header:?}"
            );
        }
    }

    #[test]
    fn a_newer_version_says_so() {
        let newer = Header { version: 2, ..SAMPLE };
        assert!(matches!(
            Header::parse(&newer.to_bytes()),
            Err(Error::NewerFormat { found: 2, .. })
        ));
    }
}
