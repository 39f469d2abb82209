//! Memory of `lmfs compress` and `lmfs decompress` over a pipe of a gigabyte.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use lmfs_tests::{Noise, Scratch, data, lmfs_path};

use crate::seconds;

const LEN: usize = 1 << 30;

pub fn print() {
    println!("\n### Memory over a pipe of 1 GiB\n");
    println!("Half noise, half text; peak resident memory (VmHWM) after 64 MiB and at the end.\n");
    println!("| command | after 64 MiB | at the end | MB/s |");
    println!("|---|---|---|---|");
    let scratch = Scratch::empty();
    let packed = scratch.path("packed");
    let text = fs::read(data("text/alice29.txt")).unwrap();
    let chunk: Vec<u8> = [
        Noise::new(3).bytes(1 << 19),
        text.iter().copied().cycle().take(1 << 19).collect(),
    ]
    .concat();
    {
        let mut left = LEN / chunk.len();
        let mut give = |buffer: &mut Vec<u8>| {
            buffer.clone_from(&chunk);
            let more = left > 0;
            left = left.saturating_sub(1);
            more
        };
        row("compress -1", &mut give, File::create(&packed).unwrap().into());
        let mut container = File::open(&packed).unwrap();
        let mut give = |buffer: &mut Vec<u8>| {
            buffer.resize(1 << 20, 0);
            let len = container.read(buffer).unwrap();
            buffer.truncate(len);
            len > 0
        };
        row("decompress", &mut give, Stdio::null());
    }
}

fn row(words: &str, give: &mut dyn FnMut(&mut Vec<u8>) -> bool, to: Stdio) {
    let mut command = Command::new(lmfs_path());
    let mut child = command
        .args(words.split(' '))
        .stdin(Stdio::piped())
        .stdout(to)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let (mut early, mut total, mut buffer) = (0, 0, Vec::new());
    let took = seconds(|| {
        while give(&mut buffer) {
            stdin.write_all(&buffer).unwrap();
            total += buffer.len();
            if early == 0 && total >= 64 << 20 {
                early = peak(child.id());
            }
        }
    });
    let late = peak(child.id());
    drop(stdin);
    assert!(child.wait().unwrap().success());
    println!(
        "| {words} | {:.1} MiB | {:.1} MiB after {} MiB | {:.0} |",
        early as f64 / 1048576.0,
        late as f64 / 1048576.0,
        total >> 20,
        total as f64 / took / 1e6
    );
}

/// Peak resident set of a process in bytes: proc_pid_status(5).
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
