//! `-1` to `-9`, as users of gzip and zstd type them.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, value_parser};
use lmfs_codec::Level;

/// The level that was asked for; of several the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelFlags(pub Level);

/// clap's names of `-1` to `-9`.
const FLAGS: [&str; 9] = [
    "level_1", "level_2", "level_3", "level_4", "level_5", "level_6", "level_7", "level_8", "level_9",
];

impl Args for LevelFlags {
    fn augment_args(command: Command) -> Command {
        let long = Arg::new("level")
            .long("level")
            .value_name("N")
            .value_parser(value_parser!(u8).range(1..=9))
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
        let level = number.map_or(Ok(Level::DEFAULT), Level::new);
        let level = level.map_err(|error| Error::raw(clap::error::ErrorKind::ValueValidation, error));
        level.map(LevelFlags)
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
        let matches = command.try_get_matches_from([&["x"], args].concat())?;
        LevelFlags::from_arg_matches(&matches).map(|level| level.0.number)
    }

    #[test]
    fn the_last_level_counts() {
        assert_eq!(parse(&[]).unwrap(), 6);
        for number in 1..=9 {
            assert_eq!(parse(&[&format!("-{number}")]).unwrap(), number);
            assert_eq!(parse(&[&format!("--level={number}")]).unwrap(), number);
        }
        assert_eq!(parse(&["-1", "-9"]).unwrap(), 9);
        assert_eq!(parse(&["-93"]).unwrap(), 3);
        assert_eq!(parse(&["--level=9", "-3"]).unwrap(), 3);
        assert_eq!(parse(&["-3", "--level=9"]).unwrap(), 9);
        assert_eq!(parse(&["-3", "-3"]).unwrap(), 3);
        assert!(parse(&["-0"]).is_err() && parse(&["--level=10"]).is_err());
    }
}
