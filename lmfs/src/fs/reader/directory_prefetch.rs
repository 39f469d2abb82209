//! Directory scans: a program that reads the files of a directory one after another finds the next ones decoded.
//!
//! Directories that were listed lately are remembered. Their files are then read in the order of their names, as they
//! were listed (shells, tar, grep), or of their inode numbers, which cp and fts(3) sort by. Who reads two files in a
//! row in either order is taken to go on, the more surely the longer it goes.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Listings remembered.
const LISTINGS: usize = 16;
/// Files of all of them. The files of a directory with more are not expected.
pub const MOST_FILES: usize = 1 << 16;
/// How far the next file may be from the one before: those between were not wanted, or the kernel had their pages.
const STRIDE: usize = 4;

/// The scans under way.
#[derive(Default)]
pub struct DirectoryScans(Mutex<State>);

#[derive(Default)]
struct State {
    /// The latest first.
    listings: VecDeque<Listing>,
    /// The order in which files were read last, 0 by name, 1 by number, and how many in a row.
    order: usize,
    run: usize,
}

/// The files of a directory.
struct Listing {
    dir: u64,
    /// Inode numbers in the order of names.
    by_name: Vec<u64>,
    /// Inode numbers in their own order, with their place in the order of names.
    by_number: Vec<(u64, usize)>,
    /// Where the file that was read last is in the two orders.
    last: Option<[usize; 2]>,
    /// Where the files begin that were not said to be next, in the order of the scan.
    asked: usize,
}

impl DirectoryScans {
    /// Remembers that `dir` was listed and has these files, as inode numbers in the order of their names.
    pub fn listed(&self, dir: u64, files: Vec<u64>) {
        let listings = &mut self.0.lock().listings;
        let old = listings.iter().position(|listing| listing.dir == dir);
        let old = old.and_then(|at| listings.remove(at));
        if files.len() < 2 || files.len() > MOST_FILES {
            return;
        }
        // Listing a directory again amid reading it changes nothing.
        let listing = old.filter(|old| old.by_name == files);
        listings.push_front(listing.unwrap_or_else(|| Listing::new(dir, files)));
        let mut room = MOST_FILES;
        let fits = |listing: &&Listing| {
            let left = room.checked_sub(listing.by_name.len());
            room = left.unwrap_or(0);
            left.is_some()
        };
        let fit = listings.iter().take(LISTINGS).take_while(fits).count();
        listings.truncate(fit);
    }

    /// Notes that file `ino` is being read, and says which of the `count` files after it are expected next and were not
    /// said before: none if it is not part of a scan, and at most two for each file that the scan has gone on.
    pub fn next(&self, ino: u64, count: usize) -> Vec<u64> {
        let state = &mut *self.0.lock();
        let found = state.listings.iter_mut().find_map(|listing| {
            let place = listing.place(ino)?;
            Some((listing, place))
        });
        let Some((listing, place)) = found else {
            return Vec::new();
        };
        let last = listing.last.replace(place);
        if last != Some(place) {
            let run = state.run;
            let goes_on = |order: &usize| {
                let now = place.get(*order).copied().unwrap_or(usize::MAX);
                match last.and_then(|last| last.get(*order).copied()) {
                    Some(before) => before < now && now <= before + STRIDE,
                    // A scan through a tree has come to its next directory.
                    None => run > 0 && now < STRIDE,
                }
            };
            let order = [state.order, 1 - state.order].into_iter().find(goes_on);
            if order == Some(state.order) {
                state.run += 1;
            } else {
                (state.order, state.run) = order.map_or((state.order, 0), |order| (order, 1));
                listing.asked = 0;
            }
        }
        listing.after(place, state.order, count.min(2 * state.run))
    }
}

impl Listing {
    fn new(dir: u64, by_name: Vec<u64>) -> Listing {
        let mut by_number: Vec<(u64, usize)> = by_name.iter().copied().zip(0..).collect();
        by_number.sort_unstable();
        Listing {
            dir,
            by_name,
            by_number,
            last: None,
            asked: 0,
        }
    }

    /// Where a file is in the two orders.
    fn place(&self, ino: u64) -> Option<[usize; 2]> {
        let at = self.by_number.binary_search_by_key(&ino, |&(ino, _)| ino).ok()?;
        let &(_, name) = self.by_number.get(at)?;
        Some([name, at])
    }

    /// Those of the `count` files after a place in an order that were not asked for.
    fn after(&mut self, place: [usize; 2], order: usize, count: usize) -> Vec<u64> {
        let [name, number] = place;
        let next = 1 + if order == 0 { name } else { number };
        let range = next.max(self.asked)..(next + count).min(self.by_name.len());
        self.asked = self.asked.max(range.end);
        if order == 0 {
            self.by_name.get(range).unwrap_or_default().to_vec()
        } else {
            let after = self.by_number.get(range).unwrap_or_default();
            after.iter().map(|&(ino, _)| ino).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scan over a directory with these files.
    fn scans(files: &[u64]) -> DirectoryScans {
        let scans = DirectoryScans::default();
        scans.listed(1, files.to_vec());
        scans
    }

    #[test]
    fn files_read_in_the_order_of_names_go_on_in_it() {
        let scans = scans(&[50, 20, 40, 30, 60]);
        assert!(scans.next(50, 2).is_empty(), "one file is no scan");
        assert_eq!(scans.next(20, 1), [40]);
        assert_eq!(scans.next(20, 9), [30], "the same file again, now nearer its end");
        assert_eq!(scans.next(40, 9), [60], "the others were said");
        assert!(scans.next(60, 9).is_empty(), "one was left out; the end");
    }

    #[test]
    fn a_scan_looks_further_the_longer_it_goes() {
        let files: Vec<u64> = (100..200).collect();
        let scans = scans(&files);
        let furthest = (100..106).map(|ino| scans.next(ino, 7).last().copied());
        let furthest: Vec<u64> = furthest.flatten().collect();
        assert_eq!(furthest, [103, 106, 109, 111, 112], "2, 4, 6, then 7 after the file");
    }

    #[test]
    fn files_read_in_the_order_of_inode_numbers_go_on_in_it() {
        let scans = scans(&[50, 20, 40, 30, 60]);
        assert!(scans.next(20, 9).is_empty());
        assert_eq!(scans.next(30, 9), [60], "later by name, too, which is tried first");
        assert_eq!(scans.next(40, 9), [50, 60], "but not this one");
        assert!(scans.next(50, 9).is_empty(), "that was said");
    }

    #[test]
    fn single_files_here_and_there_are_no_scan() {
        let files: Vec<u64> = (100..200).collect();
        let scans = scans(&files);
        for ino in [150, 170, 110, 130, 199, 100, 198] {
            assert!(scans.next(ino, 4).is_empty(), "{ino}");
        }
        assert!(scans.next(7, 4).is_empty(), "in no listing");
    }

    #[test]
    fn a_scan_goes_on_into_the_next_directory() {
        let scans = scans(&[1, 2, 3]);
        scans.listed(7, vec![11, 12, 13, 14, 15, 16]);
        scans.listed(8, vec![21, 22, 23, 24, 25, 26]);
        for ino in [1, 2, 3] {
            scans.next(ino, 2);
        }
        assert_eq!(scans.next(11, 9), [12, 13, 14, 15, 16]);
        assert!(scans.next(26, 9).is_empty(), "not the beginning of one");
        assert!(scans.next(21, 9).is_empty(), "that was the end of the scan");
        assert_eq!(scans.next(22, 9), [23, 24]);
    }

    #[test]
    fn few_listings_are_remembered_and_huge_ones_are_not() {
        let scans = DirectoryScans::default();
        for dir in 0..100 {
            scans.listed(dir, vec![1000 + 2 * dir, 1001 + 2 * dir]);
        }
        let remembered = |dir: u64| scans.0.lock().listings.iter().any(|listing| listing.dir == dir);
        assert_eq!((0..100).filter(|&dir| remembered(dir)).count(), LISTINGS);
        scans.listed(200, (5000..5000 + MOST_FILES as u64 - 10).collect());
        assert!(remembered(200) && remembered(99) && !remembered(90), "no room for all");
        scans.listed(7, (0..=MOST_FILES as u64).collect());
        assert!(!remembered(7));
    }

    #[test]
    fn listing_again_does_not_end_a_scan() {
        let scans = scans(&[1, 2, 3, 4]);
        scans.next(1, 1);
        scans.listed(1, vec![1, 2, 3, 4]);
        assert_eq!(scans.next(2, 1), [3], "the second in a row");
        scans.listed(1, vec![1, 2, 3, 4, 5]);
        assert_eq!(scans.next(3, 1), [4], "as the first of another directory");
    }
}
