//! Bit histories: what a context has seen, in one byte.
//!
//! A state is the whole sequence of bits while it is short ([`EXACT`] bits), afterwards the numbers of zeros and ones
//! with the last bit. A bit that contradicts many before it makes most of them forgotten, because what happened lately
//! says more; counts are bounded more tightly the more both bits occur. The idea of indirect histories is Mahoney's
//! (PAQ6, "Adaptive weighing of context models for lossless data compression", 2005); the table is this program's own
//! and part of the format.

/// Bits that are remembered exactly.
const EXACT: u8 = 3;
/// The larger count is at most `BOUND[smaller count]`.
const BOUND: [u8; 6] = [48, 30, 15, 8, 6, 5];
/// What remains of `n` when the other bit is seen.
const FORGET: [u8; 49] = [
    0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6,
    6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6,
];

/// One state: counts of zeros and ones, and the last bits (newest lowest; one only once counts are bounded).
#[derive(Clone, Copy)]
struct State {
    n: [u8; 2],
    tail: u8,
}

/// Transitions and counts of all states; state 0 has seen nothing.
pub(super) struct Histories {
    /// `next[bit][state]`.
    pub(super) next: [[u8; 256]; 2],
    /// Counts of zeros and ones.
    pub(super) counts: [[u8; 2]; 256],
    /// How many states are in use.
    #[cfg(test)]
    pub(super) len: usize,
}

const fn after(state: State, bit: usize) -> State {
    let mut n = state.n;
    n[bit] += 1;
    if n[0] + n[1] <= EXACT {
        return State {
            n,
            tail: state.tail << 1 | bit as u8,
        };
    }
    n[1 - bit] = FORGET[n[1 - bit] as usize];
    let smaller = if n[0] < n[1] { 0 } else { 1 };
    let bound = BOUND[if n[smaller] < 5 { n[smaller] } else { 5 } as usize];
    if n[smaller] > 5 {
        n[smaller] = 5;
    }
    if n[1 - smaller] > bound {
        n[1 - smaller] = bound;
    }
    // A forgetful step may bring the total back to where sequences are exact; the tail must then say all.
    if n[0] + n[1] <= EXACT {
        let others = ((1u16 << n[1 - bit]) - 1) as u8;
        let tail = if bit == 1 {
            (1u16 << n[1]) - 1
        } else {
            (others as u16) << n[0]
        };
        return State { n, tail: tail as u8 };
    }
    State { n, tail: bit as u8 }
}

const fn build() -> Histories {
    let mut states = [State { n: [0, 0], tail: 0 }; 256];
    let mut next = [[0u8; 256]; 2];
    let mut len = 1;
    let mut done = 0;
    while done < len {
        let mut bit = 0;
        while bit < 2 {
            let to = after(states[done], bit);
            let mut i = 0;
            while i < len && !(states[i].n[0] == to.n[0] && states[i].n[1] == to.n[1] && states[i].tail == to.tail) {
                i += 1;
            }
            if i == len {
                states[len] = to;
                len += 1;
            }
            next[bit][done] = i as u8;
            bit += 1;
        }
        done += 1;
    }
    let mut counts = [[0u8; 2]; 256];
    let mut i = 0;
    while i < len {
        counts[i] = states[i].n;
        i += 1;
    }
    Histories {
        next,
        counts,
        #[cfg(test)]
        len,
    }
}

/// The table; computed at compile time by [`build`], breadth first from the empty history.
pub(super) static HISTORIES: Histories = build();

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn histories_fit_a_byte_and_count() {
        assert!(HISTORIES.len <= 256, "{}", HISTORIES.len);
        assert!(HISTORIES.len > 200, "{} states: room for more", HISTORIES.len);
        for state in 0..HISTORIES.len {
            for bit in 0..2 {
                let to = usize::from(HISTORIES.next[bit][state]);
                assert!(to > 0 && to < HISTORIES.len);
                assert!(HISTORIES.counts[to][bit] >= 1);
                assert!(HISTORIES.counts[to][1 - bit] <= HISTORIES.counts[state][1 - bit]);
            }
        }
    }

    #[test]
    fn long_runs_saturate() {
        for bit in 0..2 {
            let mut state = 0usize;
            for _ in 0..100 {
                state = usize::from(HISTORIES.next[bit][state]);
            }
            assert_eq!(HISTORIES.counts[state][bit], BOUND[0]);
            assert_eq!(usize::from(HISTORIES.next[bit][state]), state);
        }
    }
}
