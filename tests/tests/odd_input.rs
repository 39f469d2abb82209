//! What new users type that is not quite right, and files that are not quite ordinary: each message says what is wrong.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use lmfs_tests::{Finished, Scratch, data, lmfs, lmfs_path, run};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat};

/// `lmfs WORDS... FILES...`
fn call(words: &str, files: &[&Path]) -> Finished {
    lmfs(words.split(' ').map(Path::new).chain(files.iter().copied()))
}

fn special(path: &Path, kind: FileType) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o666), 0).unwrap();
}

#[test]
fn help_is_a_command_too() {
    assert!(lmfs(["help"]).ok().stdout.contains("compress"));
    assert!(lmfs(["help", "mount"]).ok().stdout.contains("MOUNTPOINT"));
}

#[test]
fn other_files_are_not_called_damaged_containers() {
    let scratch = Scratch::empty();
    let other = scratch.path("letter.lmz");
    fs::copy(data("text/alice29.txt"), &other).unwrap();
    for command in ["test", "list", "decompress -c", "decompress", "decompress -c --recover"] {
        call(command, &[&other]).refused(&["not an .lmz file"]);
    }
    fs::write(&other, b"x").unwrap();
    for command in ["test", "list", "decompress"] {
        call(command, &[&other]).refused(&["not an .lmz file"]);
    }
    assert!(!scratch.path("letter").exists());
}

#[test]
fn what_is_cut_short_is_said_to_be() {
    let scratch = Scratch::empty();
    let packed = scratch.path("a.lmz");
    call("compress -3 -o", &[&packed, &data("text/alice29.txt")]).ok();
    let whole = fs::read(&packed).unwrap();
    let (header, block, table, footer) = (
        "its header is cut short",
        "it is truncated in the block",
        "its seek table is cut short: it is truncated",
        "does not end with a footer: it is truncated",
    );
    for (len, read, listed) in [
        (3, header, header),
        (15, header, footer),
        (300, block, footer),
        (whole.len() / 2, block, footer),
        (whole.len() - 1, table, footer),
    ] {
        fs::write(&packed, whole.get(..len).unwrap()).unwrap();
        for (command, why) in [("test", read), ("decompress", read), ("list", listed)] {
            call(command, &[&packed]).refused(&[why]);
        }
    }
    fs::write(&packed, [&whole[..], b"and a letter"].concat()).unwrap();
    call("test", &[&packed]).refused(&["after its end"]);
    call("list", &[&packed]).refused(&["something follows it"]);
}

#[test]
fn folders_and_special_files_are_named_as_such_and_nothing_waits_for_a_fifo() {
    let scratch = Scratch::empty();
    let (folder, fifo) = (scratch.path("folder"), scratch.path("fifo"));
    fs::create_dir(&folder).unwrap();
    special(&fifo, FileType::Fifo);
    call("compress", &[&folder]).refused(&["directory; archive it with `tar"]);
    for (command, why) in [
        ("decompress -c", "is a directory"),
        ("test", "is a directory"),
        ("list", "is not a regular file"),
        ("model show", "is not a regular file"),
    ] {
        let refused = call(command, &[&folder]).refused(&[why]);
        assert!(!refused.stderr.contains("tar"), "{refused}");
    }
    for (command, why) in [
        ("compress", "is not a regular file"),
        ("list", "is not a regular file"),
        ("model show", "is not a regular file"),
        ("init --model none", "not a directory"),
        ("eval", "nothing to evaluate"),
    ] {
        call(command, &[&fifo]).refused(&[why]);
    }
    let nowhere = scratch.path("nowhere");
    symlink("missing", &nowhere).unwrap();
    call("init", &[&nowhere]).refused(&["symbolic link"]);
    call("compress", &[&nowhere]).refused(&["no such file"]);
    call("eval", &[&nowhere]).refused(&["nowhere: no such file"]);
    let inside = scratch.path("missing/a.lmz");
    call("compress -3 -o", &[&inside, &data("text/alice29.txt")]).refused(&["there is no directory"]);
}

#[test]
fn odd_names_and_links_are_compressed_as_any_other() {
    let scratch = Scratch::empty();
    let text = fs::read(data("text/alice29.txt")).unwrap();
    for name in ["new\nline", "-dash", " ", "ä.lmz.lmz.x", "\x1b[31m"] {
        let (plain, packed) = (scratch.path(name), scratch.path(format!("{name}.lmz")));
        fs::write(&plain, &text).unwrap();
        fs::hard_link(&plain, scratch.path("hard")).unwrap();
        call("compress -1 --rm --", &[&plain]).ok();
        assert_eq!((plain.exists(), packed.exists()), (false, true), "{name:?}");
        assert_eq!(scratch.path("hard").metadata().unwrap().nlink(), 1);
        call("decompress --", &[&packed]).ok();
        assert!(fs::read(&plain).unwrap() == text, "{name:?}");
        fs::remove_file(scratch.path("hard")).unwrap();
    }
    let link = scratch.path("link");
    symlink("-dash", &link).unwrap();
    call("compress -1 --rm", &[&link]).ok();
    assert!(scratch.path("link.lmz").metadata().unwrap().is_file());
    assert!(
        !link.exists() && scratch.path("-dash").exists(),
        "the link goes, what it leads to stays"
    );
    let empty = scratch.path("empty");
    fs::write(&empty, b"").unwrap();
    call("compress -v --rm", &[&empty]).ok();
    call("test", &[&scratch.path("empty.lmz")]).ok();
    call("decompress", &[&scratch.path("empty.lmz")]).ok();
    assert_eq!(empty.metadata().unwrap().len(), 0);
}

#[test]
fn many_threads_are_no_panic() {
    let scratch = Scratch::empty();
    let plain = scratch.path("a.txt");
    fs::write(&plain, fs::read(data("text/alice29.txt")).unwrap().repeat(8)).unwrap();
    call("compress -1 --block-size 4KiB -T 1024", &[&plain]).ok();
    call("test -T 1024", &[&scratch.path("a.txt.lmz")]).ok();
    for command in ["compress", "decompress", "test", "eval"] {
        for threads in ["1025", "99999999999", "-1", "many"] {
            call(&format!("{command} -T={threads}"), &[&plain]).refused(&["invalid value"]);
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_success() {
    let scratch = Scratch::empty();
    let packed = scratch.path("a.lmz");
    let plain = data("text/alice29.txt");
    call("compress -1 -o", &[&packed, &plain]).ok();
    for (command, file) in [("decompress", &packed), ("compress", &plain)] {
        let mut child = Command::new(lmfs_path());
        let mut child = child
            .args([OsStr::new(command), OsStr::new("-1c"), file.as_os_str()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.signal(), Some(13), "{command}: {ended:?}");
        assert!(ended.stderr.is_empty(), "{command}: {ended:?}");
    }
}

#[test]
fn models_that_are_no_files_of_models_are_not_read_to_their_end() {
    let scratch = Scratch::empty();
    let plain = data("text/alice29.txt");
    for (model, words) in [
        ("/dev/zero", "not a regular file"),
        ("/proc", "not a regular file"),
        ("small", "builtin:small"),
        ("smal", "no such file"),
        ("builtin:smal", "there are: tiny, small"),
    ] {
        lmfs(["model", "show", model]).refused(&[words]);
        call(&format!("compress -c --model {model}"), &[&plain]).refused(&[words]);
        scratch.lmfs("init", &["--model", model]).refused(&[words]);
    }
    // Longer than memory, and not a byte of it is a model.
    let long = scratch.path("long.gguf");
    fs::File::create(&long).unwrap().set_len(1 << 40).unwrap();
    call("model show", &[&long]).refused(&["not a GGUF"]);

    let (packed, text) = (scratch.path("a.lmz"), scratch.path("a.txt"));
    fs::write(&text, b"once upon a time").unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let mut altered = fs::read(models.join("tiny.gguf")).unwrap();
    let last = altered.len() - 1;
    *altered.get_mut(last).unwrap() ^= 1;
    let model = scratch.path("mine.gguf");
    fs::write(&model, altered).unwrap();
    let made = call("compress --model", &[&model, Path::new("-o"), &packed, &text]).ok();
    assert!(made.stderr.is_empty(), "{made}");
    call("test", &[&packed]).refused(&["name its file with --model"]);
    call("test --model builtin:small", &[&packed]).refused(&["builtin:small is another one"]);
    call("test --model", &[&model, &packed]).ok();
    let llama = call("compress --engine llama -f -o", &[&packed, &text]).ok();
    assert!(llama.stderr.is_empty(), "llama.cpp has no say: {llama}");
}

#[test]
fn options_that_mean_nothing_there_are_refused() {
    call("compress -c --recover", &[&data("text/alice29.txt")]).refused(&["decompress --recover"]);
    let scratch = Scratch::with_store(&["--model", "none"]);
    for option in ["--resume", "--max-rate=1MiB"] {
        let report = scratch.lmfs("check", &["--json", option]).ok().json();
        assert_eq!(report.get("data"), Some(&true.into()), "{option} implies --data");
    }
}

#[test]
fn a_mountpoint_where_a_store_is_wanted_says_which_store_it_is() {
    let scratch = Scratch::with_store(&["--model", "none"]);
    let mount = scratch.mount(&[]);
    let (point, store) = (scratch.mountpoint(), scratch.store());
    let store = store.to_str().unwrap();
    call("rebuild", &[&point]).refused(&[store]);
    lmfs([OsStr::new("parity"), point.as_os_str(), OsStr::new("5")]).refused(&[store]);

    let fifo = mount.path("fifo");
    special(&fifo, FileType::Fifo);
    call("stat", &[&fifo]).refused(&["a FIFO"]);
    symlink("fifo", mount.path("link")).unwrap();
    call("stat", &[&mount.path("link")]).refused(&["a FIFO"]);

    // Started inside, it is not itself what keeps the mount busy.
    run(Command::new(lmfs_path()).args(["umount", "."]).current_dir(&point)).ok();
    assert_eq!(fs::read_dir(&point).unwrap().count(), 0);
    drop(mount);
}

/// llama.cpp ends the process at this one: a layer norm's epsilon that is not a number.
#[test]
fn a_model_that_ends_its_process_is_refused() {
    let scratch = Scratch::empty();
    let mut gguf = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tiny.gguf")).unwrap();
    let key = b"llama.attention.layer_norm_rms_epsilon";
    let at = gguf.windows(key.len()).position(|window| window == key).unwrap() + key.len();
    gguf.get_mut(at + 4..at + 8).unwrap().fill(0xff); // behind the type of the value
    let model = scratch.path("nan.gguf");
    fs::write(&model, gguf).unwrap();
    let words = "ended by signal 6";
    call("model show --engine llama", &[&model]).refused(&[words]);
    let plain = data("text/alice29.txt");
    call("compress -c --engine llama --model", &[&model, &plain]).refused(&[words]);
    let model = model.to_str().unwrap();
    scratch
        .lmfs("init", &["--engine", "llama", "--model", model])
        .refused(&[words]);
}

/// A name of a kernel that no CPU has once made the exact engine unusable and llama.cpp take its place without a word.
#[test]
fn a_wrong_kernel_is_no_reason_for_another_engine() {
    let plain = data("text/alice29.txt");
    let mut command = Command::new(lmfs_path());
    command.args([OsStr::new("compress"), OsStr::new("-c"), plain.as_os_str()]);
    run(command.env("LMFS_KERNEL", "avx512")).refused(&["LMFS_KERNEL=avx512"]);
}

/// Regression: a file's name could clear the screen, change the terminal's title, or look like a message of its own.
#[test]
fn no_name_is_obeyed_by_a_terminal() {
    let scratch = Scratch::empty();
    let name = "\x1b]0;title\x07\nlmfs: done\u{9b}2J\u{202e}";
    let obeyed = |text: &str| text.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}');
    let missing = scratch.path(name);
    for command in [
        "compress",
        "decompress -c",
        "test",
        "list",
        "stat",
        "status",
        "eval",
        "model show",
        "check",
        "pack",
    ] {
        let refused = call(command, &[&missing]).refused(&["lmfs: "]);
        assert!(!obeyed(&refused.stderr), "{refused}");
    }
    let packed = scratch.path(format!("{name}.lmz"));
    call("compress -1 -o", &[&packed, &data("text/alice29.txt")]).ok();
    let listed = call("list", &[&packed]).ok();
    assert!(
        !obeyed(&listed.stdout) && listed.stdout.lines().count() == 1,
        "{listed}"
    );
    let json = call("list --json", &[&packed]).ok();
    assert!(!obeyed(&json.stdout), "{json}");
    let path = json
        .json()
        .pointer("/files/0/path")
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(Path::new(&path), packed, "programs get the name as it is");
    let usage = lmfs(["compress", "--\x1b[31m"]).refused(&[]);
    assert!(!obeyed(&usage.stderr), "{usage}");
}

/// Regression: an access control list's mask became what the group may do with the output, and a default list of the
/// folder let others in.
#[test]
fn an_output_is_for_nobody_who_could_not_read_the_input() {
    const ACL: &str = "system.posix_acl_access";
    let list = |entries: &[(u16, u16, u32)]| {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, allowed, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(allowed.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    };
    let scratch = Scratch::empty();
    let (secret, plain) = (scratch.path("secret"), scratch.path("plain"));
    for file in [&secret, &plain] {
        fs::copy(data("text/alice29.txt"), file).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o640)).unwrap();
    }
    let named = list(&[(1, 6, !0), (2, 6, 1234), (4, 0, !0), (16, 6, !0), (32, 0, !0)]);
    let set = |path: &Path, name: &str, value: &[u8]| rustix::fs::setxattr(path, name, value, XattrFlags::empty());
    if let Err(error) = set(&secret, ACL, &named) {
        println!("not tested: no access control lists here ({error})");
        return;
    }
    let folder = scratch.path("shared");
    fs::create_dir(&folder).unwrap();
    let inviting = list(&[(1, 7, !0), (2, 7, 1234), (4, 7, !0), (16, 7, !0), (32, 5, !0)]);
    set(&folder, "system.posix_acl_default", &inviting).unwrap();
    let acl = |path: &Path| {
        let mut value = vec![0; 4096];
        let length = rustix::fs::getxattr(path, ACL, &mut value)?;
        value.truncate(length);
        Ok::<_, rustix::io::Errno>(value)
    };
    for into in [scratch.path(""), folder] {
        let (packed, again) = (into.join("s.lmz"), into.join("s"));
        call("compress -1 -o", &[&packed, &secret]).ok();
        call("decompress -o", &[&again, &packed]).ok();
        for made in [&packed, &again] {
            assert_eq!(acl(made).as_ref(), Ok(&named), "{}", made.display());
            assert_eq!(made.metadata().unwrap().mode() & 0o777, 0o660);
        }
        let packed = into.join("p.lmz");
        call("compress -1 -o", &[&packed, &plain]).ok();
        assert_eq!(
            acl(&packed),
            Err(rustix::io::Errno::NODATA),
            "that of the folder invites"
        );
        assert_eq!(packed.metadata().unwrap().mode() & 0o777, 0o640);
    }
}

/// Regression: `-19` was taken for `-1 -9`, and `-10` was an error about `-0`.
#[test]
fn levels_of_zstd_are_taken_with_a_word() {
    let text = data("text/alice29.txt");
    let highest = |level: &str| {
        let words = format!("compress {level} --model none -c");
        call(&words, &[&text]).ok()
    };
    let nine = highest("-9");
    assert_eq!(nine.stderr, "");
    for level in ["-12", "-19"] {
        let done = highest(level);
        assert!(done.stderr.contains("-9 is the highest"), "{done}");
        assert_eq!(done.stdout, nine.stdout);
    }
    call("compress -23 -c", &[&text]).refused(&["23 is not in 1..=22"]);
}

/// Regression: `lmfs compress -c <(command)` wanted -f.
#[test]
fn pipes_are_read_where_the_output_has_a_name_or_is_standard_output() {
    let scratch = Scratch::empty();
    let script = |text: &str| {
        let mut bash = Command::new("bash");
        run(bash
            .args(["-c", text])
            .env("L", lmfs_path())
            .current_dir(scratch.path("")))
    };
    script("cmp <($L decompress -c <($L compress -1 -c <(seq 50000))) <(seq 50000)").ok();
    script("$L compress -1 -o o.lmz <(seq 50000) && $L decompress -c o.lmz | cmp - <(seq 50000)").ok();
    script("$L compress -1 <(seq 5)").refused(&["is not a regular file"]);
    script("mkfifo f; seq 5 >f & $L compress -1 --rm -o p.lmz f").refused(&["regular files only"]);
    assert!(scratch.path("f").exists());
}

/// Regression: `lmfs pack MOUNTPOINT/folder` packed the whole store.
#[test]
fn a_folder_below_the_mountpoint_is_packed_alone() {
    let scratch = Scratch::with_store(&["--model=none"]);
    let mount = scratch.mount(&[]);
    for name in ["a", "b", "c"] {
        fs::create_dir(mount.path(name)).unwrap();
        fs::copy(data("text/alice29.txt"), mount.path(name).join("f")).unwrap();
    }
    let waiting = |name: &str| {
        let stat = call("stat --json", &[&mount.path(name).join("f")]).ok().json();
        stat.pointer("/files/0/waiting").unwrap().as_u64().unwrap() > 0
    };
    call("pack", &[&mount.path("a")]).ok();
    assert_eq!(["a", "b", "c"].map(waiting), [false, true, true]);
    call("pack", &[&mount.path("b/f"), &mount.path("b")]).ok();
    assert_eq!(["a", "b", "c"].map(waiting), [false, false, true]);
    call("pack", &[&scratch.mountpoint()]).ok();
    assert!(!waiting("c"));
    mount.umount();
}
