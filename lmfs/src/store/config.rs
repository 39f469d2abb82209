//! `config.toml`: what a store is.

use std::path::Path;

use lmfs_codec::model::Engine;
use lmfs_codec::{MAX_BLOCK, MIN_BLOCK};
use lmfs_indexer::MAX_PARITY;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::digest::Digest;
use super::error::{Error, Result};
use super::prefer::Prefer;

/// The newest store format this program reads, and the one it writes.
pub const FORMAT: u32 = 1;

/// Bytes in a block unless `lmfs init --block-size` says otherwise (docs/BENCHMARKS.md has the reason).
pub const DEFAULT_BLOCK_SIZE: u32 = 16 << 10;

/// For whoever finds the folder, perhaps long after.
const HEAD: &str = "\
# This folder is an lmfs store: a filesystem whose files are compressed. The program `lmfs` shows them:
#     lmfs mount THIS-FOLDER AN-EMPTY-FOLDER
# They lie in segments/, and what is in models/ is needed to decompress them: keep all of this folder.
# docs/FORMAT.md in the sources of lmfs defines every byte.
";

/// What a store is. Fixed when the store is made; a copy is kept in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Store format, [`FORMAT`] for new stores.
    pub format: u32,
    /// Random, made with the store.
    pub store_id: Uuid,
    /// Bytes in a block: a power of two from 4 KiB to 1 MiB.
    pub block_size: u32,
    /// Parity of new segments, in percent of their bytes; 0: none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub parity: u8,
    /// What blocks are to be.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prefer: Prefer,
    /// The language model; a store made with `--model none` has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelConfig>,
}

fn is_default(prefer: &Prefer) -> bool {
    *prefer == Prefer::default()
}

fn is_zero(percent: &u8) -> bool {
    *percent == 0
}

/// The language model of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// `builtin:NAME`, or the name of the file it was copied from.
    pub name: String,
    /// SHA-256 of the model file, which is `models/DIGEST.gguf`.
    pub digest: Digest,
    /// Which engine runs it.
    pub engine: Engine,
    /// What a probe of the model gave when the store was made. A machine where the probe gives something else
    /// could not decode what the model coded.
    pub fingerprint: String,
}

/// The one field that all formats share.
#[derive(Deserialize)]
struct AnyFormat {
    format: u64,
}

impl Config {
    /// Reads the text of a `config.toml`; `path` is named in errors.
    ///
    /// # Errors
    /// [`Error::NewerFormat`]; [`Error::BadConfig`] for text that is no config, with the line.
    pub fn parse(text: &str, path: &Path) -> Result<Config> {
        let bad = |reason: String| Error::BadConfig {
            path: path.to_owned(),
            reason,
        };
        let any: AnyFormat = toml::from_str(text).map_err(|e| bad(reason(text, &e)))?;
        if any.format > u64::from(FORMAT) {
            return Err(Error::NewerFormat {
                path: path.to_owned(),
                found: any.format,
                supported: FORMAT,
            });
        }
        let config: Config = toml::from_str(text).map_err(|e| bad(reason(text, &e)))?;
        if config.format == 0 {
            return Err(bad("format 0 does not exist".to_owned()));
        }
        let size = config.block_size;
        let fits = usize::try_from(size).is_ok_and(|size| (MIN_BLOCK..=MAX_BLOCK).contains(&size));
        if !fits || !size.is_power_of_two() {
            return Err(bad(format!(
                "block_size {size} is not a power of two from {MIN_BLOCK} to {MAX_BLOCK}"
            )));
        }
        if config.parity > MAX_PARITY {
            return Err(bad(format!(
                "parity = {}, at most {MAX_PARITY} percent are possible",
                config.parity
            )));
        }
        Ok(config)
    }

    /// The text of `config.toml`.
    ///
    /// # Errors
    /// [`Error::BadConfig`] if it cannot be written as TOML.
    pub fn to_text(&self) -> Result<String> {
        let body = toml::to_string(self).map_err(|e| Error::BadConfig {
            path: Path::new("config.toml").to_owned(),
            reason: e.to_string(),
        })?;
        Ok(format!(
            "{HEAD}# Written by lmfs {}. Nothing here may be changed by hand.\n{body}",
            env!("CARGO_PKG_VERSION")
        ))
    }
}

/// What is wrong with a config, and in which line. What it quotes of a damaged file is short and can be printed.
fn reason(text: &str, error: &toml::de::Error) -> String {
    /// Characters of it, at most.
    const LONGEST: usize = 300;
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let what: String = error.message().chars().take(LONGEST).map(printable).collect();
    let before = error.span().and_then(|span| text.get(..span.start));
    match before.map(|before| before.matches('\n').count() + 1) {
        Some(line) => format!("line {line}: {what}"),
        None => what,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sample() -> Config {
        Config {
            format: FORMAT,
            store_id: Uuid::from_u128(7),
            block_size: 16384,
            parity: 5,
            prefer: Prefer::Speed,
            model: Some(ModelConfig {
                name: "builtin:first \"quoted\" \n".into(),
                digest: Digest([0xab; 32]),
                engine: Engine::Llama,
                fingerprint: "0123".into(),
            }),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let path = Path::new("config.toml");
        for config in [
            sample(),
            Config {
                model: None,
                parity: 0,
                prefer: Prefer::Balanced,
                ..sample()
            },
        ] {
            assert_eq!(Config::parse(&config.to_text().unwrap(), path).unwrap(), config);
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage_even_if_its_fields_are_unknown() {
        let error = Config::parse("format = 9\nshape = 'round'\n", Path::new("/s/config.toml")).unwrap_err();
        assert!(matches!(error, Error::NewerFormat { found: 9, .. }), "{error}");
        assert!(error.to_string().contains("format 9") && error.to_string().contains("/s/config.toml"));
    }

    #[test]
    fn damage_is_refused_and_the_file_named() {
        let good = sample().to_text().unwrap();
        let cases = [
            String::new(),
            "format = 0\n".into(),
            "format = -1\n".into(),
            "format = 'one'\n".into(),
            good.replace("16384", "16383"),
            good.replace("16384", "33554432"),
            good.replace("block_size", "blocksize"),
            good.replace("parity = 5", "parity = 51"),
            good.replace("parity = 5", "parity = -1"),
            good.replace("\"speed\"", "\"haste\""),
            good.replace("abab", "xyxy"),
            format!("{good}\nextra = 1\n"),
            "\u{0}\u{1}".into(),
            // Regression: a file of zeros was quoted whole, 400 KB of message.
            format!("{good}{}", "\u{0}".repeat(65_536)),
            format!("{good}\n\"\\u001b[31m{}\" = 1", "x".repeat(65_536)),
        ];
        for text in cases {
            let error = Config::parse(&text, Path::new("/s/config.toml")).unwrap_err();
            assert!(matches!(error, Error::BadConfig { .. }), "{text}: {error}");
            let said = error.to_string();
            assert!(said.starts_with("/s/config.toml") && said.len() < 1000, "{error}");
            assert!(!said.contains(char::is_control), "{said:?}");
        }
    }
}
