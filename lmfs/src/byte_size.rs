//! Sizes on the command line: `16KiB`, `64k`, `1MiB`, `256M`.

use bytesize::ByteSize;
use lmfs_codec::{MAX_BLOCK, MIN_BLOCK};
use lmfs_indexer::MAX_PARITY;

/// Why text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// It is no number with a unit.
    #[error("'{0}' is not a size: write for example 65536, 64k, 64KiB or 1MiB")]
    Unreadable(String),
    /// No block has this size.
    #[error(
        "a block is {MIN_BLOCK} to {MAX_BLOCK} bytes long, a power of two (4KiB, 8KiB, 16KiB ... 1MiB); {0} is not"
    )]
    Block(u64),
    /// No parity has this share.
    #[error("'{0}' is no share of parity: write for example 5%, at most {MAX_PARITY}%")]
    Parity(String),
}

/// Parses a size in bytes.
///
/// A single letter means the power of two, as `dd`, `zstd` and `mount` have it: `64k` is `64KiB`. `KB`, `MB` and `GB`
/// are powers of ten.
///
/// # Errors
/// Text that is no size, in words meant for the user.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let trimmed = text.trim();
    let lone = trimmed
        .strip_suffix(|c: char| "kmgtKMGT".contains(c))
        .filter(|number| number.ends_with(|c: char| c.is_ascii_digit()));
    let spelled = match lone {
        Some(_) => format!("{trimmed}iB"),
        None => trimmed.to_owned(),
    };
    spelled
        .parse::<ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| SizeError::Unreadable(text.to_owned()))
}

/// Parses a block size: a power of two between [`MIN_BLOCK`] and [`MAX_BLOCK`], in bytes.
///
/// # Errors
/// Text that is no size, or a size that cannot be a block size, in words meant for the user.
pub fn parse_block_size(text: &str) -> Result<u32, SizeError> {
    let size = parse(text)?;
    let fits = usize::try_from(size).is_ok_and(|size| (MIN_BLOCK..=MAX_BLOCK).contains(&size));
    match u32::try_from(size) {
        Ok(size) if fits && size.is_power_of_two() => Ok(size),
        _ => Err(SizeError::Block(size)),
    }
}

/// Parses a share of parity, in percent: `5%` or `5`; 0 for none.
///
/// # Errors
/// Anything that is no whole number of at most [`MAX_PARITY`], in words meant for the user.
pub fn parse_percent(text: &str) -> Result<u8, SizeError> {
    let number = text.trim().trim_end_matches('%').trim_end();
    number
        .parse()
        .ok()
        .filter(|percent| *percent <= MAX_PARITY)
        .ok_or_else(|| SizeError::Parity(text.to_owned()))
}

/// A size for people, `12.3 MiB`.
#[must_use]
pub fn show(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_letters_are_powers_of_two() {
        assert_eq!(parse("64k"), Ok(64 << 10));
        assert_eq!(parse("64K"), Ok(64 << 10));
        assert_eq!(parse("256M"), Ok(256 << 20));
        assert_eq!(parse("64KiB"), Ok(64 << 10));
        assert_eq!(parse("64kB"), Ok(64_000));
        assert_eq!(parse("65536"), Ok(65536));
        assert_eq!(parse(" 1 MiB "), Ok(1 << 20));
    }

    #[test]
    fn percents_are_whole_and_at_most_half() {
        assert_eq!(
            (parse_percent("5%"), parse_percent("50"), parse_percent("0")),
            (Ok(5), Ok(50), Ok(0))
        );
        for bad in ["", "%", "51%", "-1", "5.5%", "5 percent", "256"] {
            assert!(parse_percent(bad).is_err_and(|e| e.to_string().contains(bad)), "{bad}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_text() {
        for bad in ["", "k", "12x", "-1", "1.2.3M", "é", "abcé"] {
            assert!(parse(bad).is_err_and(|e| e.to_string().contains(bad)), "{bad}");
        }
    }

    #[test]
    fn block_sizes_are_powers_of_two_in_range() {
        assert_eq!(parse_block_size("4k"), Ok(4096));
        assert_eq!(parse_block_size("16KiB"), Ok(16384));
        assert_eq!(parse_block_size("1MiB"), Ok(1 << 20));
        for bad in ["0", "2k", "2M", "16kB", "5000", "99999999999G"] {
            assert!(parse_block_size(bad).is_err(), "{bad}");
        }
    }
}
