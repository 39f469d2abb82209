//! The GGUF file format, version 2 and 3: metadata and tensor directory, with every length checked against the file.
//!
//! llama.cpp stops the process on some broken files; what is handed to it has passed [`Gguf::parse`] and
//! [`Gguf::check_model`] first. Source: the GGUF specification in the ggml repository.

mod intake;
mod malformed;
mod reader;
mod types;
mod value;

use std::collections::{BTreeMap, HashSet};

pub use intake::read;
pub use malformed::Malformed;
use reader::Reader;
pub use value::{Tensor, Value};

/// A parsed GGUF file.
#[derive(Clone, Debug)]
pub struct Gguf {
    /// Metadata by key.
    pub metadata: BTreeMap<String, Value>,
    /// Tensors in file order.
    pub tensors: Vec<Tensor>,
}

impl Gguf {
    /// What a file starts with.
    pub const MAGIC: &[u8] = b"GGUF";
    /// What is wrong with one that does not.
    pub(crate) const NO_MAGIC: &str = "it is not a GGUF file (those start with the letters GGUF)";

    /// Parses a file.
    ///
    /// # Errors
    /// What is wrong, in words, with the offset where it matters.
    pub fn parse(file: &[u8]) -> Result<Gguf, Malformed> {
        let gguf = Gguf::directory(&mut Reader::new(file, file.len() as u64))?;
        gguf.check_extents(file.len() as u64)?;
        Ok(gguf)
    }

    /// Where the last tensor of a file of `len` bytes ends, of which these are the first; `None` if more of them are
    /// needed.
    fn end(first: &[u8], len: u64) -> Result<Option<u64>, Malformed> {
        let mut reader = Reader::new(first, len);
        match Gguf::directory(&mut reader) {
            Err(_) if reader.wants_more() => Ok(None),
            Err(reason) => Err(reason),
            Ok(gguf) => gguf
                .check_extents(len)
                .map(|end| Some(end.max(reader.position() as u64))),
        }
    }

    /// Metadata and tensors, whose places are not compared with the file yet.
    fn directory(reader: &mut Reader<'_>) -> Result<Gguf, Malformed> {
        if reader.bytes(Gguf::MAGIC.len(), "magic").ok() != Some(Gguf::MAGIC) {
            return Err(Gguf::NO_MAGIC.into());
        }
        let version = reader.u32("version")?;
        if !(2..=3).contains(&version) {
            return Err(format!("it has GGUF version {version}; versions 2 and 3 can be read").into());
        }
        let tensor_count = reader.count("tensor count", 24)?;
        let metadata_count = reader.count("metadata count", 13)?;
        let mut metadata = BTreeMap::new();
        for _ in 0..metadata_count {
            let key = reader.text("metadata key")?;
            let kind = reader.u32(&key)?;
            let value = reader.value(kind, &key)?;
            metadata.insert(key, value);
        }
        let mut tensors = Vec::new();
        for _ in 0..tensor_count {
            tensors.push(reader.tensor()?);
        }
        let alignment = match metadata.get("general.alignment") {
            None => 32,
            Some(Value::Integer(n)) if (8..=1 << 20).contains(n) && n.count_ones() == 1 => *n as usize,
            Some(other) => {
                return Err(format!("general.alignment is {other:?}, not a power of two").into());
            }
        };
        let data = reader.position().next_multiple_of(alignment);
        for tensor in &mut tensors {
            let offset = tensor.offset.checked_add(data);
            tensor.offset = offset.ok_or_else(|| format!("damaged: tensor {} is at {}", tensor.name, tensor.offset))?;
        }
        Ok(Gguf { metadata, tensors })
    }

    /// That a file of `len` bytes has all tensors; where the last of them ends.
    fn check_extents(&self, len: u64) -> Result<u64, Malformed> {
        let (mut last, mut sum) = (0, 0_u64);
        for tensor in &self.tensors {
            let end = tensor.offset.checked_add(tensor.len).map(|end| end as u64);
            let Some(end) = end.filter(|&end| end <= len) else {
                return Err(format!(
                    "it is truncated: tensor {} needs {} bytes at offset {}, the file has {len}",
                    tensor.name, tensor.len, tensor.offset,
                )
                .into());
            };
            last = end.max(last);
            sum = sum.saturating_add(tensor.len as u64);
        }
        // Tensors of their own need no more bytes than there are; one place named often would be loaded as often.
        match sum <= len {
            true => Ok(last),
            false => Err("damaged: its tensors overlap".into()),
        }
    }

    /// A metadata string.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key) {
            Some(Value::Text(text)) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// A metadata integer that is not negative.
    pub fn integer(&self, key: &str) -> Option<u64> {
        match self.metadata.get(key) {
            Some(Value::Integer(n)) => u64::try_from(*n).ok(),
            _ => None,
        }
    }

    /// A metadata array.
    pub fn array(&self, key: &str) -> Option<&[Value]> {
        match self.metadata.get(key) {
            Some(Value::Array(values)) => Some(values),
            _ => None,
        }
    }

    /// Number of weights in all tensors.
    pub fn parameters(&self) -> u64 {
        self.tensors
            .iter()
            .map(|tensor| tensor.shape.iter().product::<u64>())
            .sum()
    }

    /// That the file is a text model with a tokenizer whose sizes are not absurd.
    ///
    /// # Errors
    /// What is missing or impossible, and what to use instead.
    pub fn check_model(&self) -> Result<(), Malformed> {
        let Some(architecture) = self.text("general.architecture") else {
            return Err("it does not name its architecture (general.architecture)".into());
        };
        for (key, limit) in [
            ("block_count", 512),
            ("embedding_length", 1 << 20),
            ("context_length", 1 << 31),
        ] {
            match self.integer(&format!("{architecture}.{key}")) {
                Some(n) if (1..=limit).contains(&n) => {}
                Some(n) => {
                    return Err(format!("{architecture}.{key} is {n}, which is not between 1 and {limit}").into());
                }
                None => {
                    return Err(format!("it does not say its {architecture}.{key}: it is not a language model").into());
                }
            }
        }
        let head_count = format!("{architecture}.attention.head_count");
        if self.metadata.get(&head_count) == Some(&Value::Integer(0))
            && !architecture.contains("rwkv")
            && !architecture.contains("mamba")
        {
            return Err(format!("{head_count} is 0").into());
        }
        let experts = |key: &str| match self.metadata.get(&format!("{architecture}.{key}")) {
            None => Some(0),
            Some(Value::Integer(n)) => u32::try_from(*n).ok(),
            Some(_) => None,
        };
        match (experts("expert_count"), experts("expert_used_count")) {
            (Some(0), Some(0)) => {}
            (Some(count), Some(used)) if (1..=count).contains(&used) && count <= 512 => {}
            (count, used) => {
                return Err(format!("it has {count:?} experts and uses {used:?} of them").into());
            }
        }
        match self.text("tokenizer.ggml.model") {
            None => return Err("it has no tokenizer (tokenizer.ggml.model)".into()),
            Some("none" | "no_vocab") => {
                return Err("it has no vocabulary (tokenizer.ggml.model is none)".into());
            }
            Some("bert" | "t5") => {
                return Err("its tokenizer changes the text; use a model with BPE or SentencePiece".into());
            }
            Some(_) => {}
        }
        match self.array("tokenizer.ggml.tokens") {
            Some(tokens) if tokens.len() >= 256 => distinct(tokens)?,
            Some(tokens) => {
                return Err(format!("its vocabulary has {} tokens; 256 bytes need more", tokens.len()).into());
            }
            None => return Err("it has no vocabulary (tokenizer.ggml.tokens)".into()),
        }
        if self.tensors.is_empty() {
            return Err("it has no weights (a file of vocabulary only)".into());
        }
        match self.tensors.iter().find(|tensor| types::is_integer(tensor.kind)) {
            Some(tensor) => Err(format!("tensor {} holds integers, which are no weights", tensor.name).into()),
            None => Ok(()),
        }
    }
}

/// That no two tokens are written alike: llama.cpp stops at them.
fn distinct(tokens: &[Value]) -> Result<(), Malformed> {
    let mut seen = HashSet::with_capacity(tokens.len());
    for (id, token) in tokens.iter().enumerate() {
        let Value::Text(text) = token else {
            return Err(format!("token {id} is no text").into());
        };
        let text = match text.is_empty() {
            true => format!("[EMPTY_{id}]").into_bytes(), // what llama.cpp calls it
            false => text.clone(),
        };
        if !seen.insert(text) {
            return Err(format!("token {id} is written as one before it is").into());
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::builtin;

    #[test]
    fn reads_the_built_in_models() {
        for model in builtin::list() {
            let gguf = Gguf::parse(model.gguf).unwrap();
            gguf.check_model().unwrap();
            assert_eq!(gguf.text("general.architecture"), Some("llama"));
            assert!(gguf.parameters() > 100_000);
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let file = builtin::default().unwrap().gguf;
        for len in (0..2000)
            .chain((2000..file.len()).step_by(40_009))
            .chain([file.len() - 1])
        {
            assert!(Gguf::parse(&file[..len]).is_err(), "{len} bytes");
        }
    }

    /// Each of a thousand layers at the same place was once loaded into memory of its own.
    #[test]
    fn tensors_that_overlap_are_refused() {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend(3_u64.to_le_bytes());
        file.extend(0_u64.to_le_bytes());
        for name in [b"a", b"b", b"c"] {
            file.extend(1_u64.to_le_bytes());
            file.extend(name);
            file.extend(1_u32.to_le_bytes());
            file.extend(64_u64.to_le_bytes());
            file.extend(0_u32.to_le_bytes());
            file.extend(0_u64.to_le_bytes());
        }
        file.resize(file.len().next_multiple_of(32) + 256, 0);
        assert!(Gguf::parse(&file).unwrap_err().to_string().contains("overlap"));
    }

    /// llama.cpp ended the process at each of these.
    #[test]
    fn models_that_stop_llama_cpp_are_refused() {
        let sound = Gguf::parse(builtin::default().unwrap().gguf).unwrap();
        let with = |key: &str, n: i128| {
            let mut gguf = sound.clone();
            gguf.metadata.insert(key.into(), Value::Integer(n));
            gguf.check_model()
        };
        for (key, n) in [
            ("llama.block_count", 513),
            ("llama.expert_count", 8),
            ("llama.expert_used_count", 8),
            ("llama.expert_count", -1),
        ] {
            assert!(with(key, n).is_err(), "{key} {n}");
        }
        assert_eq!(with("llama.expert_count", 0), Ok(()));

        let mut twice = sound.clone();
        let tokens = twice.array("tokenizer.ggml.tokens").unwrap();
        let mut tokens = tokens.to_vec();
        tokens[4095] = tokens[273].clone();
        twice
            .metadata
            .insert("tokenizer.ggml.tokens".into(), Value::Array(tokens));
        assert!(twice.check_model().unwrap_err().to_string().contains("token 4095"));

        for kind in [24, 26, 28] {
            let mut integers = sound.clone();
            integers.tensors[0].kind = kind;
            assert!(integers.check_model().unwrap_err().to_string().contains("integers"));
        }
    }

    #[test]
    fn any_damage_to_the_directory_is_survived() {
        let file = builtin::default().unwrap().gguf;
        let head = file.len().min(1 << 17);
        for seed in 0..400_usize {
            let mut damaged = file[..head].to_vec();
            let at = seed.wrapping_mul(2_654_435_761) % 3000;
            damaged[at] ^= (seed % 255 + 1) as u8;
            let _ = Gguf::parse(&damaged).and_then(|gguf| gguf.check_model());
        }
    }
}
