//! What the tests of several modules need.

/// Bytes of 64 values, each as probable as the others: only a model that knows them compresses them well.
pub(super) fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        b' ' + (state >> 58) as u8
    });
    noise.take(3000).collect()
}
