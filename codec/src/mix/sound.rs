//! 16-bit sound in the order in which it is coded: a sample's high byte first, counted from the lowest one.
//!
//! So the bits so far leave an interval of samples. The mapping keeps the length, and a last odd byte stays.

/// Swaps little-endian signed samples for big-endian unsigned ones.
pub(super) fn forward(raw: &[u8]) -> Vec<u8> {
    let mut out = raw.to_vec();
    for [low, high] in out.as_chunks_mut::<2>().0 {
        (*low, *high) = (*high ^ 0x80, *low);
    }
    out
}

/// The inverse of [`forward`].
pub(super) fn inverse(mut bytes: Vec<u8>) -> Vec<u8> {
    for [high, low] in bytes.as_chunks_mut::<2>().0 {
        (*high, *low) = (*low, *high ^ 0x80);
    }
    bytes
}

/// Big-endian signed samples as unsigned ones, and back.
pub(super) fn shift(mut bytes: Vec<u8>) -> Vec<u8> {
    for [high, _] in bytes.as_chunks_mut::<2>().0 {
        *high ^= 0x80;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_bytes_return(raw: Vec<u8>) {
            assert_eq!(inverse(forward(&raw)), raw);
            assert_eq!(shift(shift(raw.clone())), raw);
        }
    }

    #[test]
    fn samples_keep_their_order() {
        let samples = [i16::MIN, -2, -1, 0, 1, 300, i16::MAX];
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        assert!(forward(&bytes).as_chunks::<2>().0.is_sorted());
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_be_bytes()).collect();
        assert!(shift(bytes).as_chunks::<2>().0.is_sorted());
    }
}
