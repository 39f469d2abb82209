//! The match model: the bytes that followed the last occurrence of what was just coded, in any lane.

use super::context::Lane;
use super::maps::Cell;
use super::math::hash;
use crate::simd::prefetch;

/// Bytes hashed to find an occurrence.
const MIN: u32 = 5;
/// Longest length told apart.
const MAX: u32 = 32;
/// Qualities of matches that are told apart.
pub(super) const QUALITIES: usize = MAX as usize;

/// A lane's match: the place predicted next, and how many bytes before it agreed (0: no match).
#[derive(Clone, Copy, Default)]
pub(super) struct Match {
    pub(super) place: u32,
    pub(super) len: u32,
}

/// Expected qualities before training.
pub(super) fn untrained() -> [Cell; QUALITIES] {
    std::array::from_fn(|len| Cell::new((65535 - 65536 / (len + 4)) as u16))
}

/// Where contexts were seen last, and how well matches of each length predict.
pub(super) struct Matcher {
    /// Place after the hashed bytes; 0: none.
    places: Vec<u32>,
    shift: u32,
    pub(super) quality: [Cell; QUALITIES],
    /// The byte predicted, as 9 bits with a leading one; 0 without a match or after a wrong bit.
    expected: u32,
    slot: usize,
}

impl Matcher {
    pub(super) fn new() -> Self {
        Matcher {
            places: Vec::new(),
            shift: 48,
            quality: untrained(),
            expected: 0,
            slot: 0,
        }
    }

    pub(super) fn reset(&mut self, log2_places: u32) {
        self.places.clear();
        self.places.resize(1 << log2_places, 0);
        self.shift = 64 - log2_places;
        self.expected = 0;
    }

    /// Gives its memory back until the next reset.
    pub(super) fn release(&mut self) {
        self.places = Vec::new();
    }

    pub(super) fn import(&mut self, quality: &[Cell; QUALITIES]) {
        self.quality = *quality;
    }

    /// How long the match is that predicts the present bit: 0 (none) to 7.
    #[inline(always)]
    pub(super) fn class(&self, m: Match) -> u32 {
        if self.expected == 0 { 0 } else { 1 + (m.len / 4).min(6) }
    }

    /// The byte predicted behind a leading one, 0 without a match.
    pub(super) fn expected(&self) -> u32 {
        self.expected
    }

    /// Takes up a lane's match at the start of a byte.
    #[inline(always)]
    pub(super) fn begin(&mut self, m: Match, block: &[u8]) {
        self.expected = if m.len > 0 {
            256 | u32::from(block[m.place as usize])
        } else {
            0
        };
    }

    /// Stretched prediction of the next bit after `partial` (the byte's bits so far behind a leading one).
    #[inline(always)]
    pub(super) fn predict(&mut self, m: Match, partial: u32, bits: u32) -> i32 {
        if self.expected == 0 {
            return 0;
        }
        if (self.expected >> (8 - bits)) != partial {
            self.expected = 0;
            return 0;
        }
        let bit = self.expected >> (7 - bits) & 1;
        self.slot = m.len.min(MAX - 1) as usize;
        let x = self.quality[self.slot].stretched();
        if bit == 1 { x } else { -x }
    }

    /// Learns whether the predicted bit came true.
    #[inline(always)]
    pub(super) fn update(&mut self, bits: u32, bit: bool) {
        if self.expected != 0 {
            let hit = (self.expected >> (7 - bits) & 1 == 1) == bit;
            self.quality[self.slot].update(hit, 6);
        }
    }

    #[inline(always)]
    fn slot_of(&self, lane: &Lane) -> usize {
        (hash(lane.last & ((1 << (8 * MIN)) - 1), 77) >> self.shift) as usize
    }

    /// Asks for the memory that [`advance`](Self::advance) will need if the lane comes to stand like this.
    #[inline(always)]
    pub(super) fn prefetch(&self, lane: &Lane) {
        prefetch(&self.places, self.slot_of(lane));
    }

    /// Moves a lane's match past the byte just appended, or looks for a new one, and remembers this place.
    #[inline(always)]
    pub(super) fn advance(&mut self, m: &mut Match, lanes: &[Lane], me: usize, block: &[u8]) {
        let lane = &lanes[me];
        let byte = lane.last as u8;
        if m.len > 0 {
            if block[m.place as usize] == byte && known(m.place + 1, lanes) {
                m.place += 1;
                m.len = (m.len + 1).min(65535);
            } else {
                m.len = 0;
            }
        }
        if lane.at - lane.start < MIN {
            return;
        }
        let slot = self.slot_of(lane);
        if m.len == 0 {
            let place = self.places[slot];
            if place > 0 && known(place, lanes) {
                let mut len = 0;
                while len < MAX
                    && len < place
                    && len < lane.at - lane.start
                    && block[(place - 1 - len) as usize] == block[(lane.at - 1 - len) as usize]
                {
                    len += 1;
                }
                if len >= MIN {
                    *m = Match { place, len };
                }
            }
        }
        self.places[slot] = lane.at;
    }
}

/// Whether the byte at `place` has been coded.
#[inline(always)]
fn known(place: u32, lanes: &[Lane]) -> bool {
    if let [only] = lanes {
        return place < only.at;
    }
    let i = lanes.partition_point(|lane| lane.start <= place);
    i > 0 && place < lanes[i - 1].at
}
