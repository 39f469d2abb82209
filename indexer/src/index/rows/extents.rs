//! The extents of one run of a file's blocks: stretches of stored blocks with consecutive numbers. A file that was
//! written at once, and a copy of it, take a few bytes for 64 blocks. docs/FORMAT.md, "Page".

use super::RUN;
use crate::wire::{Reader, put_signed, put_varint};

/// One block of a file, as its row has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// Number of the stored block.
    pub(crate) id: u64,
    /// Bytes that count.
    pub(crate) raw_len: u32,
}

/// The blocks of one run, always [`RUN`] of them.
pub(crate) type Run = Vec<Option<Use>>;

const PRESENT: u64 = 1;
const SAME_RAW_LEN: u64 = 2;
/// Bits of a stretch's head that are no count.
const FLAGS: u32 = 2;

/// What a stretch is told by: the block before it.
#[derive(Clone, Copy, Default)]
struct Before {
    id: u64,
    raw_len: u32,
}

/// The extents of one run, without the holes at its end; None for a run that is all holes.
pub(crate) fn encode_run(extents: &[Option<Use>]) -> Option<Vec<u8>> {
    let len = extents.iter().rposition(Option::is_some)? + 1;
    let mut rest = extents.get(..len)?;
    let (mut out, mut before) = (Vec::new(), Before::default());
    while let Some((first, _)) = rest.split_first() {
        let n = stretch(rest);
        let head = (n as u64) << FLAGS;
        if let Some(first) = first {
            let same = first.raw_len == before.raw_len;
            put_varint(&mut out, head | PRESENT | if same { SAME_RAW_LEN } else { 0 });
            put_signed(&mut out, first.id.wrapping_sub(before.id).wrapping_sub(1) as i64);
            if !same {
                put_varint(&mut out, u64::from(first.raw_len));
            }
            before = Before {
                id: first.id + n as u64 - 1,
                raw_len: first.raw_len,
            };
        } else {
            put_varint(&mut out, head);
        }
        rest = rest.get(n..).unwrap_or_default();
    }
    Some(out)
}

/// How many of these blocks, of which there are some, are holes, or have consecutive numbers and one length.
fn stretch(extents: &[Option<Use>]) -> usize {
    let mut last = extents.first().copied().flatten();
    let more = extents.iter().skip(1).take_while(|next| {
        let goes_on = match (last, next) {
            (None, None) => true,
            (Some(a), Some(b)) => a.id.checked_add(1) == Some(b.id) && a.raw_len == b.raw_len,
            _ => false,
        };
        last = **next;
        goes_on
    });
    1 + more.count()
}

/// Reads a run's extents.
pub(crate) fn decode_run(bytes: &[u8]) -> Option<Run> {
    let mut r = Reader::new(bytes);
    let (mut out, mut before) = (Run::with_capacity(RUN as usize), Before::default());
    while !r.is_empty() {
        let head = r.varint()?;
        let n = (head >> FLAGS) as usize;
        if n == 0 || n > RUN as usize - out.len() {
            return None;
        }
        if head & PRESENT == 0 {
            if head & SAME_RAW_LEN != 0 {
                return None;
            }
            out.resize(out.len() + n, None);
            continue;
        }
        let id = before.id.wrapping_add(r.signed()? as u64).wrapping_add(1);
        let last = id.checked_add(n as u64 - 1)?;
        crate::change::block_id(id).and(crate::change::block_id(last)).ok()?;
        let raw_len = match head & SAME_RAW_LEN {
            0 => r.varint32()?,
            _ => before.raw_len,
        };
        out.extend((id..=last).map(|id| Some(Use { id, raw_len })));
        before = Before { id: last, raw_len };
    }
    out.resize(RUN as usize, None);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_use() -> impl Strategy<Value = Option<Use>> {
        // Numbers from a few and from all, so that some are consecutive.
        let id = prop_oneof![1..6u64, 1..=i64::MAX as u64];
        let used = (id, prop_oneof![Just(16384), 0..=u32::MAX]).prop_map(|(id, raw_len)| Use { id, raw_len });
        proptest::option::of(used)
    }

    proptest! {
        #[test]
        fn runs_come_back(mut run in proptest::collection::vec(any_use(), 0..=RUN as usize)) {
            run.resize(RUN as usize, None);
            match encode_run(&run) {
                Some(bytes) => prop_assert_eq!(decode_run(&bytes), Some(run)),
                None => prop_assert!(run.iter().all(Option::is_none)),
            }
        }

        #[test]
        fn any_bytes_are_a_run_or_none(bytes: Vec<u8>) {
            if let Some(run) = decode_run(&bytes) {
                prop_assert_eq!(run.len(), RUN as usize);
            }
        }
    }

    #[test]
    fn a_file_written_at_once_takes_a_few_bytes() {
        let run: Run = (0..RUN)
            .map(|n| {
                Some(Use {
                    id: 1_000_000 + n,
                    raw_len: 16384,
                })
            })
            .collect();
        assert_eq!(encode_run(&run).map(|bytes| bytes.len()), Some(8));
    }
}
