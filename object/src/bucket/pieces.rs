//! How a file that grows becomes pieces: few for readers, and little that is stored twice.

use std::ops::Range;

use super::head::{MAX_PIECE, Piece};

/// Pieces of one level may be as many as this, before they become one of the next level.
const FANOUT: usize = 8;
/// Pieces of less than eight times this are of the lowest level.
const SMALLEST: u64 = 1 << 10;

/// What becomes of a file's pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// So many of the old pieces stay.
    pub keep: usize,
    /// What is stored anew behind them.
    pub store: Vec<Range<u64>>,
}

/// The level of a piece: eight times as long is one more.
fn level(len: u64) -> u32 {
    (len.max(SMALLEST) / SMALLEST).ilog2() / FANOUT.ilog2()
}

/// What is to be done for a file that has `old` pieces and is `len` bytes long by now, no shorter than they are. One
/// that is `complete` grows no more and gets as few pieces as possible.
#[must_use]
pub fn plan(old: &[Piece], len: u64, complete: bool) -> Plan {
    let mut keep = old.len();
    let stored: u64 = old.iter().map(|piece| piece.length).sum();
    let mut from = stored;
    let fewest = usize::try_from(len.div_ceil(MAX_PIECE)).unwrap_or(usize::MAX);
    if complete && len > 0 && old.len() > fewest.saturating_add(2) {
        (keep, from) = (0, 0);
    }
    // As in a log-structured merge tree: each byte is stored about once a level.
    while from < len && keep > 0 {
        let most = level(len - from);
        let alike = old
            .iter()
            .take(keep)
            .rev()
            .take_while(|p| level(p.length) <= most && p.length < MAX_PIECE / 2);
        let alike: Vec<u64> = alike.map(|piece| piece.length).collect();
        if alike.len() < FANOUT - 1 {
            break;
        }
        keep -= alike.len();
        from -= alike.iter().sum::<u64>();
    }
    let mut store = Vec::new();
    while from < len {
        let end = (from + MAX_PIECE).min(len);
        store.push(from..end);
        from = end;
    }
    Plan { keep, store }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    /// Grows a file by `step` at a time and says how many pieces it had at most, and how many bytes were stored.
    fn grow(step: u64, to: u64) -> (usize, u64, usize) {
        let (mut pieces, mut most, mut stored) = (Vec::<Piece>::new(), 0, 0);
        let mut len = 0;
        while len < to {
            len += step;
            let plan = plan(&pieces, len, false);
            pieces.truncate(plan.keep);
            let mut at: u64 = pieces.iter().map(|piece| piece.length).sum();
            for range in plan.store {
                assert_eq!(range.start, at);
                at = range.end;
                stored += range.end - range.start;
                pieces.push(Piece {
                    object: String::new(),
                    length: range.end - range.start,
                    sha256: String::new(),
                });
            }
            assert_eq!(at, len);
            assert!(pieces.iter().all(|piece| piece.length <= MAX_PIECE));
            most = most.max(pieces.len());
        }
        let last = plan(&pieces, len, true);
        (most, stored, last.keep + last.store.len())
    }

    #[test]
    fn a_file_that_grows_has_few_pieces_and_is_stored_a_few_times() {
        for (step, times, most) in [
            (1 << 10, 10, 40),
            (100 << 10, 5, 30),
            (1 << 20, 4, 20),
            (20 << 20, 2, 6),
        ] {
            let to = 64 << 20;
            let (pieces, stored, last) = grow(step, to);
            assert!(pieces <= most, "steps of {step}: {pieces} pieces");
            assert!(stored <= times * to, "steps of {step}: {stored} bytes");
            assert!(last <= 5, "steps of {step}: {last} in the end");
        }
    }

    #[test]
    fn what_is_stored_stays() {
        let piece = |length| Piece {
            object: String::new(),
            length,
            sha256: String::new(),
        };
        let none = Plan { keep: 2, store: vec![] };
        let old = [piece(MAX_PIECE), piece(5)];
        assert_eq!(plan(&old, MAX_PIECE + 5, false), none);
        assert_eq!(plan(&old, MAX_PIECE + 5, true), none);
        assert_eq!(plan(&[], 0, true).store, []);
        let new = MAX_PIECE + 5..MAX_PIECE + 6;
        assert_eq!(plan(&old, MAX_PIECE + 6, false).store, std::slice::from_ref(&new));
    }
}
