//! A secret that packer and worker share.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::error::Error;

/// Shortest secret, in bytes.
const LEAST: usize = 16;
/// Longest secret, in bytes.
const MOST: usize = 4096;

/// A digest of the secret. It does not show in logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token([u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Of these bytes, without white space around them.
    ///
    /// # Errors
    /// Why they are none.
    fn of(secret: &[u8]) -> Result<Token, &'static str> {
        match secret.trim_ascii() {
            secret if secret.len() < LEAST => Err("a token has at least 16 bytes; `openssl rand -hex 32` makes one"),
            secret if secret.len() > MOST => Err("a token has at most 4096 bytes"),
            secret => Ok(Token(Sha256::digest(secret).into())),
        }
    }

    /// What is in a file.
    ///
    /// # Errors
    /// [`Error::TokenFile`].
    pub fn read(file: &Path) -> Result<Token, Error> {
        let unusable = |reason: String| Error::TokenFile {
            file: file.display().to_string(),
            reason,
        };
        let mut secret = Vec::new();
        let opened = File::open(file).and_then(|file| file.take(2 * MOST as u64).read_to_end(&mut secret));
        opened.map_err(|error| unusable(error.to_string()))?;
        Token::of(&secret).map_err(|reason| unusable(reason.to_owned()))
    }

    /// What only who knows the token can answer to `nonce`. It says nothing about the token.
    pub fn proof(&self, nonce: &[u8; 32]) -> [u8; 32] {
        // All parts have one length, so no proof can be made of another one.
        let hash = Sha256::new().chain_update(b"lmfs worker\0").chain_update(self.0);
        hash.chain_update(nonce).finalize().into()
    }

    /// Whether `proof` is the one for `nonce`. This takes as long for any wrong one.
    pub fn is_proven_by(&self, proof: &[u8; 32], nonce: &[u8; 32]) -> bool {
        let right = self.proof(nonce);
        let differences = right.iter().zip(proof).fold(0, |found, (a, b)| found | (a ^ b));
        std::hint::black_box(differences) == 0
    }
}

/// A number that nobody has used before.
pub fn nonce() -> [u8; 32] {
    let parts = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    Sha256::digest(parts).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_proves_itself_and_only_once() {
        let (token, nonce) = (Token::of(b"0123456789abcdef\n").unwrap(), nonce());
        assert_eq!(Token::of(b" 0123456789abcdef").unwrap(), token);
        let other = Token::of(b"0123456789abcdeF").unwrap();
        assert!(token.is_proven_by(&token.proof(&nonce), &nonce));
        assert!(!token.is_proven_by(&other.proof(&nonce), &nonce));
        assert!(!token.is_proven_by(&token.proof(&nonce), &super::nonce()));
        for at in 0..32 {
            let mut proof = token.proof(&nonce);
            proof[at] ^= 1;
            assert!(!token.is_proven_by(&proof, &nonce));
        }
        assert_eq!(format!("{token:?}"), "Token");
    }

    #[test]
    fn a_token_file_is_neither_short_nor_long_nor_missing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (contents, good) in [
            (vec![b'a'; 16], true),
            (b"  \n".to_vec(), false),
            (vec![b'a'; 9000], false),
        ] {
            std::fs::write(file.path(), &contents).unwrap();
            assert_eq!(Token::read(file.path()).is_ok(), good, "{}", contents.len());
        }
        let error = Token::read(Path::new("/nowhere/at/all")).unwrap_err().to_string();
        assert!(
            error.contains("/nowhere/at/all") && error.contains("No such file"),
            "{error}"
        );
    }
}
