//! `lmfs work` on other machines: here they are processes on this one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use lmfs_tests::{Finished, Scratch, data, diff, lmfs, lmfs_path, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A running `lmfs work`. Dropping it ends it.
struct Worker {
    process: Child,
    log: PathBuf,
}

impl Worker {
    fn start(scratch: &Scratch, name: &str, args: &[&str]) -> Worker {
        let log = scratch.path(name);
        let output = File::create(&log).unwrap();
        let mut command = Command::new(lmfs_path());
        command.arg("work").args(args).stdin(Stdio::null());
        let process = command
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Worker { process, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn has_begun(&self) -> bool {
        self.log().contains("packing for")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        let mut ended = None;
        until("the worker ends", || {
            ended = self.process.try_wait().unwrap();
            ended.is_some()
        });
        assert!(!self.log().contains("panicked"), "{}", self.log());
        ended.unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}

/// Two books in pieces, of which no two are alike: what is coded behind something else depends on the order.
fn fill(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let books = data("text");
    let mut names: Vec<PathBuf> = fs::read_dir(books)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    let text: Vec<u8> = names
        .iter()
        .flat_map(|name| fs::read(name).unwrap())
        .take(300_000)
        .collect();
    for (n, piece) in text.chunks(40_000).enumerate() {
        fs::write(folder.join(format!("{n}.txt")), piece).unwrap();
    }
}

fn filled(args: &[&str]) -> Scratch {
    let scratch = Scratch::with_store(args);
    fill(&scratch.path("original"));
    let mount = scratch.mount(&[]);
    lmfs_tests::copy_in(&scratch.path("original"), &mount.path("copy"));
    mount.umount();
    scratch
}

/// What each file takes, and by which methods: the same wherever its blocks were encoded.
fn stored(scratch: &Scratch) -> Vec<Value> {
    let mount = scratch.mount(&[]);
    diff(&scratch.path("original"), &mount.path("copy"));
    let files = fs::read_dir(mount.path("copy"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    let args = ["stat", "--json"].map(PathBuf::from).into_iter().chain(files);
    let shown = lmfs(args).ok().json();
    mount.umount();
    scratch.lmfs("check", &["--data"]).ok();
    let files = shown["files"].as_array().unwrap();
    let keys = ["size", "stored", "blocks", "waiting", "references"];
    files
        .iter()
        .map(|file| keys.iter().map(|key| (key.to_string(), file[key].clone())).collect())
        .collect()
}

fn pack(scratch: &Scratch, args: &[&str]) -> Finished {
    scratch.lmfs("pack", args).ok()
}

#[test]
fn two_workers_pack_a_mounted_store_and_one_is_killed() {
    let args = ["--model", "builtin:tiny", "--prefer", "size"];
    let (scratch, local) = (filled(&args), filled(&args));
    let socket = scratch.path("socket");
    let address = socket.to_str().unwrap();
    let mut one = Worker::start(&scratch, "one.log", &[address, "--threads", "1"]);
    let mount = scratch.mount(&[]);
    let packed = std::thread::scope(|scope| {
        let packing = scope.spawn(|| mount.pack(&["--jobs", "1", "--json", "--workers", address]));
        until("it listens", || socket.exists());
        let mut other = Worker::start(&scratch, "other.log", &[address, "--threads", "1"]);
        until("it works", || other.has_begun());
        other.signal(Signal::KILL);
        assert!(!other.end().success());
        packing.join().unwrap()
    });
    let summary = packed.json();
    assert_eq!(summary["blocks_failed"], 0, "{packed}");
    assert!(summary["worker_bytes"].as_u64().unwrap() > 0, "{packed}");
    assert!(one.end().success(), "it ends with the packing");
    assert!(one.log().contains("encoded"), "{}", one.log());
    assert!(!socket.exists());
    mount.umount();

    pack(&local, &[]);
    let (here, there) = (stored(&local), stored(&scratch));
    // Which blocks are coded behind which depends on their order, and so does what they take.
    for (here, there) in here.iter().zip(&there) {
        assert!(here["waiting"] == 0 && there["waiting"] == 0, "{here:#?} {there:#?}");
        assert_eq!((&here["size"], &here["blocks"]), (&there["size"], &there["blocks"]));
    }
    assert_eq!(here.len(), there.len());
}

#[test]
fn a_closed_store_is_packed_over_tcp_by_those_who_know_the_token() {
    let scratch = filled(&["--model", "none"]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let files = ["token", "wrong"].map(|name| {
        let file = scratch.path(name);
        fs::write(&file, format!("{name}, but long enough to be one\n")).unwrap();
        file.to_str().unwrap().to_owned()
    });
    let [token, wrong] = files.each_ref().map(|file| ["--token-file", file.as_str()]);
    let start = |name, token: &[&str]| Worker::start(&scratch, name, &[&[address.as_str(), "-T1"], token].concat());
    let mut refused = start("refused.log", &wrong);
    let mut without = start("without.log", &[]);
    let mut good = start("good.log", &token);
    // They look for a packer now and then, so some run is long enough for each of them.
    let ended = |worker: &mut Worker| worker.process.try_wait().unwrap().is_some();
    while !good.has_begun() || !ended(&mut refused) || !ended(&mut without) {
        let packed = pack(
            &scratch,
            &[&["--again", "--json", "--workers", &address], &token[..]].concat(),
        );
        assert_eq!(packed.json()["blocks_failed"], 0, "{packed}");
        if !good.has_begun() && ended(&mut good) {
            good = start("good.log", &token);
        }
    }
    for (worker, why) in [(&mut refused, "refuses"), (&mut without, "asks for a token")] {
        assert_eq!(worker.end().code(), Some(1));
        assert!(worker.log().contains(why), "{}", worker.log());
    }
    assert!(stored(&scratch).iter().all(|file| file["waiting"] == 0));
}

#[test]
fn what_others_could_reach_needs_a_token_and_a_worker_ends_when_it_is_told_to() {
    let scratch = filled(&["--model", "none"]);
    scratch.lmfs("pack", &["--workers", "0.0.0.0:0"]).refused(&["token"]);
    scratch.lmfs("pack", &["--workers", "nowhere"]).refused(&["HOST:PORT"]);
    scratch.lmfs("pack", &["--token-file", "x"]).refused(&["--workers"]);
    let mount = scratch.mount(&[]);
    let mounted = lmfs(["pack", mount.path("").to_str().unwrap(), "--workers", "0.0.0.0:0"]);
    mounted.refused(&["token"]);
    mount.umount();

    let socket = scratch.path("nobody");
    let mut worker = Worker::start(&scratch, "worker.log", &[socket.to_str().unwrap(), "--stay"]);
    until("it looks for a packer", || worker.log().contains("no packer"));
    worker.signal(Signal::TERM);
    assert!(worker.end().success());
}
