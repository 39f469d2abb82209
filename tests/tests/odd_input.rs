//! What new users type that is not quite right, and files that are not quite ordinary: each message says what is wrong.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use lmfs_tests::{Finished, Scratch, data, lmfs, lmfs_path, run};
use rustix::fs::{CWD, FileType, Mode, mknodat};

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
    let (header, block, footer) = (
        "its header is cut short",
        "it is truncated in the block",
        "does not end with a footer: it is truncated",
    );
    for (len, read, listed) in [
        (3, header, header),
        (50, header, footer),
        (300, block, footer),
        (whole.len() / 2, block, footer),
        (whole.len() - 1, footer, footer),
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
        ("builtin:smal", "there are: first, small-1, tiny, small"),
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
    let mut altered = fs::read(models.join("first.gguf")).unwrap();
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
    let mut gguf = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/first.gguf")).unwrap();
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
