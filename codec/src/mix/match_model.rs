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
/// Matches shorter than this give way to longer ones, and end at the first wrong byte. Longer ones go on behind it.
const LONG: u32 = 16;
/// The least bytes that a match has whose place many bytes have led to.
const MIN_LONG: u32 = 11;
/// The most bytes compared, and the longest length told apart.
const MAX_LEN: u32 = 32;
/// Where lengths stop counting.
const LEN_LIMIT: u32 = 65535;
/// Qualities of matches, by length, and then of those behind a wrong byte, by what agreed since.
pub(super) const QUALITIES: usize = (MAX_LEN + LONG) as usize;

/// A lane's match: the place predicted next (0: no match), and how many bytes before it agreed.
#[derive(Clone, Copy, Default)]
struct Match {
    place: u32,
    len: u32,
    /// Goes on behind a wrong byte.
    resumed: bool,
}

impl Match {
    /// Which quality predicts its next byte.
    #[inline(always)]
    fn quality(self) -> usize {
        if self.resumed {
            (MAX_LEN + self.len.min(LONG - 1)) as usize
        } else {
            self.len.min(MAX_LEN - 1) as usize
        }
    }
}

/// Expected qualities before training.
pub(super) fn untrained() -> [Cell; QUALITIES] {
    std::array::from_fn(|len| Cell::new((65535 - 65536 / (len % MAX_LEN as usize + 4)) as u16))
}

/// Where contexts were seen last, and how well matches of each length predict.
pub(super) struct MatchModel {
    places: Places,
    /// Those in the dictionary. They are shared by all blocks behind it, so nothing is added to them.
    dictionary: Option<Arc<Places>>,
    pub(super) quality: [Cell; QUALITIES],
    /// By lane.
    matches: Vec<Match>,
    /// The byte predicted, as 9 bits with a leading one; 0 without a match or after a wrong bit.
    expected: u32,
    /// The quality that predicted the present bit.
    used: usize,
}

/// Where the last few bytes were seen last, and the last ten: places after them, 0 for none.
#[derive(Default)]
struct Places {
    short: Vec<u32>,
    long: Vec<u32>,
    /// `32 - log2(places)`.
    shift: u32,
}

impl Places {
    fn reset(&mut self, log2_places: u32) {
        for places in [&mut self.short, &mut self.long] {
            places.clear();
            places.resize(1 << log2_places, 0);
        }
        self.shift = 32 - log2_places;
    }

    fn copy_from(&mut self, other: &Places) {
        self.short.clone_from(&other.short);
        self.long.clone_from(&other.long);
        self.shift = other.shift;
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.short) + size_of_val(&*self.long)
    }

    /// Asks for the memory of two hashes.
    #[inline(always)]
    fn prefetch(&self, [short, long]: [u32; 2]) {
        prefetch(&self.short, (short >> self.shift) as usize);
        prefetch(&self.long, (long >> self.shift) as usize);
    }

    #[inline(always)]
    fn put(&mut self, [short, long]: [u32; 2], place: u32) {
        self.short[(short >> self.shift) as usize] = place;
        self.long[(long >> self.shift) as usize] = place;
    }

    #[inline(always)]
    fn short(&self, hash: u32) -> u32 {
        self.short[(hash >> self.shift) as usize]
    }

    #[inline(always)]
    fn long(&self, hash: u32) -> u32 {
        self.long[(hash >> self.shift) as usize]
    }
}

/// What a dictionary leaves behind.
pub(super) struct WarmMatches {
    places: Arc<Places>,
    quality: [Cell; QUALITIES],
}

impl WarmMatches {
    pub(super) fn bytes(&self) -> usize {
        self.places.bytes()
    }
}

impl MatchModel {
    pub(super) fn new() -> Self {
        MatchModel {
            places: Places::default(),
            dictionary: None,
            quality: untrained(),
            matches: Vec::new(),
            expected: 0,
            used: 0,
        }
    }

    pub(super) fn reset(&mut self, log2_places: u32, lanes: usize) {
        self.places.reset(log2_places);
        self.dictionary = None;
        self.matches.clear();
        self.matches.resize(lanes, Match::default());
        self.expected = 0;
    }

    /// Starts behind a dictionary.
    pub(super) fn reset_warm(&mut self, warm: &WarmMatches, log2_places: u32, lanes: usize) {
        self.reset(log2_places, lanes);
        self.dictionary = Some(Arc::clone(&warm.places));
        self.quality = warm.quality;
    }

    /// Goes on where a state ends: its places are those of the one lane.
    pub(super) fn resume(&mut self, warm: &WarmMatches) {
        self.reset(1, 1);
        self.places.copy_from(&warm.places);
        self.quality = warm.quality;
    }

    /// Takes out what a dictionary left behind.
    pub(super) fn freeze(&mut self) -> WarmMatches {
        WarmMatches {
            places: Arc::new(std::mem::take(&mut self.places)),
            quality: self.quality,
        }
    }

    /// Gives its memory back until the next reset.
    pub(super) fn release(&mut self) {
        self.places = Places::default();
    }

    /// Lets go of the dictionary until the next reset: what holds the dictionaries in memory counts them.
    pub(super) fn release_dictionary(&mut self) {
        self.dictionary = None;
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
        let place = self.matches[lane].place;
        self.expected = if place > 0 {
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
        self.used = self.matches[lane].quality();
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
        let hashes = hashes(lane);
        self.places.prefetch(hashes);
        if let Some(dictionary) = &self.dictionary {
            dictionary.prefetch(hashes);
        }
    }

    /// Moves a lane's match past the byte just appended, or looks for a new one, and remembers this place.
    #[inline(always)]
    pub(super) fn end_byte(&mut self, lane: usize, block: &Block) {
        let me = &block.lanes[lane];
        let m = &mut self.matches[lane];
        if m.place > 0 {
            m.follow(block, me.last as u8);
        }
        if me.at - me.start < MIN_LEN {
            return;
        }
        let [short, long] = hashes(me);
        // The last place of a few bytes may be an accident, as in the letters of genes. A longer match is better.
        if m.len < LONG {
            m.find(self.places.long(long), MIN_LONG.max(m.len + 1), block, me);
            if m.len < LONG
                && let Some(dictionary) = &self.dictionary
            {
                m.find(dictionary.long(long), MIN_LONG.max(m.len + 1), block, me);
            }
        }
        // The block itself comes first. What it repeats is nearer than what the dictionary has.
        if m.place == 0 {
            m.find(self.places.short(short), MIN_LEN, block, me);
            if m.place == 0
                && let Some(dictionary) = &self.dictionary
            {
                m.find(dictionary.short(short), MIN_LEN, block, me);
            }
        }
        self.places.put([short, long], me.at);
    }
}

impl Match {
    /// Goes on behind `byte`, if it was the predicted one or many before it were.
    #[inline(always)]
    fn follow(&mut self, block: &Block, byte: u8) {
        let hit = block.bytes[self.place as usize] == byte;
        // The byte behind the match must be coded already. It may lie in a lane that has not come as far.
        if !(hit || self.len >= LONG) || !is_known(self.place + 1, &block.lanes) {
            *self = Match::default();
            return;
        }
        self.place += 1;
        if hit {
            self.len = (self.len + 1).min(LEN_LIMIT);
            self.resumed &= self.len < LONG;
        } else {
            (self.len, self.resumed) = (0, true);
        }
    }

    /// Follows the occurrence before `place` if at least so many bytes there are equal to the lane's last.
    #[inline(always)]
    fn find(&mut self, place: u32, least: u32, block: &Block, me: &Lane) {
        if place == 0 || !is_known(place, &block.lanes) {
            return;
        }
        // A longer match than this changes no prediction, so comparing stops there.
        let most = MAX_LEN.min(place).min(me.at - me.start);
        let mut len = 0;
        while len < most && block.bytes[(place - 1 - len) as usize] == block.bytes[(me.at - 1 - len) as usize] {
            len += 1;
        }
        // Shorter ones are collisions of the hash, or no better than what is there.
        if len >= least {
            *self = Match {
                place,
                len,
                resumed: false,
            };
        }
    }
}

/// The hashes of a lane's last bytes, few and many.
#[inline(always)]
fn hashes(lane: &Lane) -> [u32; 2] {
    let short = hash(lane.last & ((1 << (8 * MIN_LEN)) - 1), salt::MATCH);
    [(short >> 32) as u32, lane.long]
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::Stop;
    use crate::mix::{Front, Predictor, WarmState};

    /// Regression: a predictor that waited for its next block kept the places of a dictionary that nobody counted.
    #[test]
    fn a_predictor_without_a_block_holds_no_dictionary() {
        let (mut predictor, stop) = (Predictor::new(), Stop::new());
        let warm = WarmState::learn(&mut predictor, b"what all blocks of a kind have in common", &stop).unwrap();
        let front = Front {
            dictionary: Some(&warm),
            reference: &[],
        };
        predictor.start_behind(front, 100, &stop).unwrap();
        assert_eq!(Arc::strong_count(&warm.matches.places), 2);
        predictor.release_large();
        assert_eq!(Arc::strong_count(&warm.matches.places), 1);
    }
}
