//! Weights as bytes, in the one layout that all kernels read.

use std::sync::Arc;

use super::math;
use super::pages::zeros;
use crate::simd::dispatch::Dispatch;
use crate::simd::{Simd, Task};

/// 64 bytes on a cache line of their own.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Line(pub [u8; 64]);

/// Rows are packed in blocks of 16 and padded to pairs of blocks.
pub const BLOCK: usize = 16;
/// The multiple that rows are padded to.
pub const PANEL: usize = 2 * BLOCK;

/// A matrix with int8 weights and a scale per row: weight = (byte - 128) * scale.
///
/// Line `block * (columns / 4) + g` holds, for the 16 rows of a block, the columns 4g..4g + 4: byte `4 * row + column`.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Rows, padded to a multiple of [`PANEL`] with zeros.
    pub rows: usize,
    /// Columns; a multiple of 64.
    pub columns: usize,
    /// A scale per row.
    pub scales: Vec<f32>,
    /// Weights, of this matrix from `first` on.
    arena: Arc<Vec<Line>>,
    first: usize,
}

impl Matrix {
    /// Quantizes rows of `columns` f32 each: scale = magnitude / 127, weight = round(w * (127 / magnitude)).
    pub fn quantize<'a>(rows: impl Iterator<Item = &'a [f32]>, columns: usize) -> Self {
        let groups = columns / 4;
        let (mut lines, mut scales) = (Vec::new(), Vec::new());
        let mut q = vec![0; columns];
        for (at, row) in rows.enumerate() {
            if at == scales.len() {
                scales.resize(at + PANEL, 0.0);
                lines.resize(scales.len() / BLOCK * groups, Line([128; 64]));
            }
            scales[at] = Dispatch::detect().run(Quantize { row, q: &mut q });
            let block = &mut lines[at / BLOCK * groups..][..groups];
            for (line, four) in block.iter_mut().zip(q.chunks_exact(4)) {
                for (byte, &q) in line.0[at % BLOCK * 4..][..4].iter_mut().zip(four) {
                    *byte = q ^ 0x80;
                }
            }
        }
        Self {
            rows: scales.len(),
            columns,
            scales,
            arena: Arc::new(lines),
            first: 0,
        }
    }

    /// The weights.
    pub fn lines(&self) -> &[Line] {
        &self.arena[self.first..][..self.count()]
    }

    fn count(&self) -> usize {
        self.rows / BLOCK * (self.columns / 4)
    }

    /// Puts the weights of `matrices`, given in the order of their use, one behind the other into huge pages.
    pub fn gather(matrices: &mut [&mut Matrix]) {
        let total = matrices.iter().map(|m| m.count()).sum();
        let mut arena = zeros(total, Line([0; 64]));
        let mut at = 0;
        for m in &mut *matrices {
            arena[at..][..m.count()].copy_from_slice(m.lines());
            (m.first, m.arena) = (at, Arc::default());
            at += m.count();
        }
        let arena = Arc::new(arena);
        for m in matrices {
            m.arena = Arc::clone(&arena);
        }
    }

    /// Multiply-adds of a product with one row.
    pub fn work(&self) -> u64 {
        (self.rows * self.columns) as u64
    }
}

/// Quantizes a row and returns its scale.
struct Quantize<'a> {
    row: &'a [f32],
    q: &'a mut [u8],
}

impl Task for Quantize<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let most = math::magnitude(s, self.row);
        math::quantize(s, self.row, math::LIMIT / most, self.q);
        most / math::LIMIT
    }
}
