//! Attention over a lane's ring of keys and values.

use super::dot::{Dot, Tile, add_products, in_tiles};
use super::operands::{Context, ContextMut, GROUP, HEADS, Scratch, Span};
use super::rows::quantize;
use crate::model::exact::math::{self, Rotation};
use crate::model::exact::matrix::{BLOCK, Line};
use crate::model::exact::shape::HEAD;
use crate::simd::{Simd, WAYS};

/// Scores become powers of two: log2(e) / sqrt(64).
const TO_POWER: f32 = 0.125 * std::f32::consts::LOG2_E;
/// The largest attention weight: they are bytes.
const WEIGHT_LIMIT: f32 = 255.0;
/// Blocks of keys in a group, and planes of values: blocks of components.
const BLOCKS: usize = GROUP / BLOCK;

/// Puts a key (rotated here) and a value into a slot of a ring.
#[inline(always)]
pub fn remember<S: Simd>(
    s: S,
    to: &mut ContextMut<'_>,
    slot: usize,
    key: &mut [f32; HEAD],
    value: &[f32; HEAD],
    r: &Rotation,
) {
    let mut q = [0; HEAD];
    math::rotate(s, key, r);
    to.key_scales[slot] = quantize(s, key, &mut q).scale;
    let lines = &mut to.keys[slot / BLOCK * BLOCK..][..BLOCK];
    for (line, four) in lines.iter_mut().zip(q.as_chunks::<4>().0) {
        let bytes = u32::from_ne_bytes(*four) ^ 0x8080_8080;
        line.0.as_chunks_mut::<4>().0[slot % BLOCK] = bytes.to_ne_bytes();
    }
    to.value_scales[slot] = quantize(s, value, &mut q).scale;
    let plane = to.values.len() / BLOCKS;
    let planes = to.values.chunks_exact_mut(plane);
    for (plane, sixteen) in planes.zip(q.as_chunks::<BLOCK>().0) {
        let line = &mut plane[slot / 4];
        for (four, &q) in line.0.as_chunks_mut::<4>().0.iter_mut().zip(sixteen) {
            four[slot % 4] = q;
        }
    }
}

/// Attention of up to [`HEADS`] query heads of 64 over a span of one context; the heads are rotated in place.
#[inline(always)]
pub fn attend<D: Dot>(
    s: D,
    q: &mut [f32],
    r: &Rotation,
    context: &Context<'_>,
    span: Span,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let (lead, end) = (span.start % GROUP, span.start % GROUP + span.count);
    let (heads, groups) = (q.len() / HEAD, end.div_ceil(GROUP));
    let ring = context.keys.len() / GROUP;
    // The groups, as two ranges of the ring.
    let first = span.start / GROUP;
    let before = groups.min(ring - first);
    let parts = [first..first + before, 0..groups - before];

    let mut queries = Queries {
        ints: [[0; HEAD]; HEADS],
        sums: [0; HEADS],
        scales: [0.0; HEADS],
    };
    for (h, head) in q.as_chunks_mut::<HEAD>().0.iter_mut().enumerate() {
        math::rotate(s, head, r);
        let row = quantize(s, head, &mut queries.ints[h]);
        queries.sums[h] = row.sum;
        queries.scales[h] = row.scale * TO_POWER;
    }
    let kept = s.keep::<false>(queries.ints.as_flattened().as_chunks().0, &mut scratch.queries);
    let mut factors = [0.0; HEADS];
    let most = largest_scale(s, context.value_scales, span);
    let unit = s.splat(WEIGHT_LIMIT / most);
    let units = scratch.units.as_chunks_mut::<WAYS>().0;
    let mut at = 0;
    for part in parts.clone() {
        let keys = &context.keys[part.start * GROUP..part.end * GROUP];
        let scales = context.key_scales[part.start * GROUP..part.end * GROUP]
            .as_chunks::<GROUP>()
            .0;
        let values = context.value_scales[part.start * GROUP..part.end * GROUP]
            .as_chunks::<WAYS>()
            .0;
        for (units, values) in units[at * BLOCKS..].iter_mut().zip(values) {
            s.store(s.mul(s.load(values), unit), units);
        }
        for (keys, scales) in keys.as_chunks::<GROUP>().0.iter().zip(scales) {
            scores(
                s,
                (&queries, kept),
                heads,
                keys,
                scales,
                &mut scratch.logits[at * GROUP..],
                scratch.stride,
            );
            at += 1;
        }
    }
    // Of the first and the last group, the blocks that are in the span, and of those the lines of values.
    let used = lead / BLOCK * BLOCK..end.next_multiple_of(BLOCK);
    for h in 0..heads {
        let logits = &mut scratch.logits[h * scratch.stride..][..used.end];
        logits[used.start..lead].fill(f32::NEG_INFINITY);
        logits[end..].fill(f32::NEG_INFINITY);
    }
    let mut tile = Softmax {
        s,
        logits: &scratch.logits[used.start..],
        units: &scratch.units[used.clone()],
        weights: &mut scratch.weights[used.start..],
        stride: scratch.stride,
        totals: [0; HEADS],
    };
    in_tiles(D::ROWS.min(HEADS), heads, &mut tile);
    let totals = tile.totals;
    let mut sums = [0; HEADS];
    for h in 0..heads {
        let weights = &mut scratch.weights[h * scratch.stride..][..used.end];
        weights[used.start..lead].fill(0);
        weights[end..].fill(0);
        factors[h] = most / totals[h] as f32;
        if D::OFFSETS[1] != 0 {
            let weights = &weights[used.start..];
            let sum: i32 = weights.iter().map(|&w| i32::from(w)).fold(0, i32::wrapping_add);
            sums[h] = sum.wrapping_mul(D::OFFSETS[1]);
        }
    }
    let mut parts = parts.map(|part| part.start * GROUP / 4..part.end * GROUP / 4);
    let (over, unused) = (groups * GROUP / 4 - end.div_ceil(4), lead / 4);
    parts[0].start += unused;
    let [whole, rest] = &mut parts;
    let last = if rest.start < rest.end { rest } else { whole };
    last.end -= over;
    let weights = &scratch.weights[..(heads - 1) * scratch.stride + used.end].as_chunks().0[unused..];
    let mut tile = Weigh::<D> {
        s,
        weights: s.keep::<true>(weights, &mut scratch.kept),
        stride: scratch.stride / 4,
        values: context.values,
        parts,
        sums,
        factors,
        out,
    };
    in_tiles(D::ROWS.min(HEADS), heads, &mut tile);
}

/// Quantized query heads.
struct Queries {
    ints: [[u8; HEAD]; HEADS],
    /// Sums of their integers.
    sums: [i32; HEADS],
    /// Their scales, times what makes scores powers of two.
    scales: [f32; HEADS],
}

/// Logits to base 2 of a group of keys, `stride` apart from head to head.
#[inline(always)]
fn scores<D: Dot>(
    s: D,
    queries: (&Queries, &[D::Kept]),
    heads: usize,
    keys: &[Line; GROUP],
    scales: &[f32; GROUP],
    out: &mut [f32],
    stride: usize,
) {
    let blocks = keys.as_chunks::<BLOCK>().0;
    let scales = scales.as_chunks::<BLOCK>().0;
    if D::WIDE {
        let mut lines: [&[Line]; BLOCKS] = [&[]; BLOCKS];
        for (lines, block) in lines.iter_mut().zip(blocks) {
            *lines = block;
        }
        let mut tile = Scores::<D, BLOCKS> {
            s,
            queries,
            lines,
            scales,
            out,
            stride,
        };
        in_tiles(D::ROWS.min(HEADS), heads, &mut tile);
    } else {
        for (i, block) in blocks.iter().enumerate() {
            let (scales, out) = (&scales[i..=i], &mut out[i * BLOCK..]);
            let mut tile = Scores::<D, 1> {
                s,
                queries,
                lines: [block],
                scales,
                out,
                stride,
            };
            in_tiles(D::ROWS.min(HEADS), heads, &mut tile);
        }
    }
}

/// Query heads times `P` blocks of keys: score * (query scale * key scale).
struct Scores<'a, D: Dot, const P: usize> {
    s: D,
    queries: (&'a Queries, &'a [D::Kept]),
    lines: [&'a [Line]; P],
    scales: &'a [[f32; BLOCK]],
    out: &'a mut [f32],
    stride: usize,
}

impl<D: Dot, const P: usize> Tile for Scores<'_, D, P> {
    #[inline(always)]
    fn run<const M: usize>(&mut self, first: usize) {
        let s = self.s;
        let (queries, kept) = self.queries;
        let mut fours: [&[D::Kept]; M] = [&[]; M];
        for i in 0..M {
            fours[i] = &kept[(first + i) * (HEAD / 4)..][..HEAD / 4];
        }
        let mut sums = [[s.nothing(); P]; M];
        add_products::<D, false, M, P>(s, &self.lines, &fours, GROUP, &mut sums);
        for i in 0..M {
            let offset = s.splat_int(queries.sums[first + i].wrapping_mul(D::OFFSETS[0]));
            let scale = s.splat(queries.scales[first + i]);
            let out = &mut self.out[(first + i) * self.stride..][..P * BLOCK];
            for (p, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
                let scale = s.mul(scale, s.load(&self.scales[p]));
                s.store(s.mul(s.float(s.sub_int(s.sums(sums[i][p]), offset)), scale), out);
            }
        }
    }
}

/// Logits to weights. With e = 2^(logit - largest), the total is the sum of round(255 e), and a weight is
/// round(e * unit). Weights of slots beyond the span are undefined: the caller clears them.
struct Softmax<'a, D> {
    s: D,
    logits: &'a [f32],
    /// By slot: value scale times 255 over the largest one.
    units: &'a [f32],
    weights: &'a mut [u8],
    stride: usize,
    totals: [i32; HEADS],
}

impl<D: Dot> Tile for Softmax<'_, D> {
    #[inline(always)]
    fn run<const M: usize>(&mut self, first: usize) {
        let s = self.s;
        let (limit, least) = (s.splat(WEIGHT_LIMIT), s.splat(f32::NEG_INFINITY));
        let units = self.units.as_chunks::<WAYS>().0;
        let count = units.len();
        let mut logits: [&[[f32; WAYS]]; M] = [&[]; M];
        let mut weights: [&mut [[u8; WAYS]]; M] = [(); M].map(|()| Default::default());
        let rows = self.weights[first * self.stride..].chunks_mut(self.stride);
        for ((weights, row), i) in weights.iter_mut().zip(rows).zip(first..) {
            *weights = &mut row.as_chunks_mut().0[..count];
            logits[i - first] = &self.logits[i * self.stride..].as_chunks().0[..count];
        }
        let mut tops = [least; M];
        for j in 0..count {
            for i in 0..M {
                tops[i] = s.at_least(s.load(&logits[i][j]), tops[i]);
            }
        }
        let mut totals = [s.splat_int(0); M];
        for i in 0..M {
            tops[i] = s.splat(math::largest_of(s, tops[i]));
        }
        for j in 0..count {
            let unit = s.load(&units[j]);
            for i in 0..M {
                let e = math::coarse_power(s, s.sub(s.load(&logits[i][j]), tops[i]));
                totals[i] = s.add_int(totals[i], math::rounded(s, s.mul(e, limit)));
                s.store_bytes(math::rounded(s, s.mul(e, unit)), &mut weights[i][j]);
            }
        }
        for i in 0..M {
            self.totals[first + i] = math::total(s, totals[i], count);
        }
    }
}

/// Sums the values, weighted.
struct Weigh<'a, D: Dot> {
    s: D,
    weights: &'a [D::Kept],
    stride: usize,
    values: &'a [Line],
    /// The lines of a plane that the weights are for, in their order.
    parts: [std::ops::Range<usize>; 2],
    sums: [i32; HEADS],
    factors: [f32; HEADS],
    out: &'a mut [f32],
}

impl<D: Dot> Weigh<'_, D> {
    /// `P` planes of values, from plane `c` on.
    #[inline(always)]
    fn planes<const M: usize, const P: usize>(&mut self, first: usize, c: usize) {
        let s = self.s;
        let plane = self.values.len() / BLOCKS;
        let mut sums = [[s.nothing(); P]; M];
        let mut at = 0;
        for part in self.parts.clone() {
            let mut lines: [&[Line]; P] = [&[]; P];
            for p in 0..P {
                lines[p] = &self.values[(c + p) * plane..][part.clone()];
            }
            let mut fours: [&[D::Kept]; M] = [&[]; M];
            for i in 0..M {
                fours[i] = &self.weights[(first + i) * self.stride + at..][..part.len()];
            }
            add_products::<D, true, M, P>(s, &lines, &fours, BLOCK, &mut sums);
            at += part.len();
        }
        for i in 0..M {
            let offset = s.splat_int(self.sums[first + i]);
            let factor = s.splat(self.factors[first + i]);
            let out = &mut self.out[(first + i) * HEAD + c * BLOCK..][..P * BLOCK];
            for (p, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
                s.store(s.mul(s.float(s.sub_int(s.sums(sums[i][p]), offset)), factor), out);
            }
        }
    }
}

impl<D: Dot> Tile for Weigh<'_, D> {
    #[inline(always)]
    fn run<const M: usize>(&mut self, first: usize) {
        if D::WIDE {
            self.planes::<M, BLOCKS>(first, 0);
        } else {
            for c in 0..BLOCKS {
                self.planes::<M, 1>(first, c);
            }
        }
    }
}

/// The largest scale of a span, NaN ignored, at least 1e-30.
#[inline(always)]
fn largest_scale<S: Simd>(s: S, scales: &[f32], span: Span) -> f32 {
    const LEAST: f32 = 1e-30;
    let before = span.count.min(scales.len() - span.start);
    let mut most = LEAST;
    for part in [&scales[span.start..][..before], &scales[..span.count - before]] {
        let (_, rest) = part.as_chunks::<WAYS>();
        let mut padded = [LEAST; WAYS];
        padded[..rest.len()].copy_from_slice(rest);
        most = math::largest(s, &part[..part.len() - rest.len()], most);
        most = math::largest(s, &padded, most);
    }
    most
}
