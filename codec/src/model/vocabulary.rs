//! The bytes that tokens stand for, and their order.

use crate::{Error, Result};

/// A token's number in its model's vocabulary.
pub type Token = u32;

/// The token bytes of a model, indexed by token and in byte order.
///
/// A token without bytes (control tokens, unused entries) is not *expressible*: it is never coded. Of tokens with the
/// same bytes (`A` and `<0x41>` of a SentencePiece vocabulary) only the last is: coding says which bytes come next,
/// and that must name one token. Expressible tokens have a *rank*: their place when sorted by bytes. Those that share
/// a byte prefix have neighbouring ranks, which makes every decision of the coder a quotient of two range sums.
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
        let mut sorted = Vec::new();
        for (id, token) in (0..).zip(tokens) {
            bytes.extend_from_slice(token.as_ref());
            let Ok(end) = u32::try_from(bytes.len()) else {
                return reject("its tokens have more than 4 GiB of bytes".into());
            };
            starts.push(end);
            if !token.as_ref().is_empty() {
                sorted.push(id);
            }
        }
        let text = |id: Token| tokens.get(id as usize).map_or(&[][..], AsRef::as_ref);
        sorted.sort_by_key(|&id| (text(id), std::cmp::Reverse(id)));
        sorted.dedup_by_key(|id| text(*id));
        let byte_tokens: [Option<Token>; 256] = std::array::from_fn(|byte| {
            let found = sorted.binary_search_by(|&id| text(id).cmp(&[byte as u8]));
            found.ok().and_then(|rank| sorted.get(rank).copied())
        });
        let missing: Vec<usize> = (0..256)
            .filter(|&byte| byte_tokens.get(byte).is_some_and(Option::is_none))
            .collect();
        if let Some(first) = missing.first() {
            return reject(format!(
                "it has no token for {} of the 256 byte values (the first is 0x{first:02x}), so it cannot express \
                 every file; use a model with byte-level BPE or byte fallback",
                missing.len()
            ));
        }
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
        self.byte_tokens.get(usize::from(byte)).copied().unwrap_or_default()
    }

    /// The expressible tokens in byte order; a token's rank is its index here.
    pub fn sorted(&self) -> &[Token] {
        &self.sorted
    }

    /// The rank of the expressible token with exactly these bytes.
    pub fn rank(&self, bytes: &[u8]) -> Option<usize> {
        self.sorted.binary_search_by(|&id| self.bytes(id).cmp(bytes)).ok()
    }

    /// Replaces tokens by the expressible ones of the same bytes.
    pub fn canonicalize(&self, tokens: &mut [Token]) {
        for token in tokens {
            if let Some(&same) = self.rank(self.bytes(*token)).and_then(|rank| self.sorted.get(rank)) {
                *token = same;
            }
        }
    }

    /// Appends the bytes of `tokens` to `out`.
    pub fn join(&self, tokens: &[Token], out: &mut Vec<u8>) {
        for &token in tokens {
            out.extend_from_slice(self.bytes(token));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn bytes() -> Vec<Vec<u8>> {
        (0..=255).map(|byte| vec![byte]).collect()
    }

    #[test]
    fn ranks_are_in_byte_order_and_skip_tokens_without_bytes() {
        let tokens = [vec![b"ab".to_vec(), vec![], b"a\xff".to_vec()], bytes()].concat();
        let vocabulary = Vocabulary::new(&tokens, Some(1)).unwrap();
        assert_eq!(vocabulary.len(), 259);
        assert_eq!(vocabulary.sorted().len(), 258);
        assert!(
            vocabulary
                .sorted()
                .windows(2)
                .all(|w| vocabulary.bytes(w[0]) < vocabulary.bytes(w[1]))
        );
        assert_eq!(vocabulary.byte_token(b'a'), 3 + u32::from(b'a'));
    }

    #[test]
    fn of_equal_tokens_the_last_is_the_one() {
        let tokens = [bytes(), vec![b"A".to_vec()]].concat();
        let vocabulary = Vocabulary::new(&tokens, None).unwrap();
        assert_eq!(vocabulary.byte_token(b'A'), 256);
        let mut tokens = [65, 66];
        vocabulary.canonicalize(&mut tokens);
        assert_eq!(tokens, [256, 66]);
    }

    #[test]
    fn a_vocabulary_without_some_byte_says_which() {
        let error = Vocabulary::new(&bytes()[..255], None).unwrap_err().to_string();
        assert!(error.contains("0xff") && error.contains("1 of the 256"), "{error}");
    }
}
