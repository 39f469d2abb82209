//! Appends, renames and new files, beside a FUSE filesystem that only passes on what it is asked.
//!
//! `PASSTHROUGH_LL` names libfuse's example of that name. It is built from libfuse's sources:
//! `cc -O2 -DHAVE_COPY_FILE_RANGE example/passthrough_ll.c $(pkg-config fuse3 --cflags --libs) -o passthrough_ll`.
//! By itself it lets everybody do everything. With `-o default_permissions` the kernel checks permissions, as it does
//! for lmfs, and asks for the attributes of a directory after each change of it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use lmfs_tests::{Scratch, run, until};

use crate::seconds;

const APPENDS: usize = 50_000;
const RENAMES: usize = 10_000;
const FILES: usize = 5_000;
const TRIES: usize = 5;

type Operation = (&'static str, usize, fn(&Path));

const OPERATIONS: [Operation; 3] = [
    ("appends of 4 bytes", APPENDS, append),
    ("renames", RENAMES, rename),
    ("files of 100 bytes made and removed", FILES, make_and_remove),
];

pub fn print() {
    println!("\n### Small operations\n");
    println!("| what | lmfs | passthrough_ll | ratio | with permissions | ratio |");
    println!("|---|---|---|---|---|---|");
    let scratch = Scratch::with_store(&["--model=none"]);
    let mount = scratch.mount(&[]);
    let peers = ["", ",default_permissions"].map(|options| Passthrough::start(&scratch, options));
    for (name, count, operate) in OPERATIONS {
        let rate = |root: &Path| count as f64 / seconds(|| operate(root));
        let (mut ours, mut theirs) = (0.0_f64, [0.0_f64; 2]);
        for _ in 0..TRIES {
            ours = ours.max(rate(&mount.path("")));
            for (peer, theirs) in peers.iter().zip(&mut theirs) {
                *theirs = theirs.max(peer.as_ref().map_or(0.0, |peer| rate(&peer.point)));
            }
        }
        let theirs = theirs.map(|theirs| match theirs {
            0.0 => "not measured: PASSTHROUGH_LL names no program | ".to_owned(),
            theirs => format!("{theirs:.0} a second | {:.2}", ours / theirs),
        });
        println!("| {name} | {ours:.0} a second | {} |", theirs.join(" | "));
    }
    drop(peers);
    mount.umount();
}

fn append(root: &Path) {
    let path = root.join("appended");
    let mut file = File::options().append(true).create(true).open(&path).unwrap();
    for _ in 0..APPENDS {
        file.write_all(b"four").unwrap();
    }
    drop(file);
    fs::remove_file(path).unwrap();
}

fn rename(root: &Path) {
    let names = [root.join("one name"), root.join("another name")];
    let [one, other] = &names;
    fs::write(one, "renamed").unwrap();
    for _ in 0..RENAMES / 2 {
        fs::rename(one, other).unwrap();
        fs::rename(other, one).unwrap();
    }
    fs::remove_file(one).unwrap();
}

fn make_and_remove(root: &Path) {
    let bytes = [b'x'; 100];
    let path = |n: usize| root.join(format!("small-{n}"));
    (0..FILES).for_each(|n| fs::write(path(n), bytes).unwrap());
    (0..FILES).for_each(|n| fs::remove_file(path(n)).unwrap());
}

/// A folder of the disk on which the store lies, seen through passthrough_ll.
struct Passthrough {
    program: Child,
    point: PathBuf,
}

impl Passthrough {
    fn start(scratch: &Scratch, options: &str) -> Option<Self> {
        let program = std::env::var_os("PASSTHROUGH_LL")?;
        let place = |name: &str| scratch.path(format!("{name}{options}").replace(',', " "));
        let (point, folder) = (place("through"), place("plain"));
        fs::create_dir(&point).unwrap();
        fs::create_dir(&folder).unwrap();
        let program = Command::new(program)
            .arg("-f")
            .arg("-o")
            .arg(format!("source={}{options}", folder.display()))
            .arg(&point)
            .spawn()
            .expect("PASSTHROUGH_LL names a program");
        let passthrough = Self { program, point };
        fs::write(folder.join("here"), "").unwrap();
        until("passthrough_ll is mounted", || passthrough.point.join("here").exists());
        Some(passthrough)
    }
}

impl Drop for Passthrough {
    fn drop(&mut self) {
        let _ = run(Command::new("fusermount3").arg("-u").arg(&self.point));
        let _ = self.program.wait();
    }
}
