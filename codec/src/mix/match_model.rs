//! The match model: the bytes that followed the last occurrence of what was just coded, in any lane.

use std::sync::Arc;

use super::block::{Block, ByteState};
use super::context::Lane;
use super::layout::{MATCH_RATE, salt};
use super::math::{hash, stretch};
use super::state_map::Cell;
use crate::simd::prefetch;

/// Bytes hashed to find an occurrence.
const MIN_LEN: u32 = 5;
/// The most bytes compared, and the longest length told apart.
const MAX_LEN: u32 = 32;
/// Where lengths stop counting.
const LEN_LIMIT: u32 = 65535;
/// Qualities of matches, by length.
pub(super) const QUALITIES: usize = MAX_LEN as usize;

/// A lane's match: the place predicted next, and how many bytes before it agreed (0: no match).
#[derive(Clone, Copy, Default)]
struct Match {
    place: u32,
    len: u32,
}

/// Expected qualities before training.
pub(super) fn untrained() -> [Cell; QUALITIES] {
    std::array::from_fn(|len| Cell::new((65535 - 65536 / (len + 4)) as u16))
}

/// Where contexts were seen last, and how well matches of each length predict.
pub(super) struct MatchModel {
    /// Place after the hashed bytes; 0: none.
    places: Vec<u32>,
    /// `64 - log2(places)`.
    shift: u32,
    /// Where contexts were seen last in the dictionary. It is shared by all blocks behind it, so it is not written to.
    dictionary: Option<Arc<Places>>,
    pub(super) quality: [Cell; QUALITIES],
    /// By lane.
    matches: Vec<Match>,
    /// The byte predicted, as 9 bits with a leading one; 0 without a match or after a wrong bit.
    expected: u32,
    /// The quality that predicted the present bit.
    used: usize,
}

/// A table of places that nothing is added to any more.
struct Places {
    places: Vec<u32>,
    shift: u32,
}

/// What a dictionary leaves behind.
pub(super) struct WarmMatches {
    places: Arc<Places>,
    quality: [Cell; QUALITIES],
}

impl WarmMatches {
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.places.places)
    }
}

impl MatchModel {
    pub(super) fn new() -> Self {
        MatchModel {
            places: Vec::new(),
            shift: 48,
            dictionary: None,
            quality: untrained(),
            matches: Vec::new(),
            expected: 0,
            used: 0,
        }
    }

    pub(super) fn reset(&mut self, log2_places: u32, lanes: usize) {
        self.places.clear();
        self.places.resize(1 << log2_places, 0);
        self.shift = 64 - log2_places;
        self.dictionary = None;
        self.matches.clear();
        self.matches.resize(lanes, Match::default());
        self.expected = 0;
    }

    /// Starts one lane behind a dictionary.
    pub(super) fn reset_warm(&mut self, warm: &WarmMatches, log2_places: u32) {
        self.reset(log2_places, 1);
        self.dictionary = Some(Arc::clone(&warm.places));
        self.quality = warm.quality;
    }

    /// Finds matches in these bytes, too. They lie at `start`, before the lane.
    pub(super) fn remember(&mut self, start: usize, bytes: &[u8]) {
        for (at, context) in (start + MIN_LEN as usize..).zip(bytes.windows(MIN_LEN as usize)) {
            let last = context.iter().fold(0, |last, byte| last << 8 | u64::from(*byte));
            let slot = (hash(last, salt::MATCH) >> self.shift) as usize;
            self.places[slot] = at as u32;
        }
    }

    /// Takes out what a dictionary left behind.
    pub(super) fn freeze(&mut self) -> WarmMatches {
        let places = Places {
            places: std::mem::take(&mut self.places),
            shift: self.shift,
        };
        WarmMatches {
            places: Arc::new(places),
            quality: self.quality,
        }
    }

    /// Gives its memory back until the next reset.
    pub(super) fn release(&mut self) {
        self.places = Vec::new();
    }

    pub(super) fn import(&mut self, quality: &[Cell; QUALITIES]) {
        self.quality = *quality;
    }

    /// How long the match is that predicts the present bit of a lane: 0 (none) to 7.
    #[inline(always)]
    pub(super) fn class(&self, lane: usize) -> u32 {
        if self.expected == 0 {
            0
        } else {
            1 + (self.matches[lane].len / 4).min(6)
        }
    }

    /// The byte predicted behind a leading one, 0 without a match.
    #[inline(always)]
    pub(super) fn expected(&self) -> u32 {
        self.expected
    }

    /// The place that a lane's match predicts next.
    #[inline(always)]
    pub(super) fn place(&self, lane: usize) -> u32 {
        self.matches[lane].place
    }

    /// Takes up a lane's match at the start of a byte.
    #[inline(always)]
    pub(super) fn begin_byte(&mut self, lane: usize, block: &Block) {
        let Match { place, len } = self.matches[lane];
        self.expected = if len > 0 {
            256 | u32::from(block.bytes[place as usize])
        } else {
            0
        };
    }

    /// Stretched prediction of the next bit.
    #[inline(always)]
    pub(super) fn predict(&mut self, lane: usize, byte: ByteState) -> i32 {
        if self.expected == 0 {
            return 0;
        }
        // A bit of this byte was not the expected one. Nothing is said about the rest of it.
        if (self.expected >> (8 - byte.bits)) != byte.partial {
            self.expected = 0;
            return 0;
        }
        let bit = self.expected >> (7 - byte.bits) & 1;
        self.used = self.matches[lane].len.min(MAX_LEN - 1) as usize;
        let x = stretch(self.quality[self.used].p());
        if bit == 1 { x } else { -x }
    }

    /// Learns whether the predicted bit came true.
    #[inline(always)]
    pub(super) fn update(&mut self, byte: ByteState, bit: bool) {
        if self.expected != 0 {
            let hit = (self.expected >> (7 - byte.bits) & 1 == 1) == bit;
            self.quality[self.used].update(hit, MATCH_RATE);
        }
    }

    /// Asks for the memory that [`end_byte`](Self::end_byte) will need if the lane comes to stand like this.
    #[inline(always)]
    pub(super) fn prefetch(&self, lane: &Lane) {
        let hash = hash_of(lane);
        prefetch(&self.places, (hash >> self.shift) as usize);
        if let Some(dictionary) = &self.dictionary {
            prefetch(&dictionary.places, (hash >> dictionary.shift) as usize);
        }
    }

    /// Moves a lane's match past the byte just appended, or looks for a new one, and remembers this place.
    #[inline(always)]
    pub(super) fn end_byte(&mut self, lane: usize, block: &Block) {
        let me = &block.lanes[lane];
        let m = &mut self.matches[lane];
        if m.len > 0 {
            // The byte behind the match must be coded already. It may lie in a lane that has not come as far.
            if block.bytes[m.place as usize] == me.last as u8 && is_known(m.place + 1, &block.lanes) {
                m.place += 1;
                m.len = (m.len + 1).min(LEN_LIMIT);
            } else {
                m.len = 0;
            }
        }
        if me.at - me.start < MIN_LEN {
            return;
        }
        let hash = hash_of(me);
        let slot = (hash >> self.shift) as usize;
        if self.matches[lane].len == 0 {
            self.find(lane, self.places[slot], block);
        }
        // The block itself comes first. What it repeats is nearer than what the dictionary has.
        if self.matches[lane].len == 0
            && let Some(dictionary) = &self.dictionary
        {
            let place = dictionary.places[(hash >> dictionary.shift) as usize];
            self.find(lane, place, block);
        }
        self.places[slot] = me.at;
    }

    /// Follows the occurrence before `place` if enough bytes there are equal to the lane's last.
    #[inline(always)]
    fn find(&mut self, lane: usize, place: u32, block: &Block) {
        let me = &block.lanes[lane];
        if place == 0 || !is_known(place, &block.lanes) {
            return;
        }
        // A longer match than this changes no prediction, so comparing stops there.
        let most = MAX_LEN.min(place).min(me.at - me.start);
        let mut len = 0;
        while len < most && block.bytes[(place - 1 - len) as usize] == block.bytes[(me.at - 1 - len) as usize] {
            len += 1;
        }
        // Shorter ones are collisions of the hash, not repetitions.
        if len >= MIN_LEN {
            self.matches[lane] = Match { place, len };
        }
    }
}

/// The hash of a lane's last bytes.
#[inline(always)]
fn hash_of(lane: &Lane) -> u64 {
    hash(lane.last & ((1 << (8 * MIN_LEN)) - 1), salt::MATCH)
}

/// Whether the byte at `place` has been coded.
#[inline(always)]
fn is_known(place: u32, lanes: &[Lane]) -> bool {
    if let [only] = lanes {
        return place < only.at;
    }
    // In the dictionary, or in a lane before its next byte.
    let i = lanes.partition_point(|lane| lane.start <= place);
    i == 0 || place < lanes[i - 1].at
}
