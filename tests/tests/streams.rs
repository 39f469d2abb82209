//! `lmfs compress`, `decompress`, `test`, `list` as users of gzip and zstd know them, on real files and pipes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs::{self, File, FileTimes, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use lmfs_tests::{Noise, Scratch, data, diff, lmfs, lmfs_path, run, until};

/// `lmfs WORDS... FILES...`
fn call(words: &str, files: &[&Path]) -> lmfs_tests::Finished {
    lmfs(words.split_whitespace().map(Path::new).chain(files.iter().copied()))
}

/// Feeds `input` through `lmfs WORDS...`.
fn pipe(words: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(lmfs_path())
        .args(words.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut out = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    });
    assert!(child.wait().unwrap().success(), "lmfs {words}");
    out
}

fn text(len: usize) -> Vec<u8> {
    fs::read(data("text/alice29.txt")).unwrap()[..len].to_vec()
}

#[test]
fn files_keep_mode_and_times_and_nothing_is_replaced_unasked() {
    let scratch = Scratch::empty();
    let (plain, packed) = (scratch.path("a.txt"), scratch.path("a.txt.lmz"));
    let raw = text(9000);
    fs::write(&plain, &raw).unwrap();
    fs::set_permissions(&plain, Permissions::from_mode(0o640)).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    File::options()
        .write(true)
        .open(&plain)
        .unwrap()
        .set_times(FileTimes::new().set_modified(time))
        .unwrap();

    let quiet = call("compress -3", &[&plain]).ok();
    assert!(quiet.stdout.is_empty() && quiet.stderr.is_empty(), "{quiet}");
    assert_eq!(fs::read(&plain).unwrap(), raw, "the input stays");
    let made = fs::metadata(&packed).unwrap();
    assert_eq!((made.mode() & 0o7777, made.modified().unwrap()), (0o640, time));

    call("compress -3", &[&plain]).refused(&["already exists"]);
    call("compress -3 -f", &[&plain]).ok();
    call("decompress", &[&packed]).refused(&["already exists"]);
    call("compress", &[&packed]).refused(&["suffix"]);
    call("decompress", &[&plain]).refused(&["suffix"]);
    call("compress", &[&scratch.path("nothing")]).refused(&["no such file"]);
    call("compress", &[&scratch.mountpoint()]).refused(&["directory"]);

    fs::remove_file(&plain).unwrap();
    let told = call("decompress -v --rm", &[&packed]).ok();
    assert!(told.stderr.contains("a.txt.lmz"), "{told}");
    assert!(!packed.exists(), "--rm removes the input");
    let back = fs::metadata(&plain).unwrap();
    assert_eq!((back.mode() & 0o7777, back.modified().unwrap()), (0o640, time));
    assert_eq!(fs::read(&plain).unwrap(), raw);

    // Several files at once: one that fails does not keep the others from being done.
    let (other, missing) = (scratch.path("b.txt"), scratch.path("missing"));
    fs::write(&other, b"other").unwrap();
    call("compress -3 -k", &[&plain, &missing, &other]).refused(&["missing"]);
    assert!(scratch.path("b.txt.lmz").exists() && packed.exists());
    call("test", &[&packed, &scratch.path("b.txt.lmz")]).ok();
    call("compress -3 -o x", &[&plain, &other]).refused(&["one output"]);
    let joined = call("decompress -c", &[&packed, &scratch.path("b.txt.lmz")]).ok();
    assert_eq!(joined.stdout.into_bytes(), [&raw[..], b"other"].concat());
}

#[test]
fn every_level_returns_what_it_got_and_higher_ones_take_less() {
    let raw = text(20_000);
    let mut sizes = Vec::new();
    for level in 1..=9 {
        let packed = pipe(&format!("compress -{level}"), &raw);
        assert_eq!(pipe("decompress", &packed), raw, "-{level}");
        sizes.push(packed.len());
    }
    println!("{sizes:?}");
    // All of it is less than a block: methods show, block sizes do not.
    let by_method = [sizes[0], sizes[1], sizes[2], sizes[5]];
    assert!(by_method.is_sorted_by(|a, b| a > b), "{sizes:?}");
    assert_eq!(pipe("compress", &raw), pipe("compress -6", &raw), "-6 is the default");
    let small = pipe("compress -1 --block-size 4KiB", &raw);
    assert!(small.len() > sizes[0], "--block-size counts more than the level's");
}

#[test]
fn tar_works_both_ways() {
    let scratch = Scratch::empty();
    let (tree, back) = (scratch.path("tree"), scratch.path("back"));
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::create_dir(&back).unwrap();
    for (name, len) in [("a", 5000), ("sub/b", 100), ("sub/c", 0)] {
        fs::write(tree.join(name), text(len)).unwrap();
    }
    let archive = scratch.path("tree.tar.lmz");
    let with = format!("{} compress -3", lmfs_path().display());
    let tar = |mode: &str, folder: &Path| {
        let mut command = Command::new("tar");
        command.args(["-I", &with, mode]).arg(&archive).arg("-C").arg(folder);
        command
    };
    run(tar("-cf", scratch.path("").as_path()).arg("tree")).ok();
    assert!(run(&mut tar("-tf", &back)).ok().stdout.contains("tree/sub/b"));
    run(&mut tar("-xf", &back)).ok();
    diff(&tree, &back.join("tree"));
}

#[test]
fn compressed_data_is_not_written_to_a_terminal() {
    let scratch = Scratch::empty();
    let plain = scratch.path("a.txt");
    fs::write(&plain, b"text").unwrap();
    let on_terminal = |words: &str| {
        let inside = format!(
            "{} {words} {}; echo ended with $?",
            lmfs_path().display(),
            plain.display()
        );
        run(Command::new("script").args(["-qec", &inside, "/dev/null"]))
            .ok()
            .stdout
    };
    let shown = on_terminal("compress -3 -c");
    assert!(shown.contains("terminal") && shown.contains("ended with 1"), "{shown}");
    assert!(on_terminal("compress -3 -c -f").contains("LMZ"));
    // Nothing to read from a terminal, either.
    let shown =
        run(Command::new("script").args(["-qec", &format!("{} decompress", lmfs_path().display()), "/dev/null"]));
    assert!(shown.stdout.contains("standard input is a terminal"), "{shown}");
}

#[test]
fn holes_come_back_as_holes() {
    let scratch = Scratch::empty();
    let (plain, packed) = (scratch.path("image"), scratch.path("image.lmz"));
    let len = 48 << 20;
    let file = File::create(&plain).unwrap();
    file.set_len(len).unwrap();
    file.write_all_at(b"first", 0).unwrap();
    file.write_all_at(&text(20_000), 20 << 20).unwrap();
    file.write_all_at(b"last but a hole", len - (4 << 20)).unwrap();
    call("compress -1", &[&plain]).ok();
    assert!(packed.metadata().unwrap().len() < 100_000);
    let back = scratch.path("back");
    call("decompress -o", &[&back, &packed]).ok();
    assert_eq!(run(Command::new("cmp").arg(&plain).arg(&back)).ok().stdout, "");
    let taken = back.metadata().unwrap().blocks() * 512;
    assert!(taken < 200_000, "{taken} bytes on the disk for 20 KB of data");
}

#[test]
fn recover_says_which_bytes_are_missing_and_restores_the_others() {
    let scratch = Scratch::empty();
    let packed = scratch.path("a.lmz");
    let raw = text(60_000);
    let good = pipe("compress -3 --block-size 4KiB --key-size 0", &raw);
    let blocks: Vec<usize> = (20..good.len())
        .filter(|&at| good[at..].starts_with(&[0xb5, 0x4c, 0x13]))
        .collect();
    assert!(blocks.len() >= 14, "{blocks:?}");
    let recovered = |bad: &[u8], gaps: &[usize], without: &str, words: &[&str]| {
        fs::write(&packed, bad).unwrap();
        let out = scratch.path("out");
        let _ = fs::remove_file(&out);
        call("decompress -o", &[&out, &packed]).refused(&[without]);
        assert!(!out.exists(), "without --recover there is no output");
        let refused = call("decompress --recover -o", &[&out, &packed]);
        let mut expected = raw.clone();
        for gap in gaps.iter().map(|block| block * 4096..(block + 1) * 4096) {
            expected[gap.clone()].fill(0);
            let words = format!("bytes {} to {}", gap.start, gap.end - 1);
            assert!(refused.stderr.contains(&words), "{words}: {refused}");
        }
        refused.refused(words);
        assert!(fs::read(&out).unwrap() == expected);
    };
    // One payload; a header and all up to the middle of the next block but two; the first bytes of the file; the seek
    // table.
    let mut bad = good.clone();
    bad[blocks[3] + 40] ^= 1;
    recovered(&bad, &[3], "damaged", &["coded stream"]);
    let mut bad = good.clone();
    bad[blocks[5]..blocks[7] + 100].fill(0x55);
    recovered(&bad, &[5, 6, 7], "damaged", &["block"]);
    let mut bad = good.clone();
    bad[..16].fill(0);
    recovered(&bad, &[], "not an .lmz file", &["does not start like"]);
    // With a damaged table a damaged payload is still only one gap.
    let mut bad = good.clone();
    bad[blocks[2] + 60] ^= 0x10;
    let table = good.len() - 40;
    bad[table] ^= 1;
    recovered(&bad, &[2], "damaged", &["table"]);
}

/// All was once lost with the first bytes of a file, or all that the language model had coded; and read from standard
/// input, a gap of several blocks shifted what followed.
#[test]
fn recover_needs_no_header_and_takes_redirected_files_for_files() {
    let scratch = Scratch::empty();
    let (packed, out) = (scratch.path("a.lmz"), scratch.path("out"));
    let raw = text(40_000);
    let recovered = |words: &str, bad: &[u8], gap: std::ops::Range<usize>| {
        fs::write(&packed, bad).unwrap();
        let mut expected = raw.clone();
        expected[gap].fill(0);
        let _ = fs::remove_file(&out);
        call(&format!("decompress --recover {words} -o"), &[&out, &packed]).refused(&["damaged"]);
        assert!(fs::read(&out).unwrap() == expected, "{words}");
        let mut command = Command::new(lmfs_path());
        command.args(["decompress", "--recover"]).args(words.split_whitespace());
        let from_file = command.stdin(File::open(&packed).unwrap()).output().unwrap();
        assert_eq!(from_file.status.code(), Some(1));
        assert!(from_file.stdout == expected, "{words}");
    };
    let good = pipe("compress -3 --block-size 4KiB --key-size 0", &raw);
    let blocks: Vec<usize> = (20..good.len())
        .filter(|&at| good[at..].starts_with(&[0xb5, 0x4c, 0x13]))
        .collect();
    let mut bad = good.clone();
    bad[..4096].fill(0);
    let lost = blocks.iter().filter(|&&at| at < 4096).count();
    assert!(lost > 1);
    recovered("", &bad, 0..lost * 4096);
    let mut bad = good;
    bad[blocks[2] + 5] ^= 1;
    bad[blocks[3] + 5] ^= 1;
    recovered("", &bad, 2 * 4096..4 * 4096);
    for (model, words) in [("small", ""), ("tiny", "--model builtin:tiny")] {
        let good = pipe(
            &format!("compress -6 --block-size 16KiB --key-size 0 --model builtin:{model}"),
            &raw,
        );
        let mut bad = good.clone();
        bad[..60].fill(0);
        recovered(words, &bad, 0..0);
        let mut bad = good.clone();
        bad[20] ^= 1;
        recovered("", &bad, 0..0);
        bad[16..48].fill(0x33);
        recovered(words, &bad, 0..0);
    }
}

/// Such a file was once replaced by an empty one.
#[test]
fn recover_without_the_model_replaces_nothing() {
    let scratch = Scratch::empty();
    let (packed, out) = (scratch.path("a.lmz"), scratch.path("out"));
    let mut container = pipe("compress -6", &text(3000));
    container[16..48].fill(0x77);
    let bits = container[..56].iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    });
    container[56..60].copy_from_slice(&(!bits).to_le_bytes());
    for damage in [0, 30] {
        let at = container.len() - 1 - damage;
        container[at] ^= 1;
        fs::write(&packed, &container).unwrap();
        fs::write(&out, b"good").unwrap();
        call("decompress --recover -f -o", &[&out, &packed]).refused(&["--model"]);
        assert_eq!(fs::read(&out).unwrap(), b"good");
    }
}

/// The link itself was once replaced: `/dev/stdout`, for everybody.
#[test]
fn links_are_followed_and_not_replaced() {
    let scratch = Scratch::empty();
    let (plain, link, other) = (scratch.path("a.txt"), scratch.path("stdout"), scratch.path("other"));
    fs::write(&plain, text(5000)).unwrap();
    let packed = pipe("compress -3", &text(5000));
    let target = scratch.path("target");
    std::os::unix::fs::symlink("/proc/self/fd/1", &link).unwrap();
    for force in [&["-f"][..], &[]] {
        let mut command = Command::new(lmfs_path());
        command
            .args(["compress", "-3"])
            .args(force)
            .arg("-o")
            .arg(&link)
            .arg(&plain);
        assert!(
            command
                .stdout(File::create(&target).unwrap())
                .status()
                .unwrap()
                .success()
        );
        assert!(link.is_symlink());
        assert!(fs::read(&target).unwrap() == packed);
    }
    call("compress -3 --rm -f -o", &[&link, &plain]).refused(&["--rm"]);
    std::os::unix::fs::symlink("target", &other).unwrap();
    fs::write(&target, b"old").unwrap();
    call("compress -3 -o", &[&other, &plain]).refused(&["already exists"]);
    call("compress -3 -f -o", &[&other, &plain]).ok();
    assert!(other.is_symlink());
    assert!(fs::read(&target).unwrap() == packed);
}

#[test]
fn devices_are_written_to_and_never_replaced() {
    let scratch = Scratch::empty();
    let plain = scratch.path("a.txt");
    fs::write(&plain, text(5000)).unwrap();
    let null = scratch.path("null");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &null,
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
    call("compress -3 -f -o", &[&null, &plain]).ok();
    assert!(
        null.metadata().unwrap().file_type().is_char_device(),
        "the device is still one"
    );
    call("compress -3 -f -o /dev/full", &[&plain]).refused(&["space"]);
}

/// Peak resident set of a process in bytes: proc_pid_status(5).
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn memory_does_not_grow_with_the_length_of_a_pipe() {
    let scratch = Scratch::empty();
    let packed = scratch.path("packed");
    let mut noise = Noise::new(3);
    let chunk: Vec<u8> = [noise.bytes(1 << 19), text(100_000).repeat(5)].concat();
    // Peaks after the first and the last of some megabytes have gone in.
    let feed = |words: &str, from: &mut dyn Read, to: Stdio| {
        let mut child = Command::new(lmfs_path())
            .args(words.split(' '))
            .stdin(Stdio::piped())
            .stdout(to)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let (mut early, mut total, mut buffer) = (0, 0_u64, vec![0; 1 << 20]);
        loop {
            let len = from.read(&mut buffer).unwrap();
            if len == 0 {
                break;
            }
            stdin.write_all(&buffer[..len]).unwrap();
            total += len as u64;
            if early == 0 && total > 24 << 20 {
                early = peak(child.id());
            }
        }
        let late = peak(child.id());
        drop(stdin);
        assert!(child.wait().unwrap().success());
        println!(
            "lmfs {words}: {} KiB after 24 MiB, {} KiB after {} MiB",
            early >> 10,
            late >> 10,
            total >> 20
        );
        assert!(
            early > 0 && late < early + (6 << 20),
            "{early} to {late} over {total} bytes"
        );
    };
    let mut content = std::io::Cursor::new(chunk.repeat(128));
    feed("compress -1 -T2", &mut content, File::create(&packed).unwrap().into());
    let mut container = File::open(&packed).unwrap();
    feed("decompress -T2", &mut container, Stdio::null());
}

/// `--rm` once removed the only copy: of a file compressed onto itself, or into a pipe or a device.
#[test]
fn the_input_is_removed_only_when_another_file_has_all_of_it() {
    let scratch = Scratch::empty();
    let (plain, packed) = (scratch.path("a.txt"), scratch.path("a.txt.lmz"));
    let raw = text(9000);
    fs::write(&plain, &raw).unwrap();
    for (output, words) in [
        (plain.as_path(), "input itself"),
        (Path::new("/dev/null"), "--rm"),
        (Path::new("-"), "--rm"),
    ] {
        call("compress -3 -f --rm -o", &[output, &plain]).refused(&[words]);
        assert_eq!(fs::read(&plain).unwrap(), raw, "{output:?}");
    }
    call("compress -3 --rm", &[&plain]).ok();
    assert!(!plain.exists());
    call("decompress --rm", &[&packed]).ok();
    assert!(!packed.exists());
    assert_eq!(fs::read(&plain).unwrap(), raw);
}

/// `--rm` once removed a file that had taken the place of its input, or what had been added to it meanwhile.
#[test]
fn an_input_that_changed_meanwhile_is_not_removed() {
    let scratch = Scratch::empty();
    let (plain, packed, new) = (scratch.path("a.txt"), scratch.path("a.txt.lmz"), scratch.path("new"));
    let raw = text(100_000).repeat(30);
    let replace = || {
        fs::write(&new, b"new").unwrap();
        fs::rename(&new, &plain).unwrap();
    };
    let append = || {
        let mut file = File::options().append(true).open(&plain).unwrap();
        file.write_all(b"more").unwrap();
    };
    for change in [&replace as &dyn Fn(), &append] {
        fs::write(&plain, &raw).unwrap();
        let _ = fs::remove_file(&packed);
        let mut command = Command::new(lmfs_path());
        command.args(["compress", "-4", "-T1", "--rm"]).arg(&plain);
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        while unfinished(&scratch) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        change();
        let end = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&end.stderr);
        assert!(end.status.code() == Some(1) && said.contains("not removed"), "{said}");
        assert!(plain.exists() && packed.exists());
    }
}

/// Outputs without their names yet.
fn unfinished(scratch: &Scratch) -> usize {
    let names = fs::read_dir(scratch.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with(".lmfs-"))
        .count()
}

/// A program that waited for its input once saw no signal, and a second one left the unfinished file behind.
#[test]
fn a_signal_ends_what_waits_for_its_input_and_nothing_is_left() {
    let scratch = Scratch::empty();
    let mut child = Command::new(lmfs_path())
        .args(["compress", "-3", "-o"])
        .arg(scratch.path("out"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    until("the output is begun", || unfinished(&scratch) > 0);
    // It waits for its input until it has ended.
    let input = child.stdin.take();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let end = child.wait().unwrap();
    drop(input);
    assert_eq!(end.signal(), Some(15), "{end}");
    assert_eq!(unfinished(&scratch), 0);
}

/// The output once had the input's mode, but the group of whoever made it.
#[test]
fn an_output_of_another_group_shows_it_no_more_than_anybody() {
    let scratch = Scratch::empty();
    let (plain, packed) = (scratch.path("a.txt"), scratch.path("a.txt.lmz"));
    fs::write(&plain, text(9000)).unwrap();
    fs::set_permissions(scratch.path(""), Permissions::from_mode(0o777)).unwrap();
    if std::os::unix::fs::chown(&plain, Some(0), Some(42)).is_err() {
        return println!("only root can give files away");
    }
    // A copy that everybody can run.
    let program = scratch.path("lmfs");
    fs::copy(lmfs_path(), &program).unwrap();
    let compressed = |group: u32, mode: u32| {
        std::os::unix::fs::chown(&plain, Some(0), Some(group)).unwrap();
        fs::set_permissions(&plain, Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--groups=42"]);
        run(command.arg(&program).args(["compress", "-3", "-f"]).arg(&plain)).ok();
        let made = fs::metadata(&packed).unwrap();
        (made.uid(), made.gid(), made.mode() & 0o7777)
    };
    // Who is in the group can give the file to it, others cannot.
    assert_eq!(compressed(42, 0o640), (65534, 42, 0o640));
    assert_eq!(compressed(7, 0o664), (65534, 65534, 0o644));
}

/// A JSON document of a kind, the i-th.
fn document(i: u32) -> String {
    let (id, visits) = (i * 7919 % 10_007, i * i % 31);
    format!(
        "{{\"customer\": {{\"id\": {id}, \"visits\": {visits}, \"newsletter\": {}}}, \"currency\": \"EUR\"}}\n",
        i.is_multiple_of(3)
    )
}

#[test]
fn small_files_are_smaller_behind_a_dictionary_and_not_read_without_it() {
    let scratch = Scratch::empty();
    let (samples, dictionary) = (scratch.path("samples"), scratch.path("documents.dict"));
    fs::create_dir(&samples).unwrap();
    for i in 0..200 {
        fs::write(samples.join(format!("{i:03}.json")), document(i)).unwrap();
    }
    let told = call("train --size 8KiB -o", &[&dictionary, &samples]).ok();
    assert!(told.stdout.contains("of 200 files"), "{told}");
    call("train -o", &[&dictionary, &samples]).refused(&["exists"]);
    call("train -f --size 2MiB -o", &[&dictionary, &samples]).refused(&["1048576 bytes"]);
    assert!(fs::metadata(&dictionary).unwrap().len() <= 8192);

    let (plain, packed, out) = (scratch.path("new.json"), scratch.path("new.lmz"), scratch.path("out"));
    let raw: String = (900..910).map(document).collect();
    fs::write(&plain, &raw).unwrap();
    call("compress -3 -o", &[&packed, &plain]).ok();
    let cold = fs::metadata(&packed).unwrap().len();
    call("compress -3 -f -o", &[&packed, Path::new("-D"), &dictionary, &plain]).ok();
    let warm = fs::metadata(&packed).unwrap().len();
    assert!(warm + 40 < cold, "{warm} bytes, {cold} without");

    call("decompress -o", &[&out, &packed]).refused(&["dictionary", "not here"]);
    assert!(!out.exists());
    call("test", &[&packed]).refused(&["dictionary"]);
    call("test -D", &[&dictionary, &packed]).ok();
    call("decompress -D", &[&dictionary, Path::new("-o"), &out, &packed]).ok();
    assert_eq!(fs::read_to_string(&out).unwrap(), raw);
    call(
        "decompress -f -D",
        &[Path::new("/dev/zero"), Path::new("-o"), &out, &packed],
    )
    .refused(&["longer than"]);
    call(
        "decompress -f -D",
        &[&scratch.path("missing"), Path::new("-o"), &out, &packed],
    )
    .refused(&["no such file"]);
}
