//! Linear prediction whose weights are the least squares solution for what was seen, older values counting less.
//!
//! The normal equations are kept up to date and solved by Cholesky factorization (L D L^T) every few values. All
//! operations are IEEE additions, multiplications and divisions of binary64 in the order of this source, so every CPU
//! computes the same bits.

#[cfg(all(target_arch = "x86", not(target_feature = "sse2")))]
compile_error!(
    "without SSE2 the x87 unit rounds intermediate results in another way, and blocks of samples would decode to other \
     bytes: build for a target with SSE2, such as i686-unknown-linux-gnu"
);

/// How a predictor learns.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    /// What a value counts after the next one.
    pub(super) decay: f64,
    /// Values between two solutions.
    pub(super) every: u32,
    /// Weight of the initial solution, which fades like a value's.
    pub(super) prior: f64,
}

/// Keeps the equations solvable where all neighbours are equal.
const RIDGE: f64 = 0.01;

/// Sums below this are taken for zero.
const FADED: f64 = 1e-100;

/// A predictor from a fixed number of neighbours.
pub(super) struct LeastSquares {
    memory: Memory,
    /// Upper triangle of the sums of products of neighbours, row by row.
    products: Vec<f64>,
    /// Sums of products of neighbours and values.
    targets: Vec<f64>,
    weights: Vec<f64>,
    /// Room for solving.
    triangle: Vec<f64>,
    right: Vec<f64>,
    /// Values until the next solution.
    wait: u32,
}

impl LeastSquares {
    /// A predictor that starts with these weights.
    pub(super) fn new(weights: &[f64], memory: Memory) -> Self {
        let n = weights.len();
        let mut products = vec![0.0; n * n];
        for i in 0..n {
            products[i * n + i] = memory.prior;
        }
        LeastSquares {
            memory,
            products,
            targets: weights.iter().map(|w| w * memory.prior).collect(),
            weights: weights.to_vec(),
            triangle: vec![0.0; n * n],
            right: vec![0.0; n],
            wait: memory.every,
        }
    }

    /// The prediction from these neighbours, of which there may be more than weights.
    pub(super) fn predict(&self, neighbours: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (w, x) in self.weights.iter().zip(neighbours) {
            sum += w * x;
        }
        sum
    }

    /// Learns the value that these neighbours had.
    pub(super) fn learn(&mut self, neighbours: &[f64], value: f64) {
        let n = self.weights.len();
        let decay = self.memory.decay;
        let neighbours = &neighbours[..n];
        for (i, x) in neighbours.iter().enumerate() {
            let row = &mut self.products[i * n..][..n];
            for (sum, y) in row[i..].iter_mut().zip(&neighbours[i..]) {
                *sum = *sum * decay + x * y;
            }
            self.targets[i] = self.targets[i] * decay + x * value;
        }
        self.wait -= 1;
        if self.wait == 0 {
            self.wait = self.memory.every;
            self.solve();
        }
    }

    /// Solves the equations. Where they cannot be solved the weights stay.
    fn solve(&mut self) {
        let n = self.weights.len();
        // Where all neighbours are equal for long, sums fade to numbers that processors are slow with.
        for sum in self.products.iter_mut().chain(&mut self.targets) {
            *sum = if sum.abs() < FADED { 0.0 } else { *sum };
        }
        let u = &mut self.triangle;
        u.copy_from_slice(&self.products);
        self.right.copy_from_slice(&self.targets);
        for k in 0..n {
            let (done, rest) = u.split_at_mut((k + 1) * n);
            let row = &mut done[k * n..];
            row[k] += RIDGE;
            let pivot = row[k];
            if pivot < RIDGE / 2.0 || !pivot.is_finite() {
                return;
            }
            for i in k + 1..n {
                let factor = row[i] / pivot;
                let below = &mut rest[(i - k - 1) * n..][..n];
                for (b, a) in below[i..].iter_mut().zip(&row[i..]) {
                    *b -= factor * a;
                }
                self.right[i] -= factor * self.right[k];
            }
        }
        for k in (0..n).rev() {
            let row = &u[k * n..][..n];
            let mut sum = self.right[k];
            for i in k + 1..n {
                sum -= row[i] * self.right[i];
            }
            self.right[k] = sum / row[k];
        }
        if self.right.iter().all(|w| w.abs() < 1e3) {
            self.weights.copy_from_slice(&self.right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: Memory = Memory {
        decay: 0.99,
        every: 4,
        prior: 1e-3,
    };

    #[test]
    fn a_recurrence_is_learned() {
        let mut predictor = LeastSquares::new(&[1.0, 0.0, 0.0], MEMORY);
        let mut past = [0.5, -0.25, 0.125];
        for i in 0..200 {
            // A damped wave with something that keeps it going.
            let value = 1.2 * past[0] - 0.8 * past[1] + 0.1 * past[2] + if i % 16 == 0 { 0.2 } else { 0.0 };
            if i > 100 && i % 16 != 0 {
                let error = (predictor.predict(&past) - value).abs();
                assert!(error < 0.1, "{error} at {i}");
            }
            predictor.learn(&past, value);
            past = [value, past[0], past[1]];
        }
    }

    #[test]
    fn what_cannot_be_solved_changes_nothing_or_stays_finite() {
        let mut predictor = LeastSquares::new(&[1.0, 0.0], MEMORY);
        for x in [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, f64::MAX, f64::MAX, 0.0, 0.0] {
            predictor.learn(&[x, x], x);
            assert!(predictor.weights.iter().all(|w| w.is_finite()), "{x}");
        }
    }
}
