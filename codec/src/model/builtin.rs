//! The models inside the program.

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// A model that is part of this library.
#[derive(Debug)]
pub struct Builtin {
    /// Its name, used as `builtin:NAME`.
    pub name: &'static str,
    /// The GGUF file.
    pub gguf: &'static [u8],
    /// One line for people: what it is and what it is good for.
    pub summary: &'static str,
    /// How it was made, of what, and how well it does: Markdown.
    pub card: &'static str,
}

impl Builtin {
    /// SHA-256 of the GGUF file.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.gguf).into()
    }
}

macro_rules! embedded {
    ($name:literal, $summary:literal) => {
        Builtin {
            name: $name,
            gguf: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/", $name, ".gguf")),
            summary: $summary,
            card: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/", $name, ".md")),
        }
    };
}

/// The last is used when nothing is asked for. A `const` would be in the program once for every place that names it.
static BUILTINS: &[Builtin] = &[
    embedded!(
        "tiny",
        "1.0M parameters, 4,096 tokens, window of 512: more than twice as fast as small, for 2 to 8 % more bytes"
    ),
    embedded!(
        "small",
        "4.8M parameters, 4,096 tokens, one KV head, window of 512: text, code, logs, tables and documents"
    ),
];

/// All built-in models; the default is the last.
pub fn list() -> &'static [Builtin] {
    BUILTINS
}

/// The model used when nothing is asked for.
pub fn default() -> Result<&'static Builtin> {
    BUILTINS.last().ok_or_else(|| unknown(""))
}

/// The built-in model of this name.
///
/// # Errors
/// [`Error::UnknownBuiltin`] with the names there are.
pub fn find(name: &str) -> Result<&'static Builtin> {
    BUILTINS
        .iter()
        .find(|builtin| builtin.name == name)
        .ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Error {
    let known: Vec<&str> = BUILTINS.iter().map(|builtin| builtin.name).collect();
    Error::UnknownBuiltin {
        name: name.to_owned(),
        known: known.join(", "),
    }
}
