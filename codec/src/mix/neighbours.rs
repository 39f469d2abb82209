//! Which numbers a number is predicted from: those before it in time, or those around it in a picture.

use super::form::Form;
use super::layout::CONTEXTS;
use super::least_squares::{LeastSquares, Memory};

/// How the two solutions learn: how many numbers they look back on, and how often they are computed.
fn memories(form: Form) -> [Memory; 2] {
    let (long, short, every) = match form.row {
        // Impulse responses, of which many have 24 bits, change as fast as they fade.
        0 if form.is_wide() => (500.0, 16.0, 8),
        0 => (500.0, 50.0, 8),
        _ => (500.0, 20.0, 4),
    };
    [(long, every), (short, 4)].map(|(numbers, every)| Memory {
        decay: 1.0 - 1.0 / numbers,
        every,
        prior: 60.0,
    })
}

/// Past numbers of sound that predict the next one: of its own channel, and of each other one.
const OWN: usize = 32;
const OTHER: usize = 8;
/// How many of them the solution uses that forgets faster.
const FEW: usize = 24;

/// Distances back to neighbours, and their weights before anything was seen.
#[derive(Default)]
struct Distances(Vec<(usize, f64)>);

impl Distances {
    fn add(&mut self, distance: usize, weight: f64) {
        if distance > 0 && self.0.iter().all(|(known, _)| *known != distance) {
            self.0.push((distance, weight));
        }
    }

    /// Those of sound. It goes on in a straight line.
    fn of_sound(channels: usize) -> Self {
        let mut all = Distances::default();
        for i in 1..=OWN {
            all.add(i * channels, [2.0, -1.0].get(i - 1).copied().unwrap_or(0.0));
        }
        for i in (1..=OTHER * channels).filter(|i| !i.is_multiple_of(channels)) {
            all.add(i, 0.0);
        }
        all
    }

    /// Those of pixels, and how many the solution uses that forgets faster. A picture goes on as a plane.
    fn of_picture(channels: usize, row: usize) -> (Self, usize) {
        let (c, r) = (channels, row);
        let mut all = Distances::default();
        for (distance, weight) in [(c, 0.75), (r, 0.75), (r + c, -0.5), (r.saturating_sub(c), 0.0)] {
            all.add(distance, weight);
        }
        for i in 1..c {
            for distance in [i, i + c, i + r] {
                all.add(distance, 0.0);
            }
        }
        let few = all.0.len();
        let further = [
            2 * c,
            2 * r,
            (2 * r).saturating_sub(c),
            2 * r + c,
            r + 2 * c,
            r.saturating_sub(2 * c),
            3 * c,
            3 * r,
        ];
        for distance in further.into_iter().chain((1..c).map(|i| r.saturating_sub(i))) {
            all.add(distance, 0.0);
        }
        (all, few)
    }
}

/// Numbers known so far and those that predict the next one.
pub(super) struct Neighbours {
    form: Form,
    values: Vec<i32>,
    distances: Distances,
    few: usize,
    /// Neighbours of the next number, as differences from `base`.
    found: Vec<f64>,
    base: f64,
    fixed: [f64; 2],
}

impl Neighbours {
    pub(super) fn new(form: Form) -> Self {
        let (distances, few) = match form.row {
            0 => (Distances::of_sound(form.channels), FEW),
            row => Distances::of_picture(form.channels, row),
        };
        Neighbours {
            form,
            values: Vec::new(),
            distances,
            few,
            found: Vec::new(),
            base: 0.0,
            fixed: [0.0; 2],
        }
    }

    /// Two linear predictors that have seen nothing: one of all neighbours that looks far back, and one of a few that
    /// forgets faster.
    pub(super) fn solutions(&self) -> [LeastSquares; 2] {
        let weights: Vec<f64> = self.distances.0.iter().map(|(_, weight)| *weight).collect();
        let few = weights.get(..self.few).unwrap_or(&weights);
        let [long, short] = memories(self.form);
        [LeastSquares::new(&weights, long), LeastSquares::new(few, short)]
    }

    /// The channel of the next number.
    #[inline(always)]
    pub(super) fn channel(&self) -> usize {
        self.values.len() % self.form.channels
    }

    /// Appends a number.
    pub(super) fn push(&mut self, value: i32) {
        self.values.push(value);
    }

    /// The number `distance` back; before the first one the middle.
    #[inline(always)]
    fn back(&self, distance: usize) -> i32 {
        let place = self.values.len().checked_sub(distance);
        let known = place.and_then(|place| self.values.get(place));
        known.copied().unwrap_or(self.form.middle())
    }

    /// The pixel above right. In a picture of one column it is the one before.
    #[inline(always)]
    fn above_right(&self) -> i32 {
        self.back(self.form.row.saturating_sub(self.form.channels).max(1))
    }

    /// Looks the neighbours of the next number up.
    pub(super) fn find(&mut self) {
        let Form {
            channels: c, row: r, ..
        } = self.form;
        let of = |distance: usize| f64::from(self.back(distance));
        (self.base, self.fixed) = if r == 0 {
            let line = 2.0 * of(c) - of(2 * c);
            // What has so many bits is smooth.
            let other = if self.form.is_wide() {
                4.0 * of(c) - 6.0 * of(2 * c) + 4.0 * of(3 * c) - of(4 * c)
            } else {
                of(c)
            };
            (f64::from(self.form.middle()), [line, other])
        } else {
            let (left, above, corner) = (of(c), of(r), of(r + c));
            let clamped = (left + above - corner).clamp(left.min(above), left.max(above));
            let second = if c > 1 {
                // As the channel before differs from the pixels left and above.
                (left + of(1) - of(1 + c) + above + of(1) - of(1 + r)) / 2.0
            } else {
                (left + above) / 2.0 + (f64::from(self.above_right()) - corner) / 4.0
            };
            ((left + above) / 2.0, [clamped, second])
        };
        self.found.clear();
        let scale = self.form.scale();
        for i in 0..self.distances.0.len() {
            let value = f64::from(self.back(self.distances.0[i].0));
            self.found.push((value - self.base) * scale);
        }
    }

    /// Those that were found, as differences from [`base`](Self::base), multiplied with the form's scale.
    pub(super) fn found(&self) -> &[f64] {
        &self.found
    }

    /// What predictions are added to.
    pub(super) fn base(&self) -> f64 {
        self.base
    }

    /// Predictions that learn nothing.
    pub(super) fn fixed(&self) -> [f64; 2] {
        self.fixed
    }

    /// Contexts of the next byte of a wide number. `known`: its bytes that are known, `below`: how many of
    /// its bits are below this byte. The others are those of [`contexts`](Self::contexts).
    #[inline(always)]
    pub(super) fn wide_contexts(
        &self,
        expected: u64,
        activity: u64,
        last: u64,
        known: u64,
        below: u32,
    ) -> [u64; CONTEXTS] {
        let c = self.form.channels;
        let of = |distance: usize| u64::from(self.back(distance).cast_unsigned()) >> below;
        let (before, before2) = (of(c), of(2 * c));
        [
            0,
            expected,
            last & 0xFF,
            known,
            before,
            before & 0xFF | (before2 & 0xFF) << 8,
            expected | activity << 12,
            of(1) & 0xFF,
            before ^ before2 << 24,
        ]
    }

    /// Contexts of the next byte. `expected`: what is expected of it, `activity`: class of what was missed nearby,
    /// `last`: the bytes before, `second`: whether it is the lower byte of its number.
    #[inline(always)]
    pub(super) fn contexts(&self, expected: u64, activity: u64, last: u64, second: bool) -> [u64; CONTEXTS] {
        let Form {
            channels: c, row: r, ..
        } = self.form;
        let of = |distance: usize| u64::from(self.back(distance).cast_unsigned());
        if r == 0 {
            let (before, before2, before3) = (of(c), of(2 * c), of(3 * c));
            return [
                0,
                expected,
                last & 0xFF,
                last & 0xFFFF,
                before,
                before | before2 << 16,
                expected | activity << 12,
                if second { before & 0xFF } else { of(1) },
                before ^ before2 << 20 ^ before3 << 40,
            ];
        }
        let (w, n, nw, ne) = (of(c), of(r), of(r + c), u64::from(self.above_right().cast_unsigned()));
        let (ww, nn) = (of(2 * c), of(2 * r));
        let (p1, p2) = if c > 1 { (of(1), of(2)) } else { (0, 0) };
        [
            expected,
            w | n << 8 | p1 << 16,
            w | n << 8 | nw << 16 | p1 << 24,
            w | n << 8 | nw << 16 | ne << 24 | p1 << 32 | p2 << 40,
            n | ne << 8 | p1 << 16,
            w | ww << 8 | p1 << 16 | p2 << 24,
            n | nn << 8 | p1 << 16,
            p1 | p2 << 8 | expected << 16,
            expected | activity << 12,
        ]
    }
}
