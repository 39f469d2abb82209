//! What `cargo bench --bench many_files` measures with a million files, with fewer.
#![allow(clippy::panic, missing_docs)]

#[path = "../benches/many_files/work.rs"]
mod work;

#[test]
fn twenty_thousand_files_are_made_listed_checked_opened_and_deleted() {
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let files = 20_000;
    let measured = work::run(dir.path(), files, &mut |step, seconds, cpu| {
        println!("{step}: {seconds:.2} s, {cpu:.2} s of CPU time");
    });
    assert!(measured.took.len() > 10);
    let each = measured.index_bytes / files;
    println!(
        "{each} bytes a file in the index, {} replayed after a crash, {} bytes of index left",
        measured.replayed, measured.index_bytes_after_deleting
    );
    assert!(each < 400, "{each} bytes a file in the index");
    assert!(measured.log_bytes > files * 100);
}
