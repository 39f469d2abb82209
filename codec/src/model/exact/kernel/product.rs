//! Products of quantized rows with a matrix.

use super::dot::{Dot, Room, Tile, add_products, in_tiles};
use super::operands::{Row, Then};
use crate::model::exact::matrix::{BLOCK, Line, Matrix, PANEL};

/// `out[t * stride + r] = (sum of q[t] * w[r]) * (rows[t].scale * w.scales[r])` for the rows of `q`.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "what a product is made of")]
pub fn product<D: Dot>(
    s: D,
    q: &[u8],
    rows: &[Row],
    w: &Matrix,
    out: &mut [f32],
    stride: usize,
    then: Then,
    room: &mut Room,
) {
    let (q, lines) = (s.keep::<false>(q.as_chunks::<4>().0, room), w.columns / 4);
    let panels = w.lines().chunks_exact(PANEL / BLOCK * lines);
    for (i, (panel, scales)) in panels.zip(w.scales.as_chunks::<PANEL>().0).enumerate() {
        let (low, high) = panel.split_at(lines);
        let scales = [&scales[..BLOCK], &scales[BLOCK..]];
        if D::WIDE {
            let mut tile = Blocks::<D, 2> {
                s,
                q,
                rows,
                blocks: [low, high],
                scales,
                out,
                at: i * PANEL,
                stride,
                then,
            };
            in_tiles(D::ROWS, rows.len(), &mut tile);
        } else {
            for (half, (block, scales)) in [low, high].into_iter().zip(scales).enumerate() {
                let (blocks, scales, at) = ([block], [scales], i * PANEL + half * BLOCK);
                let mut tile = Blocks::<D, 1> {
                    s,
                    q,
                    rows,
                    blocks,
                    scales,
                    out,
                    at,
                    stride,
                    then,
                };
                in_tiles(D::ROWS, rows.len(), &mut tile);
            }
        }
    }
}

/// All rows times `P` blocks of 16 weight rows, whose results go to the columns from `at` on.
struct Blocks<'a, D: Dot, const P: usize> {
    s: D,
    q: &'a [D::Kept],
    rows: &'a [Row],
    blocks: [&'a [Line]; P],
    scales: [&'a [f32]; P],
    out: &'a mut [f32],
    at: usize,
    stride: usize,
    then: Then,
}

impl<D: Dot, const P: usize> Tile for Blocks<'_, D, P> {
    #[inline(always)]
    fn run<const M: usize>(&mut self, first: usize) {
        let (s, count) = (self.s, self.blocks[0].len());
        let mut fours: [&[D::Kept]; M] = [&[]; M];
        for i in 0..M {
            fours[i] = &self.q[(first + i) * count..][..count];
        }
        let mut sums = [[s.nothing(); P]; M];
        // Asks for the blocks after the next ones; behind a matrix lies the one that is used next.
        add_products::<D, false, M, P>(s, &self.blocks, &fours, 2 * P * count, &mut sums);
        for i in 0..M {
            let row = self.rows[first + i];
            let offset = s.splat_int(row.sum.wrapping_mul(D::OFFSETS[0]));
            let scale = s.splat(row.scale);
            let out = &mut self.out[(first + i) * self.stride + self.at..][..P * BLOCK];
            for (p, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
                let Some(scales) = self.scales[p].first_chunk() else {
                    continue;
                };
                let scale = s.mul(scale, s.load(scales));
                let y = s.mul(s.float(s.sub_int(s.sums(sums[i][p]), offset)), scale);
                let y = if self.then == Then::Add {
                    s.add(s.load(out), y)
                } else {
                    y
                };
                s.store(y, out);
            }
        }
    }
}
