//! The bytes that tokens stand for, and their order.

use crate::model::Token;
use crate::{Error, Result};

/// The token bytes of a model, indexed by token and in byte order.
///
/// A token without bytes (control tokens, unused entries) is not *expressible*: it is never coded. The other tokens
/// have a *rank*: their place when sorted by bytes, ties by token id. Tokens that share a byte prefix have
/// neighbouring ranks, which is what makes every decision of the coder a quotient of two range sums.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    /// Token `t` is `bytes[starts[t]..starts[t + 1]]`.
    starts: Vec<u32>,
    bytes: Vec<u8>,
    sorted: Vec<Token>,
    bos: Option<Token>,
    byte_tokens: [Token; 256],
}

impl Vocabulary {
    /// Makes a vocabulary from the bytes of each token; empty bytes mean "not expressible".
    ///
    /// # Errors
    /// A reason in words when the tokens cannot express every byte string (one token per byte value is needed), or
    /// when `bos` is not a token.
    pub fn new<B: AsRef<[u8]>>(tokens: &[B], bos: Option<Token>) -> Result<Vocabulary> {
        let reject = |reason: String| Err(Error::unusable("(vocabulary)", reason));
        if bos.is_some_and(|bos| bos as usize >= tokens.len()) {
            return reject(format!(
                "its start token {bos:?} is not among its {} tokens",
                tokens.len()
            ));
        }
        let mut starts = vec![0_u32];
        let mut bytes = Vec::new();
        let mut byte_tokens: [Option<Token>; 256] = [None; 256];
        let mut sorted = Vec::new();
        for (id, token) in (0..).zip(tokens) {
            let token = token.as_ref();
            bytes.extend_from_slice(token);
            let Ok(end) = u32::try_from(bytes.len()) else {
                return reject("its tokens have more than 4 GiB of bytes".into());
            };
            starts.push(end);
            if let [byte] = token
                && let Some(slot) = byte_tokens.get_mut(usize::from(*byte))
            {
                slot.get_or_insert(id);
            }
            if !token.is_empty() {
                sorted.push(id);
            }
        }
        let missing: Vec<String> = (0_usize..)
            .zip(&byte_tokens)
            .filter(|(_, token)| token.is_none())
            .map(|(byte, _)| format!("{byte:02x}"))
            .collect();
        if let Some(first) = missing.first() {
            return reject(format!(
                "it has no token for {} of the 256 byte values (the first is 0x{first}), so it cannot express every \
                 file; use a model with byte-level BPE or byte fallback",
                missing.len()
            ));
        }
        sorted.sort_by_key(|&id| (tokens.get(id as usize).map(AsRef::as_ref), id));
        Ok(Vocabulary {
            starts,
            bytes,
            sorted,
            bos,
            byte_tokens: byte_tokens.map(Option::unwrap_or_default),
        })
    }

    /// Number of tokens, control tokens included: the number of logits.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Never true: a vocabulary has at least the 256 single bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of a token; empty for a token that is not expressible or does not exist.
    pub fn bytes(&self, token: Token) -> &[u8] {
        let at = |i: usize| self.starts.get(i).map(|&start| start as usize);
        match (at(token as usize), at(token as usize + 1)) {
            (Some(start), Some(end)) => self.bytes.get(start..end).unwrap_or_default(),
            _ => &[],
        }
    }

    /// The token that starts a text, if the model wants one.
    pub fn bos(&self) -> Option<Token> {
        self.bos
    }

    /// The token of a single byte.
    pub fn byte_token(&self, byte: u8) -> Token {
        self.byte_tokens
            .get(usize::from(byte))
            .copied()
            .unwrap_or_default()
    }

    /// The expressible tokens in byte order; a token's rank is its index here.
    pub fn sorted(&self) -> &[Token] {
        &self.sorted
    }

    /// Appends the bytes of `tokens` to `out`.
    pub fn join(&self, tokens: &[Token], out: &mut Vec<u8>) {
        for &token in tokens {
            out.extend_from_slice(self.bytes(token));
        }
    }
}
