//! The floating-point stages, one source for all instruction sets; `docs/NUMERICS.md` defines them.

use super::{Context, ContextMut, Dots, GROUP, HEADS, Row, Scratch, Span, WEIGHT_LIMIT};
use crate::model::exact::math::{self, LIMIT, Rotation};
use crate::model::exact::shape::HEAD;
use crate::simd::{Simd, WAYS};

/// Scores become powers of two: log2(e) / sqrt(64).
const TO_POWER: f32 = 0.125 * std::f32::consts::LOG2_E;

/// Quantizes a row; its scale is magnitude / 127.
#[inline(always)]
pub fn quantize<S: Simd>(s: S, x: &[f32], q: &mut [u8]) -> Row {
    let most = math::magnitude(s, x);
    let sum = math::quantize(s, x, LIMIT / most, q);
    Row {
        scale: most / LIMIT,
        sum,
    }
}

/// Quantizes a row divided by its root mean square. The division only changes the scale.
#[inline(always)]
pub fn norm_quantize<S: Simd>(s: S, x: &[f32], epsilon: f32, q: &mut [u8]) -> Row {
    let mean = math::sum_of_squares(s, x) / x.len() as f32;
    let norm = 1.0 / (mean + epsilon).sqrt();
    let row = quantize(s, x, q);
    Row {
        scale: row.scale * norm,
        sum: row.sum,
    }
}

/// silu(gate) * up, quantized. `x` has gate and up in turns of 16, `between` as many elements as either.
#[inline(always)]
pub fn swiglu_quantize<S: Simd>(s: S, x: &[f32], between: &mut [f32], q: &mut [u8]) -> Row {
    let turns = x.as_chunks::<WAYS>().0.as_chunks::<2>().0;
    for ([gate, up], out) in turns.iter().zip(between.as_chunks_mut::<WAYS>().0) {
        s.store(s.mul(math::silu(s, s.load(gate)), s.load(up)), out);
    }
    quantize(s, between, q)
}

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
    let lines = &mut to.keys[slot / 16 * 16..][..16];
    for (line, four) in lines.iter_mut().zip(q.as_chunks::<4>().0) {
        let bytes = u32::from_ne_bytes(*four) ^ 0x8080_8080;
        line.0.as_chunks_mut::<4>().0[slot % 16] = bytes.to_ne_bytes();
    }
    to.value_scales[slot] = quantize(s, value, &mut q).scale;
    let lines = &mut to.values[slot / 4 * 4..][..4];
    for (line, sixteen) in lines.iter_mut().zip(q.as_chunks::<16>().0) {
        for (four, &q) in line.0.as_chunks_mut::<4>().0.iter_mut().zip(sixteen) {
            four[slot % 4] = q;
        }
    }
}

/// Attention of up to [`HEADS`] query heads of 64 over a span of one context; the heads are rotated in place.
#[inline(always)]
pub fn attend<D: Dots>(
    s: D,
    q: &mut [f32],
    r: &Rotation,
    context: &Context<'_>,
    span: Span,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let (first, lead) = (span.start / GROUP, span.start % GROUP);
    let end = lead + span.count;
    let groups = end.div_ceil(GROUP);
    let heads = q.len() / HEAD;

    let mut ints = [0; HEADS * HEAD];
    let mut sums = [0; HEADS];
    let mut scales = [0.0; HEADS];
    for (h, head) in q.as_chunks_mut::<HEAD>().0.iter_mut().enumerate() {
        math::rotate(s, head, r);
        let row = quantize(s, head, &mut ints[h * HEAD..][..HEAD]);
        sums[h] = row.sum;
        scales[h] = row.scale * TO_POWER;
    }
    let stride = scratch.stride;
    let scores = &mut scratch.scores;
    s.scores(
        &ints[..heads * HEAD],
        &sums[..heads],
        context.keys,
        first,
        groups,
        scores,
        stride,
    );

    let most = largest_scale(context.value_scales, span);
    let mut factors = [0.0; HEADS];
    for h in 0..heads {
        let here = h * stride..h * stride + groups * GROUP;
        let logits = &mut scratch.logits[here.clone()];
        scaled(
            s,
            &scratch.scores[here.clone()],
            scales[h],
            context.key_scales,
            first,
            logits,
        );
        logits[..lead].fill(f32::NEG_INFINITY);
        logits[end..].fill(f32::NEG_INFINITY);
        let to = &mut scratch.weights[here];
        let unit = WEIGHT_LIMIT / most;
        let total = weights(s, logits, context.value_scales, unit, first, to);
        to[..lead].fill(0);
        to[end..].fill(0);
        factors[h] = most / total as f32;
    }
    s.weigh(&scratch.weights, stride, context.values, first, groups, out);
    for (head, factor) in out.as_chunks_mut::<HEAD>().0.iter_mut().zip(factors) {
        for v in head.as_chunks_mut::<WAYS>().0 {
            s.store(s.mul(s.load(v), s.splat(factor)), v);
        }
    }
}

/// Scores to logits to base 2: score * (query scale * key scale).
#[inline(always)]
fn scaled<S: Simd>(s: S, scores: &[i32], scale: f32, keys: &[f32], first: usize, out: &mut [f32]) {
    let keys = keys.as_chunks::<WAYS>().0;
    let mut at = first * (GROUP / WAYS);
    for (score, out) in scores.as_chunks::<WAYS>().0.iter().zip(out.as_chunks_mut::<WAYS>().0) {
        let scale = s.mul(s.splat(scale), s.load(&keys[at]));
        s.store(s.mul(s.float(s.load_int(score)), scale), out);
        at = if at + 1 == keys.len() { 0 } else { at + 1 };
    }
}

/// Logits to weights. With e = 2^(logit - largest), the total is the sum of round(255 e), and a weight is
/// round(e * (value scale * unit)). Weights of slots beyond the span are undefined: the caller clears them.
#[inline(always)]
fn weights<S: Simd>(s: S, logits: &[f32], values: &[f32], unit: f32, first: usize, to: &mut [u8]) -> i32 {
    let top = s.splat(math::largest(s, logits, f32::NEG_INFINITY));
    let (unit, limit) = (s.splat(unit), s.splat(WEIGHT_LIMIT));
    let values = values.as_chunks::<WAYS>().0;
    let mut at = first * (GROUP / WAYS);
    let mut total = s.splat_int(0);
    for (x, to) in logits.as_chunks::<WAYS>().0.iter().zip(to.as_chunks_mut::<WAYS>().0) {
        let e = math::coarse_power(s, s.sub(s.load(x), top));
        total = s.add_int(total, math::rounded(s, s.mul(e, limit)));
        let w = s.mul(e, s.mul(s.load(&values[at]), unit));
        s.store_bytes(math::rounded(s, w), to);
        at = if at + 1 == values.len() { 0 } else { at + 1 };
    }
    math::total(s, total, logits.len() / WAYS)
}

/// The largest scale of a span, NaN ignored, at least 1e-30.
#[inline(always)]
fn largest_scale(scales: &[f32], span: Span) -> f32 {
    let before = span.count.min(scales.len() - span.start);
    let parts = [&scales[span.start..][..before], &scales[..span.count - before]];
    let mut most = [1e-30; WAYS];
    for part in parts {
        let (chunks, rest) = part.as_chunks::<WAYS>();
        for chunk in chunks {
            for (most, &v) in most.iter_mut().zip(chunk) {
                *most = if v > *most { v } else { *most };
            }
        }
        for (most, &v) in most.iter_mut().zip(rest) {
            *most = if v > *most { v } else { *most };
        }
    }
    most.iter().fold(1e-30, |a, &b| if b > a { b } else { a })
}
