//! What differs between blocks with and without a language model.

/// Weight sets of the first-layer mixers: confidence and match length; bits so far; orders known and the bit's place; the byte
/// before, or the place in a token; with a language model also the byte before, the one before that, the byte that the match
/// predicts and the token before.
pub(super) const SETS: [u32; 8] = [8 * 8, 256, 6 * 8, 512, 256, 256, 256, 256];
/// Weight sets of the final mixers: confidence and match length; with a language model also bits so far.
pub(super) const LAST_SETS: [u32; 2] = [8 * 8, 256];

/// How a block is predicted.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// Whether a language model takes part. If so, its opinion is refined by what it turned out to mean; if not, pixels of one bit
    /// are looked for in blocks with a stride.
    pub(super) language_model: bool,
    /// First-layer mixers in use: the first of [`SETS`].
    pub(super) mixers: usize,
    /// Final mixers in use: the first of [`LAST_SETS`].
    pub(super) lasts: usize,
    /// Learning rate of the first layer, in units of 1/65536.
    pub(super) rate: i32,
}

/// Learning rate of the final mixers, in units of 1/65536.
pub(super) const LAST_RATE: i32 = 80;
/// Binary logarithms of how many bits the maps of histories and the order-1 probabilities look back on.
pub(super) const MAP_RATE: u32 = 8;
pub(super) const ORDER1_RATE: u32 = 5;

impl Rules {
    pub(super) const fn of(language_model: bool) -> Rules {
        if language_model {
            Rules {
                language_model,
                mixers: 8,
                lasts: 2,
                rate: 250,
            }
        } else {
            Rules {
                language_model,
                mixers: 4,
                lasts: 1,
                rate: 400,
            }
        }
    }
}
