//! Packing in the background, when files are idle.

use super::*;

#[test]
fn only_idle_files_are_packed_in_the_background_the_oldest_first() {
    let f = Fixture::new();
    for (ino, age) in [(10, 31), (11, 500), (12, 10), (13, -3600)] {
        f.file(ino, &text(BLOCK), age);
    }
    let idle = Some((f.environment.now(), Duration::from_secs(30)));
    let skip = std::collections::HashSet::new();
    let mut queue = queue::Queue::make(
        &f.store,
        queue::Selection {
            scope: &Scope::All,
            idle,
            skip: &skip,
            again: false,
        },
        &Mutex::default(),
        &Stop::new(),
    )
    .unwrap();
    let mut spec = Vec::new();
    while let queue::Next::Head(group, blocks) = queue.next(&f.store, &skip).unwrap() {
        spec.extend(blocks.iter().map(|waiting| waiting.ino));
        queue.head_is_done(group, None);
    }
    assert_eq!(spec, [11, 10]);
    assert_eq!(queue.bytes, 2 * BLOCK as u64);
    // File 12 in twenty seconds; a time stamp in the future counts from now.
    assert_eq!(queue.next_idle, Some(f.environment.now() + Duration::from_secs(20)));
}

/// Regression: a file whose last change lay ahead of the clock was never packed, and the background looked through all
/// inodes for it every half a minute.
#[test]
fn a_file_from_the_future_is_packed_once_our_own_clock_says_that_it_is_idle() {
    let f = Fixture::new();
    f.file(10, &text(BLOCK), -100_000_000_000);
    f.file(11, &text(BLOCK), -40);
    let packer = f.packer();
    let look = |later: u64| {
        f.environment.later.store(later, Ordering::Relaxed);
        run_idle(&packer, &f).progress.total_bytes
    };
    assert_eq!((look(0), look(29)), (0, 0));
    // Written again: it counts from then on.
    f.file(11, &text(BLOCK), -50);
    assert_eq!(look(30), BLOCK as u64, "the one that was left alone");
    assert!(!f.methods(10)[0].1 && f.methods(11)[0].1);
    assert_eq!(look(59), 0);
    // The clock is set back: nobody knows for how long it was left alone.
    assert_eq!((look(0), look(29)), (0, 0));
    assert_eq!(look(30), BLOCK as u64);
    assert!(!f.methods(11)[0].1);
}

#[test]
fn the_background_packs_when_files_have_become_idle_and_ends_when_told() {
    let f = Fixture::new();
    f.file(10, &text(2 * BLOCK), 5);
    let packer = f.packer();
    assert_eq!(packer.status().state, State::Off);
    let background = packer.spawn_background().unwrap();
    assert_eq!(packer.status().state, State::Waiting);
    f.file(11, &text(BLOCK), 60);
    until("the idle file is packed", || !f.methods(11)[0].1);
    assert!(f.methods(10)[0].1, "the other was changed five seconds ago");
    // A user who asks does not wait for files to become idle.
    run(&packer);
    assert!(!f.methods(10)[0].1);
    drop(background);
    assert_eq!(packer.status().state, State::Off);
    f.file(12, &text(BLOCK), 60);
    assert!(f.methods(12)[0].1, "nobody packs any more");
}
