//! `-1` to `-9`, as users of gzip and zstd type them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, value_parser};
use lmfs_codec::Level;

/// The level that was asked for; of several the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelFlags {
    /// The level to use.
    pub level: Level,
    /// Whether it was named. Otherwise it is the default.
    pub named: bool,
    /// A level of zstd that there is not here, and for which the highest stands.
    pub beyond: Option<u8>,
}

/// The highest level here, and the highest that users of zstd type.
const HIGHEST: u8 = 9;
const HIGHEST_OF_ZSTD: u8 = 22;

/// The commands that take levels, and their short options with values.
const COMMANDS: [&str; 3] = ["compress", "decompress", "eval"];
const WITH_VALUE: &[u8] = b"oTD";

/// The arguments of the process, with levels of several digits (`-19`, `-19c`) as `--level=19`: clap takes short
/// options one character at a time, and `-19` would be `-1 -9`.
pub fn joined(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut out = Vec::new();
    let mut takes_levels = false;
    let mut ended = false;
    for arg in args {
        ended |= arg == "--";
        let flags = arg
            .as_bytes()
            .strip_prefix(b"-")
            .filter(|flags| !flags.starts_with(b"-"));
        match flags.filter(|_| takes_levels && !ended).and_then(take_level) {
            Some((rest, level)) => {
                out.extend(rest);
                out.push(level);
            }
            None => {
                takes_levels |= COMMANDS.iter().any(|command| arg == *command);
                out.push(arg);
            }
        }
    }
    out
}

/// Splits short options that contain a level of several digits: the others, if there are any, and the level.
fn take_level(flags: &[u8]) -> Option<(Option<OsString>, OsString)> {
    let options = flags
        .iter()
        .position(|flag| WITH_VALUE.contains(flag))
        .unwrap_or(flags.len());
    let start = flags.iter().take(options).position(u8::is_ascii_digit)?;
    let (before, from) = flags.split_at_checked(start)?;
    let digits = from.iter().take_while(|flag| flag.is_ascii_digit()).count();
    let (level, after) = from.split_at_checked(digits).filter(|_| digits > 1)?;
    let rest = [before, after].concat();
    let rest = (!rest.is_empty()).then(|| OsString::from_vec([&b"-"[..], &rest].concat()));
    let mut long = OsString::from("--level=");
    long.push(OsStr::from_bytes(level));
    Some((rest, long))
}

/// clap's names of `-1` to `-9`.
const FLAGS: [&str; 9] = [
    "level_1", "level_2", "level_3", "level_4", "level_5", "level_6", "level_7", "level_8", "level_9",
];

impl LevelFlags {
    /// What to tell who asked for a level of zstd that there is not here.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let highest = self.level.number;
        self.beyond
            .map(|beyond| format!("lmfs: there is no level {beyond}: -{highest} is the highest, and used"))
    }
}

impl Args for LevelFlags {
    fn augment_args(command: Command) -> Command {
        let long = Arg::new("level")
            .long("level")
            .value_name("N")
            .value_parser(value_parser!(u8).range(1..=i64::from(HIGHEST_OF_ZSTD)))
            .overrides_with("level")
            .overrides_with_all(FLAGS)
            .help("How hard to compress, also as -1 (fastest) to -9 (smallest) [default: 6]");
        let short = |(digit, name)| {
            Arg::new(name)
                .short(digit)
                .action(ArgAction::SetTrue)
                .overrides_with("level")
                .overrides_with_all(FLAGS)
                .hide(true)
        };
        command.arg(long).args(('1'..).zip(FLAGS).map(short))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for LevelFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<LevelFlags, Error> {
        let short = (1..)
            .zip(FLAGS)
            .find(|(_, flag)| matches.get_flag(flag))
            .map(|(number, _)| number);
        let number = matches.get_one::<u8>("level").copied().or(short);
        let level = number.map_or(Ok(Level::DEFAULT), |number| Level::new(number.min(HIGHEST)));
        let level = level.map_err(|error| Error::raw(clap::error::ErrorKind::ValueValidation, error));
        let beyond = number.filter(|&number| number > HIGHEST);
        level.map(|level| LevelFlags {
            level,
            named: number.is_some(),
            beyond,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(args: &[&str]) -> Result<u8, Error> {
        let command = LevelFlags::augment_args(Command::new("x"));
        let args = [&["compress"], args].concat();
        let matches = command.try_get_matches_from(joined(args.into_iter().map(OsString::from)))?;
        LevelFlags::from_arg_matches(&matches).map(|level| level.level.number)
    }

    #[test]
    fn the_last_level_counts() {
        assert_eq!(parse(&[]).unwrap(), 6);
        for number in 1..=9 {
            assert_eq!(parse(&[&format!("-{number}")]).unwrap(), number);
            assert_eq!(parse(&[&format!("--level={number}")]).unwrap(), number);
        }
        assert_eq!(parse(&["-1", "-9"]).unwrap(), 9);
        assert_eq!(parse(&["--level=9", "-3"]).unwrap(), 3);
        assert_eq!(parse(&["-3", "--level=9"]).unwrap(), 9);
        assert_eq!(parse(&["-3", "-3"]).unwrap(), 3);
        assert!(parse(&["-0"]).is_err() && parse(&["--level=23"]).is_err());
    }

    /// Regression: `-19` was `-1 -9`, `-12` was `-2`, and `-10` an error about `-0`.
    #[test]
    fn levels_of_zstd_are_the_highest_level() {
        for level in ["-10", "-12", "-19", "-22", "--level=10", "--level=22"] {
            assert_eq!(parse(&[level]).unwrap(), 9, "{level}");
        }
        assert_eq!(parse(&["-19", "-3"]).unwrap(), 3);
        for level in ["-23", "-93", "-100", "-00", "-999999999999"] {
            assert!(parse(&[level]).is_err(), "{level}");
        }
    }

    #[test]
    fn only_levels_are_taken_out_of_short_options() {
        let join = |args: &str| {
            let args = args.split(' ').map(OsString::from);
            let joined: Vec<_> = joined(args).into_iter().map(|arg| arg.into_string().unwrap()).collect();
            joined.join(" ")
        };
        for (typed, meant) in [
            ("lmfs compress -19c f", "lmfs compress -c --level=19 f"),
            ("lmfs -q compress -kf12v -T16", "lmfs -q compress -kfv --level=12 -T16"),
            ("lmfs compress -cT16 -o12 -3c", "lmfs compress -cT16 -o12 -3c"),
            ("lmfs compress -Ddict19 -19", "lmfs compress -Ddict19 --level=19"),
            ("lmfs decompress -d -- -19", "lmfs decompress -d -- -19"),
            ("lmfs pack -19 compress", "lmfs pack -19 compress"),
            ("lmfs eval -19 -T4 f", "lmfs eval --level=19 -T4 f"),
        ] {
            assert_eq!(join(typed), meant);
        }
    }
}
