//! What a container starts with.

use crate::model::Engine;
use crate::{Codec, Error, MAX_BLOCK, MIN_BLOCK, Result};

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

pub(super) fn damaged(reason: impl Into<String>) -> Error {
    Error::damaged("container", reason)
}

/// Takes `N` bytes from the front.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    match bytes.split_first_chunk::<N>() {
        Some((first, rest)) => {
            *bytes = rest;
            Ok(*first)
        }
        None => Err(damaged(format!("it ends {} bytes early", N - bytes.len()))),
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
    /// Bytes of a header without a model.
    pub const MIN_LEN: usize = 20;
    /// Bytes of a header with one.
    pub const MAX_LEN: usize = 60;
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
            Some(_) => {
                let [a, b, c, d, e, f, g, h, ..] = codec.fingerprint()?.0;
                [a, b, c, d, e, f, g, h]
            }
            None => [0; 8],
        };
        Ok(ContainerHeader {
            version: ContainerHeader::VERSION,
            block_size,
            model,
            fingerprint,
        })
    }

    /// The same without a model, for blocks that need none.
    pub(super) fn without_model(&self) -> ContainerHeader {
        ContainerHeader {
            model: None,
            fingerprint: [0; 8],
            ..*self
        }
    }

    /// Bytes it takes.
    pub(super) fn stored_len(&self) -> u8 {
        let len = match self.model {
            None => ContainerHeader::MIN_LEN,
            Some(_) => ContainerHeader::MAX_LEN,
        };
        len as u8
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let engine = match self.model {
            None => 0,
            Some((Engine::Llama, _)) => 1,
            Some((Engine::Exact, _)) => 2,
        };
        out.extend([self.version, engine, 0, 0]);
        out.extend(u32::try_from(self.block_size).unwrap_or(u32::MAX).to_le_bytes());
        if let Some((_, digest)) = self.model {
            out.extend(digest);
            out.extend(self.fingerprint);
        }
        let crc = crc32fast::hash(&out);
        out.extend(crc.to_le_bytes());
        out
    }

    /// The header at the start of `bytes`, which may go on after it.
    ///
    /// # Errors
    /// [`Error::NotAContainer`], [`Error::Damaged`] or [`Error::NewerFormat`].
    pub fn parse(bytes: &[u8]) -> Result<ContainerHeader> {
        check_magic(bytes)?;
        let cut_short = || damaged("its header is cut short");
        let [version, engine] = bytes
            .get(8..10)
            .and_then(|kind| kind.try_into().ok())
            .ok_or_else(cut_short)?;
        if version > ContainerHeader::VERSION {
            return Err(Error::NewerFormat {
                what: "container",
                found: version,
                known: ContainerHeader::VERSION,
            });
        }
        let len = match engine {
            0 => ContainerHeader::MIN_LEN,
            _ => ContainerHeader::MAX_LEN,
        };
        let header = bytes.get(..len).and_then(<[u8]>::split_last_chunk::<4>);
        let (covered, crc) = header.ok_or_else(cut_short)?;
        if crc32fast::hash(covered) != u32::from_le_bytes(*crc) {
            return Err(damaged("the CRC-32 of its header does not fit"));
        }
        let mut rest = covered.get(12..).unwrap_or_default();
        let block_size = u32::from_le_bytes(take(&mut rest)?) as usize;
        let model = match engine {
            0 => None,
            1 => Some((Engine::Llama, take(&mut rest)?)),
            2 => Some((Engine::Exact, take(&mut rest)?)),
            other => {
                return Err(damaged(format!("its engine has the unknown number {other}")));
            }
        };
        if !(MIN_BLOCK..=MAX_BLOCK).contains(&block_size) || version != ContainerHeader::VERSION {
            return Err(damaged(format!(
                "version {version} with blocks of {block_size} bytes does not exist"
            )));
        }
        let fingerprint = match model {
            None => [0; 8],
            Some(_) => take(&mut rest)?,
        };
        Ok(ContainerHeader {
            version,
            block_size,
            model,
            fingerprint,
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
