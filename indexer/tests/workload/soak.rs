//! How long the tests of chance are.

/// How long `make soak` is to be, by the environment's `LMFS_SOAK`. 1 is its usual length, 10 ten times that and 0.1 a
/// tenth. None in `make test`, where it is not set.
pub fn soak() -> Option<f64> {
    let text = std::env::var("LMFS_SOAK").ok()?;
    let length = text.parse::<f64>().unwrap_or(f64::NAN);
    assert!(
        length.is_finite() && length > 0.0,
        "LMFS_SOAK is the length of the soak, as 1 or 0.1, and not {text:?}"
    );
    Some(length)
}

/// How often a test of chance is repeated, how many seconds it takes or how much it writes. That is `short` in
/// `make test`, and `long` times the length in `make soak`, but never less than `short`.
pub fn rounds(short: u64, long: u64) -> u64 {
    soak().map_or(short, |length| ((long as f64 * length) as u64).max(short))
}

/// How many cases there are for each that is tried. That is `short` in `make test`, and `long` divided by the length in
/// `make soak`, but at least 1 and never more than `short`.
pub fn step(short: usize, long: usize) -> usize {
    soak().map_or(short, |length| ((long as f64 / length) as usize).clamp(1, short.max(1)))
}
