//! What differs between the mixer's versions.

/// Weight sets of the first-layer mixers: confidence and match length; bits so far; orders known and the bit's place; the byte
/// before, or the place in a token; in blocks with a language model since version 2 the byte before and the one before that, since
/// version 3 also the byte that the match predicts and the token before.
pub(super) const SETS: [u32; 8] = [8 * 8, 256, 6 * 8, 512, 256, 256, 256, 256];
/// Weight sets of the final mixers: confidence and match length; since version 3 with a language model also bits so far.
pub(super) const LAST_SETS: [u32; 2] = [8 * 8, 256];

/// The choices of one version for blocks with or without a language model.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// First-layer mixers in use: the first of [`SETS`].
    pub(super) mixers: usize,
    /// Final mixers in use: the first of [`LAST_SETS`].
    pub(super) lasts: usize,
    /// Learning rates of the two layers of the mixer, in units of 1/65536.
    pub(super) rate: i32,
    pub(super) last_rate: i32,
    /// Binary logarithms of how many bits the maps of histories and the order-1 probabilities look back on.
    pub(super) map_rate: u32,
    pub(super) order1_rate: u32,
    /// Context 6 of blocks without a stride: this word and the one before the last, instead of six bytes.
    pub(super) words: bool,
    /// Pixels of one bit are looked for in blocks with a stride.
    pub(super) pixels: bool,
    /// The language model's opinion is refined by what it turned out to mean.
    pub(super) opinions: bool,
}

/// The rules of the newest version with a language model.
const NEWEST: Rules = Rules {
    mixers: 8,
    lasts: 2,
    rate: 250,
    last_rate: 80,
    map_rate: 8,
    order1_rate: 5,
    words: true,
    pixels: false,
    opinions: true,
};

impl Rules {
    /// The rules of a version; versions that are not known are taken for the newest.
    pub(super) const fn of(version: u8, language_model: bool) -> Rules {
        match (version, language_model) {
            (1, _) => Rules {
                mixers: 4,
                lasts: 1,
                rate: 400,
                last_rate: 200,
                map_rate: 7,
                order1_rate: 4,
                words: false,
                pixels: false,
                opinions: false,
            },
            (_, false) => Rules {
                mixers: 4,
                lasts: 1,
                rate: 400,
                last_rate: 80,
                map_rate: 8,
                order1_rate: 5,
                words: true,
                pixels: true,
                opinions: false,
            },
            (2, true) => Rules {
                mixers: 6,
                lasts: 1,
                opinions: false,
                ..NEWEST
            },
            (_, true) => NEWEST,
        }
    }
}
