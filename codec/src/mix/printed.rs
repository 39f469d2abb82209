//! Numbers that were binary before they were printed: which digits can follow.
//!
//! A double has 53 significant bits, and 17 decimal digits tell any two apart. So of several strings of 17 digits one
//! was printed from a double, and the last digits of a number follow in part from those before. Floats of 32 bits have
//! 24 bits. They take 9 digits, or 17 where they were widened to doubles first, as NumPy and Python's `json` do, and
//! then the last eight digits say nothing new.
//!
//! `printf("%.17g")` and the shortest digits that give the same double (Steele and White, "How to Print Floating-Point
//! Numbers Accurately", 1990; so Python, JavaScript and Rust) agree wherever 17 digits are needed.

use super::block::ByteState;
use super::math::stretch;
use super::numerals::Numeral;

/// What was printed: values of so many significant bits, as so many significant digits.
#[derive(Clone, Copy)]
struct Format {
    bits: u32,
    digits: u8,
    /// With fewer digits there can be more than [`MOST_VALUES`] values.
    least: u8,
}

const FORMATS: [Format; 3] = [
    Format {
        bits: 53,
        digits: 17,
        least: 15,
    },
    Format {
        bits: 24,
        digits: 17,
        least: 7,
    },
    Format {
        bits: 24,
        digits: 9,
        least: 7,
    },
];
/// The least and the most digits of which a format says what comes next.
const LEAST_DIGITS: u8 = 7;
const MOST_DIGITS: u8 = 16;
const _: () = {
    let mut i = 0;
    while i < FORMATS.len() {
        assert!(FORMATS[i].least >= LEAST_DIGITS && FORMATS[i].digits <= MOST_DIGITS + 1);
        i += 1;
    }
};
/// Digits after the point, at most: products fit into 128 bits. Most programs print smaller numbers with exponents.
const MOST_AFTER: u8 = 21;
/// More values than these say little about the next digit.
const MOST_VALUES: u128 = 24;

/// Evidence for a format: a digit that it has counts as many as the format leaves out, and one that it has not counts
/// against it. So numbers in which each digit is as likely gather none.
const AGAINST: i32 = 24;
const MOST_EVIDENCE: i32 = 48;
/// What it takes to be heard.
const HEARD: i32 = 24;
/// Evidence that doubles what the values weigh.
const EVIDENCE: i32 = 4;

const POWERS: [u128; MOST_AFTER as usize + 1] = {
    let mut powers = [1; MOST_AFTER as usize + 1];
    let mut i = 1;
    while i < powers.len() {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// How many values go on with each digit.
type Counts = [u32; 10];

impl Numeral {
    /// How many values of a format begin with these digits and go on with each digit; `None` if little is known.
    fn values(&self, format: Format) -> Option<Counts> {
        let after = self.after.checked_sub(1)?;
        let rest = format.digits.checked_sub(self.digits).filter(|rest| *rest > 0)?;
        let all = after.checked_add(rest).filter(|all| *all <= MOST_AFTER)?;
        if self.digits < format.least {
            return None;
        }
        // The number is at least 2^exponent.
        let value = u128::from(self.value);
        let exponent = ((value << 64) / POWERS[after as usize]).checked_ilog2()? as i32 - 64;
        // Values of the format are multiples of 2^-shift.
        let shift = u32::try_from(format.bits as i32 - 1 - exponent)
            .ok()
            .filter(|it| *it > 0)?;
        let (half, scale) = (1 << (shift - 1), POWERS[all as usize]);
        // The first multiple that is rounded to at least `printed`, which has all digits.
        let first = |printed: u128| ((printed << shift) - half).div_ceil(scale);
        let unit = POWERS[rest as usize];
        let multiples = first(value * unit)..first((value + 1) * unit);
        if multiples.end - multiples.start > MOST_VALUES {
            return None;
        }
        let mut counts = [0; 10];
        for multiple in multiples {
            // Halves are rounded to even. The ends of the range are even, so none is rounded across them.
            let sum = multiple * scale + half;
            let is_tie = sum & ((1 << shift) - 1) == 0;
            let printed = (sum >> shift) & !u128::from(is_tie);
            counts[(printed / (unit / 10) % 10) as usize] += 1;
        }
        Some(counts)
    }
}

/// What a block's numerals were printed from, and what that says about the byte under way.
pub(super) struct Printed {
    is_used: bool,
    /// By lane: the formats that have no number with the digits so far, as bits.
    excluded: Vec<u8>,
    /// For each format, from 0.
    evidence: [i32; FORMATS.len()],
    /// What each format says about the next byte if it is a digit.
    next: [Option<Counts>; FORMATS.len()],
    state: State,
}

/// What there is to be said about the byte under way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It does not follow a numeral.
    Other,
    /// It follows one, of which no format says anything.
    Numeral,
    /// A format says something, but there is little evidence for it.
    Watched,
    Heard,
}

impl Printed {
    pub(super) fn new() -> Self {
        Printed {
            is_used: false,
            excluded: Vec::new(),
            evidence: [0; FORMATS.len()],
            next: [None; FORMATS.len()],
            state: State::Other,
        }
    }

    /// Forgets everything; `is_used`: whether [`predict`](Self::predict) will be asked.
    pub(super) fn reset(&mut self, lanes: usize, is_used: bool) {
        self.is_used = is_used;
        self.excluded.clear();
        self.excluded.resize(lanes, 0);
        self.evidence = [0; FORMATS.len()];
        self.state = State::Other;
    }

    /// Finds which digits can be next.
    #[inline(always)]
    pub(super) fn begin_byte(&mut self, lane: usize, numeral: &Numeral) {
        if !(numeral.is_some && self.is_used) {
            self.state = State::Other;
            return;
        }
        self.state = State::Numeral;
        if numeral.after > 0 && (LEAST_DIGITS..=MOST_DIGITS).contains(&numeral.digits) {
            self.find(lane, numeral);
        }
    }

    #[inline(never)]
    fn find(&mut self, lane: usize, numeral: &Numeral) {
        for (i, format) in FORMATS.into_iter().enumerate() {
            self.next[i] = match self.excluded[lane] >> i & 1 {
                0 => numeral.values(format),
                _ => None,
            };
            if self.next[i].is_some() && self.state != State::Heard {
                self.state = if self.evidence[i] < HEARD {
                    State::Watched
                } else {
                    State::Heard
                };
            }
        }
    }

    /// The stretched prediction of the next bit by the format that says most, and a class: 0 outside numerals, 1 if no
    /// format says anything, or else how far the best one can be trusted, up to 7.
    #[inline(always)]
    pub(super) fn predict(&self, byte: ByteState) -> (i32, u32) {
        match self.state {
            State::Other => (0, 0),
            // The digits are 0x30 to 0x39.
            State::Heard if byte.bits >= 4 && byte.partial >> (byte.bits - 4) == 0x13 => self.predict_digit(byte),
            _ => (0, 1),
        }
    }

    #[inline(never)]
    fn predict_digit(&self, byte: ByteState) -> (i32, u32) {
        let (mut most, mut class) = (0_i32, 1);
        let low = byte.bits - 4;
        let known = 1 << low | byte.partial & ((1 << low) - 1);
        for (next, evidence) in self.next.iter().zip(self.evidence) {
            let Some(counts) = next.filter(|_| evidence >= HEARD) else {
                continue;
            };
            let mut bits = [0; 2];
            for (digit, count) in (0x10_u32..).zip(counts) {
                if digit >> (4 - low) == known {
                    bits[(digit >> (3 - low) & 1) as usize] += count;
                }
            }
            if bits == [0, 0] {
                continue;
            }
            let doublings = (evidence / EVIDENCE) as u32;
            let [zero, one] = bits.map(|count| (u64::from(count) << doublings) + 1);
            let x = stretch((one * 65536 / (zero + one)) as u32);
            if x.abs() > most.abs() {
                most = x;
            }
            class = class.max(1 + doublings / 2);
        }
        (most, class)
    }

    /// Learns from the byte that followed.
    #[inline(always)]
    pub(super) fn end_byte(&mut self, lane: usize, byte: u8) {
        match self.state {
            State::Other => self.excluded[lane] = 0,
            State::Numeral => {}
            State::Watched | State::Heard if byte.is_ascii_digit() => self.learn(lane, byte & 15),
            State::Watched | State::Heard => {}
        }
    }

    #[inline(never)]
    fn learn(&mut self, lane: usize, digit: u8) {
        for (i, (next, evidence)) in self.next.iter().zip(&mut self.evidence).enumerate() {
            let Some(counts) = next else { continue };
            if counts[usize::from(digit)] == 0 {
                *evidence = (*evidence - AGAINST).max(0);
                self.excluded[lane] |= 1 << i;
            } else {
                let left_out = counts.iter().filter(|count| **count == 0).count();
                *evidence = (*evidence + left_out as i32).min(MOST_EVIDENCE);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A positive number with so many significant digits, correctly rounded and without an exponent.
    fn decimal(value: f64, digits: usize) -> String {
        let after = digits as i32 - 1 - value.log10().floor() as i32;
        format!("{value:.*}", usize::try_from(after).unwrap())
    }

    /// What a format says behind every digit of a numeral, with the digit that follows.
    fn said(text: &str, format: Format) -> Vec<(Counts, u8)> {
        let (mut numeral, mut said) = (Numeral::FIRST, Vec::new());
        for byte in text.bytes() {
            let is_said = byte.is_ascii_digit() && (LEAST_DIGITS..=MOST_DIGITS).contains(&numeral.digits);
            if let Some(counts) = Some(numeral).filter(|_| is_said).and_then(|it| it.values(format)) {
                said.push((counts, byte - b'0'));
            }
            numeral.push(byte, &[]);
        }
        said
    }

    proptest! {
        /// No digit of a number is left out by the format that it was printed in.
        #[test]
        fn the_digit_that_follows_is_among_the_values(value in 1e-4..1e6_f64) {
            for (format, value) in FORMATS.into_iter().zip([value, (value as f32).into(), (value as f32).into()]) {
                let text = decimal(value, format.digits.into());
                // Rounded up to a power of ten it has one digit more.
                prop_assume!(text.bytes().filter(u8::is_ascii_digit).count() >= usize::from(format.digits));
                for (counts, digit) in said(&text, format) {
                    prop_assert!(counts[usize::from(digit)] > 0, "{text}: {digit} is not in {counts:?}");
                }
            }
        }

        /// Nothing overflows, whatever the numeral.
        #[test]
        fn any_numeral_can_be_asked_about(text in "0{0,25}[0-9]{0,20}\\.0{0,30}[0-9]{1,40}") {
            for format in FORMATS {
                said(&text, format);
            }
        }
    }

    #[test]
    fn the_last_digits_of_a_widened_float_are_known() {
        // 0.1_f32 is 0.100000001490116119384765625.
        let said = said("0.10000000149011612", FORMATS[1]);
        let certain = said
            .iter()
            .filter(|(counts, digit)| counts.iter().sum::<u32>() == counts[usize::from(*digit)]);
        assert!(certain.count() >= 8, "{said:?}");
    }

    #[test]
    fn numbers_of_no_format_leave_no_evidence() {
        let mut printed = Printed::new();
        printed.reset(1, true);
        let (mut state, mut heard) = (7_u64, 0);
        for _ in 0..500 {
            let digits = std::iter::repeat_with(|| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % 10
            });
            let text: String = digits.take(17).map(|digit| digit.to_string()).collect();
            let mut numeral = Numeral::FIRST;
            for byte in format!("3.{text},").bytes() {
                printed.begin_byte(0, &numeral);
                heard += u32::from(printed.state == State::Heard);
                printed.end_byte(0, byte);
                numeral.push(byte, &[]);
            }
        }
        assert!(heard < 50, "a format was heard {heard} times in 500 numbers");
    }
}
