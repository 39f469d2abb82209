//! Levels 1 to 9: how much time is given for how much space.

use crate::block::MODEL_WORTH;
use crate::dictionary::MAX_DICTIONARY;
use crate::{Error, Options, Result};

/// What a level does. docs/BENCHMARKS.md, "Levels", has what each takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// 1 (fastest) to 9 (smallest).
    pub number: u8,
    /// Name of the built-in model; `None` for levels that use no language model.
    pub model: Option<&'static str>,
    /// Bytes of a block.
    pub block_size: usize,
    /// The most bytes of a container's key, a dictionary that it is of itself
    /// ([`StreamOptions::most_key`](crate::stream::StreamOptions::most_key)).
    pub most_key: usize,
    /// Adaptive models alone may be used, too.
    mix: bool,
    zstd_level: i32,
    most_lanes: Option<usize>,
    model_worth: u32,
}

const fn level(number: u8, model: Option<&'static str>, mix: bool, zstd_level: i32, kib: usize) -> Level {
    Level {
        number,
        model,
        block_size: kib << 10,
        most_key: if mix { MAX_DICTIONARY } else { 0 },
        mix,
        zstd_level,
        most_lanes: None,
        model_worth: MODEL_WORTH,
    }
}

impl Level {
    /// All levels, the fastest first. Among those with adaptive models, blocks never shrink and methods are only added,
    /// so that each takes no more than the one before, on long files too.
    pub const ALL: [Level; 9] = [
        level(1, None, false, 3, 1024),
        level(2, None, false, 19, 1024),
        level(3, None, true, 19, 128),
        level(4, None, true, 19, 256),
        level(5, Some("tiny"), true, 19, 256),
        level(6, Some("small"), true, 19, 256),
        level(7, Some("small"), true, 19, 512),
        level(8, Some("small"), true, 19, 1024),
        Level {
            most_lanes: Some(2),
            model_worth: 0,
            ..level(9, Some("small"), true, 19, 1024)
        },
    ];

    /// The level used when none is named.
    pub const DEFAULT: Level = Level::ALL[5];

    /// The level of this number.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for numbers that are no level.
    pub fn new(number: u8) -> Result<Level> {
        let found = Level::ALL.into_iter().find(|level| level.number == number);
        found.ok_or_else(|| Error::InvalidOption(format!("there is no level {number}: 1 to 9 are")))
    }

    /// The options of a codec of this level.
    pub fn options(&self) -> Options {
        Options {
            model: self.model.is_some(),
            mix: self.mix,
            zstd_level: self.zstd_level,
            most_lanes: self.most_lanes,
            model_worth: self.model_worth,
            ..Options::default()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::builtin;
    use crate::{Codec, MAX_BLOCK, MIN_BLOCK};

    #[test]
    fn every_level_can_be_used() {
        for (number, level) in (1..=9).zip(Level::ALL) {
            assert_eq!(Level::new(number).unwrap(), level);
            assert!((MIN_BLOCK..=MAX_BLOCK).contains(&level.block_size));
            Codec::new(None, level.options()).unwrap();
            assert!(level.model.is_none_or(|name| builtin::find(name).is_ok()), "{level:?}");
        }
        for pair in Level::ALL.windows(2).filter(|pair| pair.iter().all(|level| level.mix)) {
            let [one, next] = pair else { continue };
            assert!(one.block_size <= next.block_size && one.model.is_none() | next.model.is_some());
        }
        assert_eq!(Level::DEFAULT.options(), Options::default());
        assert_eq!(Level::DEFAULT.model, Some(builtin::default().unwrap().name));
        assert!(Level::new(0).is_err() && Level::new(10).is_err());
    }
}
