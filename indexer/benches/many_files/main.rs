//! Many small files: what they cost in time and in bytes. `FILES` says how many, `TMPDIR` where.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]

mod work;

fn main() {
    let files: u64 = std::env::var("FILES").map_or(1_000_000, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let measured = work::run(dir.path(), files, &mut |step, seconds, cpu| {
        eprintln!("{step}: {seconds:.1} s, {cpu:.1} s of CPU time");
    });
    println!(
        "| {files} files of 100 bytes in one directory | seconds | of CPU time | microseconds of it a file |\n|---|---|---|---|"
    );
    for (step, seconds, cpu) in &measured.took {
        println!("| {step} | {seconds:.2} | {cpu:.2} | {:.1} |", cpu * 1e6 / files as f64);
    }
    let each = |bytes: u64| bytes as f64 / files as f64;
    println!(
        "\nBytes a file: {:.0} in the index, {:.0} in the log. After the crash {} transactions were replayed. With 99 % of the files deleted the index takes {} bytes.",
        each(measured.index_bytes),
        each(measured.log_bytes),
        measured.replayed,
        measured.index_bytes_after_deleting,
    );
}
