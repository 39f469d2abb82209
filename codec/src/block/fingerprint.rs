//! A digest of how this machine, build and model compute.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::Method;
use super::engine::Predicting;
use crate::hex::hex;
use crate::{Error, Result, Stop};

/// SHA-256 over everything that decoding depends on, computed by running it: equal fingerprints mean that blocks
/// written there decode here.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Fingerprint> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let bytes: Option<Vec<u8>> = digits.map(|digits| {
            digits
                .chunks(2)
                .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
                .collect()
        });
        bytes
            .filter(|_| text.len() == 64)
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .map(Fingerprint)
            .ok_or_else(|| Error::InvalidOption(format!("{text:?} is not a fingerprint: 64 hex digits are")))
    }
}

/// Text that touches letters, digits, markup, other scripts, bytes that are no text, and repetition.
const PROBE: &[u8] = "The quick brown fox jumps over 13 lazy dogs; {\"id\": 4711, \"ok\": true}\n\
    Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Съешь же ещё этих мягких\n\
    <a href='/x'>link</a>\tif (n % 2 == 0) { return f(n / 2); } 2024-02-29T23:59:60Z [warn] 0x1f\n\
    The quick brown fox jumps over 13 lazy dogs; {\"id\": 4712, \"ok\": false}\n\0\u{1}\u{fffd}"
    .as_bytes();

/// Lanes of the probe: one alone, and as many as most blocks have.
const PROBE_LANES: [usize; 2] = [1, 16];

pub(super) fn compute(predicting: &Predicting) -> Result<Fingerprint> {
    let mut hash = Sha256::new();
    hash.update(b"lmfs fingerprint 1\0");
    let stop = Stop::new();
    let methods = [Method::Mix, Method::Lm, Method::Model];
    for method in methods
        .into_iter()
        .filter(|method| !method.needs_model() || predicting.model().is_some())
    {
        hash.update(predicting.params(method));
        let payload = predicting.encode(method, PROBE, 1, &stop)?;
        hash.update((payload.len() as u64).to_le_bytes());
        hash.update(&payload);
    }
    if let Some(model) = predicting.model() {
        for lanes in PROBE_LANES {
            // Logits as well as coded bytes: a wrong low bit may not show in a short stream.
            let mut state = model.open(lanes)?;
            let tokens = model.tokenize(PROBE)?;
            for step in tokens.chunks(lanes).take(6) {
                let runs: Vec<&[u32]> = (0..lanes)
                    .map(|lane| step.get(lane..=lane).unwrap_or_default())
                    .collect();
                state.step(&runs)?;
                for lane in 0..lanes {
                    state
                        .logits(lane, 0)
                        .iter()
                        .for_each(|logit| hash.update(logit.to_bits().to_le_bytes()));
                }
            }
        }
    }
    Ok(Fingerprint(hash.finalize().into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// A second implementation has the probe and an example from docs/FORMAT.md.
    #[test]
    fn the_document_has_the_probe_and_an_example() {
        let document = include_str!("../../../docs/FORMAT.md");
        let digits: String = document.split_whitespace().collect();
        assert!(digits.contains(&hex(PROBE)), "{}", hex(PROBE));
        let payload = crate::mix::encode(&mut crate::mix::Predictor::new(), PROBE, &crate::Stop::new()).unwrap();
        assert_eq!(payload.first(), Some(&0), "its shape");
        let plain = crate::Codec::new(None, crate::Options::default()).unwrap();
        let print = plain.fingerprint().unwrap().to_string();
        assert!(document.contains(&print), "{print}");
    }

    #[test]
    fn text_round_trips_and_nonsense_is_refused() {
        let print = Fingerprint(std::array::from_fn(|i| u8::try_from(i * 7).unwrap()));
        assert_eq!(print.to_string().parse::<Fingerprint>().unwrap(), print);
        for bad in ["", "00", &"g".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad:?}");
        }
    }
}
