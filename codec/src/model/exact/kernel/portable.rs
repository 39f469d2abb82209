//! The floating-point stages, one source for all instruction sets; see `docs/NUMERICS.md` for their definition.

use super::{Context, ContextMut, Dots, GROUP, HEADS, Row, Scratch, Span, WEIGHT_LIMIT};
use crate::model::exact::math::{self, LIMIT, Rotation, WAYS};
use crate::model::exact::shape::HEAD;

/// Quantizes a row; its scale is magnitude / 127.
#[inline(always)]
pub fn quantize(x: &[f32], q: &mut [i8]) -> Row {
    let most = math::magnitude(x);
    let sum = math::quantize(x, LIMIT / most, q);
    Row {
        scale: most / LIMIT,
        sum,
    }
}

/// Quantizes a row divided by its root mean square. The division only changes the scale.
#[inline(always)]
pub fn norm_quantize(x: &[f32], epsilon: f32, q: &mut [i8]) -> Row {
    let mean = math::sum_of_squares(x) / x.len() as f32;
    let norm = 1.0 / (mean + epsilon).sqrt();
    let row = quantize(x, q);
    Row {
        scale: row.scale * norm,
        sum: row.sum,
    }
}

/// silu(gate) * up, quantized. `x` has gate and up in turns of 16, `between` as many elements as either.
#[inline(always)]
pub fn swiglu_quantize(x: &[f32], between: &mut [f32], q: &mut [i8]) -> Row {
    let (turns, _) = x.as_chunks::<{ 2 * WAYS }>();
    let (out, _) = between.as_chunks_mut::<WAYS>();
    for (turn, out) in turns.iter().zip(out) {
        for i in 0..WAYS {
            out[i] = math::silu(turn[i]) * turn[i + WAYS];
        }
    }
    quantize(between, q)
}

/// Puts a key (rotated here) and a value into a slot of a ring.
#[inline(always)]
pub fn remember(
    to: &mut ContextMut<'_>,
    slot: usize,
    key: &mut [f32; HEAD],
    value: &[f32; HEAD],
    r: &Rotation,
) {
    let mut q = [0_i8; HEAD];
    math::rotate(key, r);
    to.key_scales[slot] = quantize(key, &mut q).scale;
    let lines = &mut to.keys[slot / 16 * 16..][..16];
    for (line, four) in lines.iter_mut().zip(q.as_chunks::<4>().0) {
        for (byte, &q) in line.0[slot % 16 * 4..][..4].iter_mut().zip(four) {
            *byte = q.cast_unsigned() ^ 0x80;
        }
    }
    to.value_scales[slot] = quantize(value, &mut q).scale;
    let lines = &mut to.values[slot / 4 * 4..][..4];
    for (line, sixteen) in lines.iter_mut().zip(q.as_chunks::<16>().0) {
        for (four, &q) in line.0.as_chunks_mut::<4>().0.iter_mut().zip(sixteen) {
            four[slot % 4] = q.cast_unsigned();
        }
    }
}

/// Attention of up to [`HEADS`] query heads of 64 over a span of one context; the heads are rotated in place.
#[inline(always)]
pub fn attend<D: Dots>(
    dots: D,
    q: &mut [f32],
    r: &Rotation,
    context: &Context<'_>,
    span: Span,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let ring = context.key_scales.len() / GROUP;
    let (first, lead) = (span.start / GROUP, span.start % GROUP);
    let end = lead + span.count;
    let groups = end.div_ceil(GROUP);
    let heads = q.len() / HEAD;

    let mut ints = [0_i8; HEADS * HEAD];
    let mut sums = [0_i32; HEADS];
    let mut scales = [0_f32; HEADS];
    for (h, head) in q.as_chunks_mut::<HEAD>().0.iter_mut().enumerate() {
        math::rotate(head, r);
        let row = quantize(head, &mut ints[h * HEAD..][..HEAD]);
        sums[h] = row.sum;
        scales[h] = row.scale * 0.125; // 1 / sqrt(64)
    }
    let stride = scratch.stride;
    let ints = &ints[..heads * HEAD];
    dots.scores(
        ints,
        &sums[..heads],
        context.keys,
        first,
        groups,
        &mut scratch.scores,
        stride,
    );

    let most = largest_scale(context.value_scales, first, lead, end, ring);
    let unit = WEIGHT_LIMIT / most;
    let mut factors = [0_f32; HEADS];
    for h in 0..heads {
        let scores = &scratch.scores[h * stride..][..groups * GROUP];
        let logits = &mut scratch.logits[h * stride..][..groups * GROUP];
        let mut group = first;
        for (to, from) in logits
            .as_chunks_mut::<GROUP>()
            .0
            .iter_mut()
            .zip(scores.as_chunks::<GROUP>().0)
        {
            let keys = chunk(context.key_scales, group);
            for j in 0..GROUP {
                to[j] = from[j] as f32 * (scales[h] * keys[j]);
            }
            group = if group + 1 == ring { 0 } else { group + 1 };
        }
        logits[..lead].fill(f32::NEG_INFINITY);
        logits[end..].fill(f32::NEG_INFINITY);
        let top = largest(logits);

        let mut total = [0_i32; WAYS];
        let high = &mut scratch.high[h * stride..][..groups * GROUP];
        let low = &mut scratch.low[h * stride..][..groups * GROUP];
        let mut at = first * GROUP;
        let parts = logits.as_chunks::<WAYS>().0.iter();
        let (highs, lows) = (
            high.as_chunks_mut::<WAYS>().0,
            low.as_chunks_mut::<WAYS>().0,
        );
        for ((x, high), low) in parts.zip(highs).zip(lows) {
            let values = &context.value_scales[at..][..WAYS];
            for j in 0..WAYS {
                let e = math::exp(x[j] - top);
                total[j] = total[j].wrapping_add(math::round(e * WEIGHT_LIMIT));
                let w = math::at_most(math::at_least(e * (values[j] * unit), 0.0), WEIGHT_LIMIT);
                let w = math::round(w);
                high[j] = (w >> 7) as u8;
                low[j] = (w & 127) as u8;
            }
            at += WAYS;
            if at == ring * GROUP {
                at = 0;
            }
        }
        for half in [high, low] {
            half[..lead].fill(0);
            half[end..].fill(0);
        }
        let total = total.iter().fold(0_i32, |a, &b| a.wrapping_add(b));
        factors[h] = most / total as f32;
    }
    dots.weigh(
        &scratch.high,
        &scratch.low,
        stride,
        context.values,
        first,
        groups,
        out,
    );
    for (head, factor) in out.as_chunks_mut::<HEAD>().0.iter_mut().zip(factors) {
        for v in head {
            *v *= factor;
        }
    }
}

/// The scales of one group.
#[inline(always)]
fn chunk(scales: &[f32], group: usize) -> &[f32] {
    &scales[group * GROUP..][..GROUP]
}

/// The largest scale of a span; `lead..end` counts from the start of group `first`.
#[inline(always)]
fn largest_scale(scales: &[f32], first: usize, lead: usize, end: usize, ring: usize) -> f32 {
    let start = first * GROUP + lead;
    let (slots, count) = (ring * GROUP, end - lead);
    let before = count.min(slots - start);
    let a = math::magnitude(&scales[start..start + before]);
    let b = math::magnitude(&scales[..count - before]);
    math::at_least(a, b)
}

/// The largest element, NaN ignored.
#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; WAYS];
    for chunk in x.as_chunks::<WAYS>().0 {
        for (m, &v) in most.iter_mut().zip(chunk) {
            *m = math::at_least(v, *m);
        }
    }
    most.iter()
        .fold(f32::NEG_INFINITY, |a, &b| math::at_least(b, a))
}
