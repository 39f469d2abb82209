//! Sizes of GGUF value types and ggml tensor types.

use super::malformed::Malformed;

/// Least bytes that one value of a metadata type takes.
pub(super) fn least_value_len(kind: u32) -> usize {
    match kind {
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        9 => 12,
        _ => 1,
    }
}

/// Elements and bytes of one block of a ggml type, from ggml-common.h.
fn block(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 | 26 => (1, 4),
        1 | 25 | 30 => (1, 2),
        2 | 20 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        9 => (32, 36),
        10 => (256, 84),
        11 | 21 => (256, 110),
        12 => (256, 144),
        13 => (256, 176),
        14 => (256, 210),
        15 => (256, 292),
        16 | 35 => (256, 66),
        17 => (256, 74),
        18 => (256, 98),
        19 => (256, 50),
        22 => (256, 82),
        23 => (256, 136),
        24 => (1, 1),
        27 | 28 => (1, 8),
        29 => (256, 56),
        34 => (256, 54),
        39 => (32, 17),
        40 => (64, 36),
        41 => (128, 18),
        42 => (64, 18),
        _ => return None,
    })
}

/// Whether a ggml type is of integers, or of the doubles that no kernel multiplies.
pub(super) fn is_integer(kind: u32) -> bool {
    (24..=28).contains(&kind)
}

/// Bytes of a tensor's data.
pub(super) fn tensor_len(kind: u32, shape: &[u64]) -> Result<usize, Malformed> {
    let Some((elements, bytes)) = block(kind) else {
        return Err(format!("has the type {kind}, which this version does not know").into());
    };
    let row = shape.first().copied().unwrap_or(1);
    if row % elements != 0 {
        return Err(format!("has rows of {row}, its type needs a multiple of {elements}").into());
    }
    let count = shape
        .iter()
        .try_fold(1_u64, |product, &extent| product.checked_mul(extent));
    count
        .filter(|&count| count > 0)
        .and_then(|count| (count / elements).checked_mul(bytes))
        .and_then(|len| usize::try_from(len).ok())
        .ok_or_else(|| format!("has the impossible shape {shape:?}").into())
}
