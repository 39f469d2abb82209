//! Exact sums of products of bytes: the few operations in which instruction sets differ, and the one loop over them.

use crate::model::exact::matrix::Line;
use crate::simd::{Simd, prefetch_early};

/// Four bytes of each of 16 columns, times four bytes of a row, summed into 16 i32.
///
/// There are two kinds. With `SIGNED`, lines are signed bytes (values) and rows are unsigned (attention weights).
/// Without, lines are signed bytes with 128 on top (weights, keys) and rows are signed (activations, queries).
pub trait Dot: Simd {
    /// A line, ready to be multiplied.
    type Line: Copy;
    /// Four bytes of a row as they are kept for many lines.
    type Kept: Copy;
    /// Four bytes of a row, ready to be multiplied.
    type Four: Copy;
    /// 16 sums under way.
    type Sum: Copy;
    /// What a sum has too much, in sums of the row's bytes, without `SIGNED` and with.
    const OFFSETS: [i32; 2];
    /// Rows that are multiplied together at most: as many as registers hold sums of.
    const ROWS: usize;
    /// Whether registers hold the sums of so many rows for four blocks.
    const WIDE: bool;
    /// Lines that a turn of the innermost loop takes: fewer where registers are few.
    const LINES: usize = 4;

    /// Reads a line.
    fn line<const SIGNED: bool>(self, line: &Line) -> Self::Line;
    /// Rows as they are kept: as they are, or made ready in `room`.
    fn keep<'a, const SIGNED: bool>(self, rows: &'a [[u8; 4]], room: &'a mut Room) -> &'a [Self::Kept];
    /// Reads four bytes of a row.
    fn four<const SIGNED: bool>(self, four: &Self::Kept) -> Self::Four;
    /// Sums of nothing.
    fn nothing(self) -> Self::Sum;
    /// Adds the products.
    fn dot<const SIGNED: bool>(self, sum: Self::Sum, line: Self::Line, four: Self::Four) -> Self::Sum;
    /// The sums.
    fn sums(self, sum: Self::Sum) -> Self::I;
}

/// Room for rows in another form than bytes; it grows to the longest and stays.
pub type Room = Vec<[i32; 2]>;

/// Adds to `sums[i][p]` the products of the lines of `blocks[p]` with the fours of `rows[i]`. With each line, asks for
/// the memory of the one `ahead` lines further on.
#[inline(always)]
pub fn add_products<D: Dot, const SIGNED: bool, const M: usize, const P: usize>(
    s: D,
    blocks: &[&[Line]; P],
    rows: &[&[D::Kept]; M],
    ahead: usize,
    sums: &mut [[D::Sum; P]; M],
) {
    let count = blocks[0].len();
    let (mut blocks, mut rows) = (*blocks, *rows);
    for block in &mut blocks {
        *block = &block[..count];
    }
    for row in &mut rows {
        *row = &row[..count];
    }
    // The end of a loop of few turns is foreseen.
    let fours = count / D::LINES * D::LINES;
    for g in (0..fours).step_by(D::LINES) {
        for g in g..g + D::LINES {
            add_line::<D, SIGNED, M, P>(s, &blocks, &rows, g, ahead, sums);
        }
    }
    for g in fours..count {
        add_line::<D, SIGNED, M, P>(s, &blocks, &rows, g, ahead, sums);
    }
}

#[inline(always)]
fn add_line<D: Dot, const SIGNED: bool, const M: usize, const P: usize>(
    s: D,
    blocks: &[&[Line]; P],
    rows: &[&[D::Kept]; M],
    g: usize,
    ahead: usize,
    sums: &mut [[D::Sum; P]; M],
) {
    let mut lines = [s.line::<SIGNED>(&blocks[0][g]); P];
    for p in 0..P {
        // Fewer rows wait for memory anyway, and attention's four blocks come from four places.
        if M >= 4 && P <= 2 {
            prefetch_early(blocks[p], g + ahead);
        }
        lines[p] = s.line::<SIGNED>(&blocks[p][g]);
    }
    for i in 0..M {
        let four = s.four::<SIGNED>(&rows[i][g]);
        for p in 0..P {
            sums[i][p] = s.dot::<SIGNED>(sums[i][p], lines[p], four);
        }
    }
}

/// Work on some consecutive rows at a time.
pub trait Tile {
    /// Does it for the `M` rows from `first` on.
    fn run<const M: usize>(&mut self, first: usize);
}

/// Does a work for `rows` rows, at most `most` at a time.
#[inline(always)]
pub fn in_tiles(most: usize, rows: usize, tile: &mut impl Tile) {
    let mut at = 0;
    while at < rows {
        let left = rows - at;
        if most >= 4 && left >= 4 {
            tile.run::<4>(at);
            at += 4;
        } else if most >= 4 && left == 3 {
            tile.run::<3>(at);
            at += 3;
        } else if left >= 2 {
            tile.run::<2>(at);
            at += 2;
        } else {
            tile.run::<1>(at);
            at += 1;
        }
    }
}
