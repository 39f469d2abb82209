//! Adaptive probabilities.

/// A probability with 22 binary digits above a count of 10: it moves by `1 / (count + 1.5)`, so it starts as an average
/// and ends as an exponential one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Counter(pub(super) u32);

/// `65536 / (n + 1.5)`.
static RECIPROCAL: [u32; 1024] = {
    let mut table = [0; 1024];
    let mut n = 0;
    while n < 1024 {
        table[n] = (131_072 / (2 * n + 3)) as u32;
        n += 1;
    }
    table
};

impl Counter {
    /// A counter that starts at `p / 65536` as if `count` bits had been seen.
    pub(super) const fn new(p: u32, count: u32) -> Self {
        Counter(p << 16 | count)
    }

    /// The probability of a one, in units of 1/65536.
    #[inline(always)]
    pub(super) fn p(self) -> u32 {
        self.0 >> 16
    }

    /// Moves towards `bit`; the count stops at `limit`.
    #[inline(always)]
    pub(super) fn update(&mut self, bit: bool, limit: u32) {
        let n = self.0 & 1023;
        let p = (self.0 >> 10) as i64;
        let target = if bit { (1i64 << 22) - 1 } else { 0 };
        let moved = p + ((target - p) * i64::from(RECIPROCAL[n as usize]) >> 16);
        self.0 = (moved as u32) << 10 | if n < limit { n + 1 } else { limit };
    }
}
