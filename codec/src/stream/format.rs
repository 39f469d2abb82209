//! The parts of a container around its blocks.

use crate::model::Engine;
use crate::{Codec, Error, Header, MAX_BLOCK, MIN_BLOCK, Result};

/// What a container starts with: like PNG's, it shows when a transfer changed line ends.
pub(super) const MAGIC: [u8; 8] = *b"\xb5LMZ\r\n\x1a\n";
/// Bytes of it that a damaged one still has; other files have fewer.
const MAGIC_LEAST: usize = 4;

/// Whether `bytes` start like a container.
pub(super) fn check_magic(bytes: &[u8]) -> Result<()> {
    let found = bytes.get(..MAGIC.len()).unwrap_or(bytes);
    if found == MAGIC {
        return Ok(());
    }
    if found.starts_with(&MAGIC[..4]) && found.len() == MAGIC.len() {
        return Err(damaged(
            "it was transferred as text, which changed its line ends, or its first bytes are damaged",
        ));
    }
    let alike = found.iter().zip(MAGIC).filter(|(found, right)| **found == *right);
    match alike.count() {
        same if same == found.len() => Err(damaged("its header is cut short")),
        same if same >= MAGIC_LEAST => Err(damaged("it does not start like an .lmz file")),
        _ => Err(Error::NotAContainer { found: found.to_vec() }),
    }
}

/// What the seek table starts with; a block would start with `b5 4c`.
pub(super) const TABLE_MAGIC: [u8; 4] = *b"\xb5TAB";
pub(super) const FOOTER_MAGIC: [u8; 4] = *b"\xb5END";

fn damaged(reason: impl Into<String>) -> Error {
    Error::damaged("container", reason)
}

/// Takes `N` bytes from the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    match bytes.split_first_chunk::<N>() {
        Some((first, rest)) => {
            *bytes = rest;
            Ok(*first)
        }
        None => Err(damaged(format!("it ends {} bytes early", N - bytes.len()))),
    }
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

fn unseal<'a>(bytes: &'a [u8], what: &str) -> Result<&'a [u8]> {
    let Some((covered, crc)) = bytes.split_last_chunk::<4>() else {
        return Err(damaged(format!("its {what} is cut short")));
    };
    match crc32fast::hash(covered) == u32::from_le_bytes(*crc) {
        true => Ok(covered),
        false => Err(damaged(format!("the CRC-32 of its {what} does not fit"))),
    }
}

/// What a container says before its first block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerHeader {
    /// Format version, now [`ContainerHeader::VERSION`].
    pub version: u8,
    /// Bytes of every block but the last.
    pub block_size: usize,
    /// Engine and SHA-256 of the model that blocks may need; [`UNKNOWN_MODEL`](ContainerHeader::UNKNOWN_MODEL) when
    /// recovery found blocks and no header: any model may be tried.
    pub model: Option<(Engine, [u8; 32])>,
    /// Start of the writer's [fingerprint](Codec::fingerprint); zeros without a model.
    pub fingerprint: [u8; 8],
}

impl ContainerHeader {
    /// Bytes of a header.
    pub const LEN: usize = 60;
    /// The container format that this program writes.
    pub const VERSION: u8 = 1;

    /// The header for what a codec writes. With a model this runs the fingerprint's probe.
    ///
    /// # Errors
    /// A failing engine.
    pub fn new(codec: &Codec, block_size: usize) -> Result<ContainerHeader> {
        let model = codec
            .model()
            .map(|model| (model.identity().engine, model.identity().digest));
        let fingerprint = match model {
            Some(_) => codec.fingerprint()?.0.first_chunk().copied().unwrap_or_default(),
            None => [0; 8],
        };
        Ok(ContainerHeader {
            version: ContainerHeader::VERSION,
            block_size,
            model,
            fingerprint,
        })
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let (engine, digest) = match self.model {
            None => (0, [0; 32]),
            Some((Engine::Llama, digest)) => (1, digest),
            Some((Engine::Exact, digest)) => (2, digest),
        };
        out.extend([self.version, engine, 0, 0]);
        out.extend(u32::try_from(self.block_size).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(digest);
        out.extend(self.fingerprint);
        seal(out)
    }

    /// The header at the start of `bytes`.
    ///
    /// # Errors
    /// [`Error::NotAContainer`], [`Error::Damaged`] or [`Error::NewerFormat`].
    pub fn parse(bytes: &[u8]) -> Result<ContainerHeader> {
        check_magic(bytes)?;
        let bytes = bytes
            .get(..ContainerHeader::LEN)
            .ok_or_else(|| damaged("its header is cut short"))?;
        if let Some(&version) = bytes
            .get(MAGIC.len())
            .filter(|&&version| version > ContainerHeader::VERSION)
        {
            return Err(Error::NewerFormat {
                what: "container",
                found: version,
                known: ContainerHeader::VERSION,
            });
        }
        let mut rest = unseal(bytes, "header")?;
        let _: [u8; 8] = take(&mut rest)?;
        let [version, engine, ..] = take::<4>(&mut rest)?;
        let block_size = u32::from_le_bytes(take(&mut rest)?) as usize;
        let digest = take::<32>(&mut rest)?;
        let model = match engine {
            0 => None,
            1 => Some((Engine::Llama, digest)),
            2 => Some((Engine::Exact, digest)),
            other => {
                return Err(damaged(format!("its engine has the unknown number {other}")));
            }
        };
        if !(MIN_BLOCK..=MAX_BLOCK).contains(&block_size) || version != ContainerHeader::VERSION {
            return Err(damaged(format!(
                "version {version} with blocks of {block_size} bytes does not exist"
            )));
        }
        Ok(ContainerHeader {
            version,
            block_size,
            model,
            fingerprint: take(&mut rest)?,
        })
    }
}

impl ContainerHeader {
    /// The digest of no model.
    pub const UNKNOWN_MODEL: [u8; 32] = [0; 32];

    /// What a damaged header, of which these bytes are left, seems to say: its blocks say themselves whether that fits
    /// them. The first intact one has `block` bytes.
    pub(super) fn guess(bytes: &[u8], block: usize) -> ContainerHeader {
        let digest: [u8; 32] = bytes
            .get(16..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .unwrap_or_default();
        let engine = match bytes.get(9) {
            Some(1) => Engine::Llama,
            _ => Engine::Exact,
        };
        // Without a model the digest is zeros; a few other bytes among them are the damage.
        let named = digest.iter().filter(|&&byte| byte != 0).count() > digest.len() / 2;
        ContainerHeader {
            version: ContainerHeader::VERSION,
            block_size: if block < MIN_BLOCK { MAX_BLOCK } else { block },
            model: Some((engine, if named { digest } else { ContainerHeader::UNKNOWN_MODEL })),
            fingerprint: [0; 8],
        }
    }

    /// Asks for a codec. A `guessed` header may name a model that there never was: then for one of any model.
    pub(super) fn codec(
        &self,
        guessed: bool,
        mut codec_of: impl FnMut(&ContainerHeader) -> Result<Codec>,
    ) -> Result<Codec> {
        let unknown = self.model.map(|(engine, _)| (engine, ContainerHeader::UNKNOWN_MODEL));
        match codec_of(self) {
            Err(_) if guessed && self.model != unknown => codec_of(&ContainerHeader {
                model: unknown,
                ..self.clone()
            }),
            other => other,
        }
    }
}

/// What is wrong with a header although there is a container.
pub(super) fn no_header(error: Error) -> Error {
    match error {
        Error::NotAContainer { .. } => damaged("it does not start like an .lmz file"),
        other => other,
    }
}

/// Where the blocks are, and a checksum of the whole content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeekTable {
    /// Stored bytes of each block, its header included.
    pub stored: Vec<u32>,
    /// Bytes of content.
    pub raw_len: u64,
    /// CRC-32 of all content.
    pub raw_crc: u32,
}

impl SeekTable {
    /// Bytes of a table of `blocks` entries.
    pub(super) fn len(blocks: u64) -> u64 {
        TABLE_MAGIC.len() as u64 + 4 + blocks * 4 + 8 + 4 + 4
    }

    /// Whether its blocks can hold the content.
    pub(super) fn holds(&self, block_size: usize) -> bool {
        self.raw_len <= self.stored.len() as u64 * block_size as u64
    }

    /// Whether they can, and all of them are needed.
    pub(super) fn fits(&self, block_size: usize) -> bool {
        let blocks = self.stored.len() as u64;
        self.holds(block_size) && (blocks == 0 || self.raw_len > (blocks - 1) * block_size as u64)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = TABLE_MAGIC.to_vec();
        out.extend(u32::try_from(self.stored.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(self.stored.iter().flat_map(|len| len.to_le_bytes()));
        out.extend(self.raw_len.to_le_bytes());
        out.extend(self.raw_crc.to_le_bytes());
        seal(out)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<SeekTable> {
        let mut rest = unseal(bytes, "seek table")?;
        if take::<4>(&mut rest)? != TABLE_MAGIC {
            return Err(damaged("its seek table is not where it should be"));
        }
        let count = u32::from_le_bytes(take(&mut rest)?);
        if rest.len() as u64 != u64::from(count) * 4 + 12 {
            return Err(damaged(format!("its seek table has no room for {count} blocks")));
        }
        let stored = (0..count)
            .map(|_| take(&mut rest).map(u32::from_le_bytes))
            .collect::<Result<Vec<_>>>()?;
        if let Some(len) = stored
            .iter()
            .find(|&&len| !(Header::LEN..=Header::LEN + MAX_BLOCK).contains(&(len as usize)))
        {
            return Err(damaged(format!("its seek table has a block of {len} bytes")));
        }
        let raw_len = u64::from_le_bytes(take(&mut rest)?);
        Ok(SeekTable {
            stored,
            raw_len,
            raw_crc: u32::from_le_bytes(take(&mut rest)?),
        })
    }
}

/// The last bytes of a container, from which its parts are found backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Bytes of the seek table.
    pub table_len: u64,
    /// Bytes of the whole container, this footer included.
    pub container_len: u64,
}

impl Footer {
    /// Bytes of a footer.
    pub const LEN: usize = 24;

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut out = FOOTER_MAGIC.to_vec();
        out.extend(self.table_len.to_le_bytes());
        out.extend(self.container_len.to_le_bytes());
        seal(out)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Footer> {
        if !bytes.starts_with(&FOOTER_MAGIC) {
            return Err(damaged(
                "it does not end with a footer: it is truncated, or something follows it",
            ));
        }
        let mut rest = unseal(bytes, "footer")?;
        let _: [u8; 4] = take(&mut rest)?;
        let footer = Footer {
            table_len: u64::from_le_bytes(take(&mut rest)?),
            container_len: u64::from_le_bytes(take(&mut rest)?),
        };
        let around = (ContainerHeader::LEN + Footer::LEN) as u64;
        match footer
            .table_len
            .checked_add(around)
            .is_some_and(|least| least <= footer.container_len)
        {
            true => Ok(footer),
            false => Err(damaged("its footer's lengths do not fit")),
        }
    }
}
