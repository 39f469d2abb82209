//! `lmfs check --data`: damage named and repaired, interrupted and resumed, of mounted stores, with sums for sha256sum.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lmfs_tests::{Noise, Scratch, diff, lmfs, lmfs_path, run, until};
use rustix::process::{Pid, Signal, kill_process};

fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn sums_are_those_of_sha256sum() {
    let (scratch, _) = Scratch::filled(&[]);
    let sums = scratch.lmfs("check", &["--sha256"]).ok();
    let list = scratch.path("sums");
    fs::write(&list, &sums.stdout).unwrap();
    let mount = scratch.mount(&[]);
    let found = run(Command::new("sh")
        .args(["-c", "find . -type f -exec sha256sum {} +"])
        .current_dir(scratch.mountpoint()))
    .ok();
    // The program's output is bytes; one name is not UTF-8, which both print alike.
    assert_eq!(lines(&sums.stdout), lines(&found.stdout));
    assert!(lines(&sums.stdout).len() > 25);
    // Through a pipe, so that the bytes of that name stay what they are.
    mount.umount();
    let script = "\"$1\" check \"$2\" --sha256 -q > \"$3\"";
    let (program, store) = (lmfs_path(), scratch.store());
    run(Command::new("sh")
        .args(["-c", script, "sh"])
        .args([&program, &store, &list]))
    .ok();
    let mount = scratch.mount(&[]);
    let checked = run(Command::new("sha256sum")
        .args(["--quiet", "--strict", "-c"])
        .arg(&list)
        .current_dir(scratch.mountpoint()));
    checked.ok();
    mount.umount();
}

fn read_all(files: &[PathBuf]) -> BTreeMap<PathBuf, Vec<u8>> {
    files
        .iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn number(json: &serde_json::Value, pointer: &str) -> u64 {
    let value = json.pointer(pointer).and_then(serde_json::Value::as_u64);
    value.unwrap_or_else(|| panic!("no number {pointer}: {json:#}"))
}

/// Turns `n` bytes of a file over, from `at` on.
fn damage(path: &Path, at: usize, n: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes.iter_mut().skip(at).take(n).for_each(|b| *b = !*b);
    fs::write(path, bytes).unwrap();
}

#[test]
fn damage_is_repaired_from_parity_and_named_where_it_cannot_be() {
    let (scratch, original) = Scratch::filled(&["--parity=5%", "--block-size=4KiB"]);
    let status = scratch.lmfs("status", &["--json"]).ok().json();
    let (log, parity) = (number(&status, "/log_bytes"), number(&status, "/parity_bytes"));
    assert_eq!(number(&status, "/parity"), 5);
    assert!(parity * 20 > log && parity * 8 < log, "{parity} of {log}");
    let good = read_all(&scratch.store_files("segments"));
    let segment = good
        .keys()
        .find(|path| path.extension().unwrap() == "seg")
        .unwrap()
        .clone();
    let len = good.get(&segment).unwrap().len();
    let clean = scratch.lmfs("check", &["--data", "--repair", "--json"]).ok().json();
    assert_eq!(number(&clean, "/parity/segments"), 1);
    assert_eq!(number(&clean, "/parity/bytes"), len as u64);

    // One byte, a burst, the transactions at the end, the header, the end cut off.
    let tenth = len / 25;
    for (at, n) in [(60_000, 1), (100_000, tenth), (len - tenth, tenth), (0, 300)] {
        damage(&segment, at, n);
        let seen = scratch.lmfs("check", &["--data"]);
        assert_eq!(seen.status.code(), Some(1), "{seen}");
        assert!(seen.stdout.contains("--repair"), "{seen}");
        let repaired = scratch.lmfs("check", &["--repair", "--json"]);
        assert_eq!(repaired.status.code(), Some(3), "{repaired}");
        let json = repaired.json();
        assert_eq!(json.pointer("/parity/damaged/0/outcome").unwrap(), "repaired");
        assert_eq!(json.pointer("/clean").unwrap(), true);
        assert_eq!(read_all(&scratch.store_files("segments")), good, "{at} {n}");
        scratch.lmfs("check", &["--data"]).ok();
    }

    // A log that cannot be opened says what can be done, and can be mounted after that.
    damage(&segment, 100, 60);
    fs::remove_dir_all(scratch.store().join("index")).unwrap();
    let (store, point) = (scratch.store(), scratch.mountpoint());
    let mount = ["mount".as_ref(), store.as_os_str(), point.as_os_str()];
    lmfs(mount).refused(&["check --repair"]);
    assert_eq!(scratch.lmfs("check", &["--repair"]).status.code(), Some(3));
    let mounted = scratch.mount(&[]);
    diff(&original, &mounted.path("copy"));
    mounted.umount();
    // Nothing was written, so nothing changed.
    assert_eq!(read_all(&scratch.store_files("segments")), good);

    // Too much of the contents: named by path and range, and nothing else suffers.
    let noise = fs::read(original.join("noise.bin")).unwrap();
    let needle = noise.get(10_000..10_060).unwrap();
    let bytes = good.get(&segment).unwrap();
    let at = bytes.windows(60).position(|w| w == needle).unwrap();
    damage(&segment, at, len / 10);
    let seen = scratch.lmfs("check", &["--data", "--repair", "--json"]);
    assert_eq!(seen.status.code(), Some(1), "{seen}");
    let json = seen.json();
    assert_eq!(json.pointer("/parity/damaged/0/outcome").unwrap(), "lost");
    let damaged = json.pointer("/damage").unwrap().as_array().unwrap();
    assert!(!damaged.is_empty(), "{json:#}");
    for one in damaged {
        let path = one.get("path").unwrap().as_str().unwrap();
        assert_eq!(path, "/copy/noise.bin", "{json:#}");
        assert_eq!(number(one, "/offset") % 4096, 0);
        assert!((1..=4096).contains(&number(one, "/length")));
    }
    fs::write(&segment, bytes).unwrap();
    // Lost parity is made again, the same.
    let file = segment.with_extension("par");
    damage(&file, 0, usize::MAX);
    let seen = scratch.lmfs("check", &["--repair"]);
    assert_eq!(seen.status.code(), Some(3), "{seen}");
    assert_eq!(read_all(&scratch.store_files("segments")), good);
    let mount = scratch.mount(&[]);
    diff(&original, &mount.path("copy"));
    mount.umount();
}

#[test]
fn parity_can_be_had_later_and_given_up() {
    let (scratch, original) = Scratch::filled(&[]);
    let bytes = || number(&scratch.lmfs("status", &["--json"]).ok().json(), "/parity_bytes");
    assert_eq!(bytes(), 0);
    let first = scratch.lmfs("parity", &["20%", "--json"]).ok().json();
    assert!(bytes() * 5 > number(&first, "/log_bytes"), "{first}");
    assert_eq!(number(&first, "/parity_bytes"), bytes());
    let config = fs::read_to_string(scratch.store().join("config.toml")).unwrap();
    assert!(config.contains("parity = 20"), "{config}");
    // A copy of the config is in the log.
    fs::remove_file(scratch.store().join("config.toml")).unwrap();
    scratch.lmfs("rebuild", &[]).ok();
    assert_eq!(fs::read_to_string(scratch.store().join("config.toml")).unwrap(), config);
    scratch.lmfs("parity", &["0"]).ok();
    assert_eq!(bytes(), 0);
    assert!(
        scratch
            .store_files("segments")
            .iter()
            .all(|f| f.extension().unwrap() == "seg")
    );
    scratch.lmfs("parity", &["51%"]).refused(&["50%"]);
    let mount = scratch.mount(&[]);
    scratch.lmfs("parity", &["5%"]).refused(&["in use"]);
    diff(&original, &mount.path("copy"));
    mount.umount();
}

/// `lmfs check OPTION` ended by Ctrl-C in the middle: what it printed.
fn interrupted(scratch: &Scratch, option: &str) -> String {
    let (out, said) = (scratch.path("interrupted"), scratch.path("said"));
    let mut child = Command::new(lmfs_path())
        .args(["check", option, "--max-rate=1k"])
        .arg(scratch.store())
        .stdout(fs::File::create(&out).unwrap())
        .stderr(fs::File::create(&said).unwrap())
        .spawn()
        .unwrap();
    // After the first blocks and before the last, also where other tests keep this one from looking in time.
    until("it says how far it is", || {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it could be interrupted"
        );
        fs::read_to_string(&said).unwrap().contains("checking: ")
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    // At this rate it would go on for many minutes.
    until("it ends", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(2));
    String::from_utf8_lossy(&fs::read(out).unwrap()).into_owned()
}

#[test]
fn an_interrupted_check_goes_on_where_it_was() {
    let (scratch, _) = Scratch::filled(&["--block-size=4KiB"]);
    let whole = scratch.lmfs("check", &["--data", "--json"]).ok().json();
    let place = scratch.store().join("check.json");
    assert!(!place.exists());
    interrupted(&scratch, "--data");
    assert!(place.exists());
    let resumed = scratch.lmfs("check", &["--data", "--resume", "--json"]).ok().json();
    assert_eq!(resumed.get("resumed").unwrap(), true);
    for key in ["/blocks", "/decoded_bytes"] {
        assert_eq!(number(&resumed, key), number(&whole, key));
    }
    assert!(!place.exists(), "what is done leaves nothing");
    let again = scratch.lmfs("check", &["--data", "--resume", "--json"]).ok().json();
    assert_eq!(again.get("resumed").unwrap(), false);
}

#[test]
fn an_interrupted_check_with_sums_prints_and_counts_each_file_once() {
    let (scratch, _) = Scratch::filled(&["--block-size=4KiB"]);
    let whole = scratch.lmfs("check", &["--sha256"]).ok();
    let first = interrupted(&scratch, "--sha256");
    let rest = scratch.lmfs("check", &["--sha256", "--resume"]).ok();
    assert!(rest.stderr.contains(", resumed"), "{rest}");
    assert_eq!(lines(&(first + &rest.stdout)), lines(&whole.stdout));
    let counts = |said: &str| lines(said).pop().unwrap().replace(", resumed", "");
    assert_eq!(counts(&rest.stderr), counts(&whole.stderr));
}

#[test]
fn a_mounted_store_is_checked_while_it_is_used() {
    let (scratch, _) = Scratch::filled(&["--parity=5%", "--block-size=4KiB"]);
    let mount = scratch.mount(&[]);
    let point = scratch.mountpoint();
    let check = |args: &[&str]| lmfs([&["check", point.to_str().unwrap()], args].concat());
    check(&[]).refused(&["--data"]);
    check(&["--data", "--repair"]).refused(&["mounted"]);
    check(&["--sha256"]).refused(&["mounted"]);
    // Files come and go meanwhile.
    let noise = Noise::new(4).bytes(200_000);
    fs::write(mount.path("new"), &noise).unwrap();
    fs::remove_file(mount.path("copy/alice.txt")).unwrap();
    let clean = check(&["--data", "--json"]).ok().json();
    assert!(number(&clean, "/decoded_bytes") > 300_000);
    assert_eq!(number(&clean, "/parity/segments"), 1);

    let segment = scratch.store_files("segments");
    let segment = segment.iter().find(|path| path.extension().unwrap() == "seg").unwrap();
    let place = fs::read(segment).unwrap();
    let needle = noise.get(50_000..50_100).unwrap();
    let at = place.windows(100).position(|w| w == needle).unwrap();
    damage(segment, at, 1);
    let seen = check(&["--data", "--json"]);
    assert_eq!(seen.status.code(), Some(1), "{seen}");
    let json = seen.json();
    let damaged = json.pointer("/damage").unwrap().as_array().unwrap();
    assert_eq!(damaged.len(), 1, "{json:#}");
    assert_eq!(json.pointer("/damage/0/path").unwrap(), "/new");
    let offset = number(&json, "/damage/0/offset");
    assert!((offset..offset + 4096).contains(&50_000), "{json:#}");
    damage(segment, at, 1);
    check(&["--data"]).ok();
    mount.umount();
}
