//! Everything that can be wrong with what a user hands in: a clear message, an exit code, nothing lost, no panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;

use lmfs_tests::{Finished, Noise, Scratch, data, lmfs};

fn words<'a>(words: &[&'a str], paths: &[&'a Path]) -> Vec<&'a std::ffi::OsStr> {
    let words = words.iter().map(|word| std::ffi::OsStr::new(*word));
    words.chain(paths.iter().map(|path| path.as_os_str())).collect()
}

fn mount(store: &Path, point: &Path) -> Finished {
    lmfs(words(&["mount"], &[store, point]))
}

#[test]
fn what_is_not_a_store_is_refused_by_every_command() {
    let scratch = Scratch::empty();
    let point = scratch.mountpoint();
    let folder = scratch.path("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("letter"), "not a store").unwrap();
    for (store, why) in [
        (folder.clone(), "is not an lmfs store: it has no config.toml"),
        (folder.join("letter"), "is not an lmfs store: it has no config.toml"),
        (
            scratch.path("missing"),
            "missing does not exist; make a store there with",
        ),
    ] {
        mount(&store, &point).refused(&[why]);
        for command in ["pack", "status", "check", "rebuild", "gc"] {
            lmfs(words(&[command], &[&store])).refused(&[why]);
        }
    }
    lmfs(words(&["init"], &[&folder])).refused(&["is not empty"]);
    assert_eq!(fs::read(folder.join("letter")).unwrap(), b"not a store", "left alone");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "left alone");
}

#[test]
fn a_store_is_not_made_over_another() {
    let scratch = Scratch::with_store(&[]);
    let config = fs::read(scratch.store().join("config.toml")).unwrap();
    scratch.lmfs("init", &[]).refused(&["already"]);
    assert_eq!(fs::read(scratch.store().join("config.toml")).unwrap(), config);
}

#[test]
fn a_store_of_a_newer_format_is_refused() {
    let scratch = Scratch::with_store(&[]);
    let path = scratch.store().join("config.toml");
    let config = fs::read_to_string(&path).unwrap();
    let newer: Vec<String> = config
        .lines()
        .map(|line| {
            if line.starts_with("format ") || line.starts_with("format=") {
                "format = 999".into()
            } else {
                line.to_owned()
            }
        })
        .collect();
    let newer = newer.join("\n");
    assert_ne!(
        config.trim_end(),
        newer.trim_end(),
        "config.toml has a line with the format: {config}"
    );
    fs::write(&path, newer).unwrap();
    for command in ["status", "check", "pack", "rebuild", "gc"] {
        scratch
            .lmfs(command, &[])
            .refused(&["has store format 999", "use a newer lmfs"]);
    }
    mount(&scratch.store(), &scratch.mountpoint()).refused(&["has store format 999", "use a newer lmfs"]);
    fs::write(&path, config).unwrap();
    scratch.lmfs("check", &["--data"]).ok();
}

#[test]
fn a_damaged_config_is_refused() {
    let scratch = Scratch::with_store(&[]);
    let path = scratch.store().join("config.toml");
    for bad in [
        "",
        "format = ",
        "\0\0\0\0",
        "[[[",
        "format = 1\nblock_size = \"many\"\n",
    ] {
        fs::write(&path, bad).unwrap();
        scratch.lmfs("status", &[]).refused(&["config.toml"]);
        mount(&scratch.store(), &scratch.mountpoint()).refused(&["config.toml"]);
    }
}

#[test]
fn a_store_that_is_mounted_is_in_use_and_by_whom() {
    let scratch = Scratch::with_store(&[]);
    let other = scratch.path("other");
    fs::create_dir(&other).unwrap();
    let first = scratch.mount(&[]);
    let pid = first.pid().to_string();
    mount(&scratch.store(), &other).refused(&[&pid]);
    scratch.lmfs("rebuild", &[]).refused(&[&pid]);
    scratch.lmfs("check", &[]).refused(&["is mounted"]);
    assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
    first.umount();
}

#[test]
fn bad_mountpoints_are_refused() {
    let scratch = Scratch::with_store(&[]);
    let store = scratch.store();
    mount(&store, &scratch.path("missing")).refused(&["does not exist; make it with `mkdir"]);
    let file = scratch.path("file");
    fs::write(&file, "text").unwrap();
    mount(&store, &file).refused(&["not a directory"]);
    let full = scratch.path("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("letter"), "here first").unwrap();
    mount(&store, &full).refused(&["is not empty"]);
    assert_eq!(fs::read(full.join("letter")).unwrap(), b"here first");
    mount(&store, &store).refused(&["lie one inside the other"]);
    lmfs(words(&["umount"], &[&scratch.path("missing")])).refused(&["cannot unmount", "no such file or directory"]);
}

#[test]
fn bad_models_are_refused_and_no_store_is_left_behind() {
    let scratch = Scratch::empty();
    let good = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tiny.gguf")).unwrap();
    let mut noisy = good.clone();
    let header = Noise::new(7).bytes(3000);
    noisy.get_mut(100..3100).unwrap().copy_from_slice(&header);
    let models: [(&str, Vec<u8>); 6] = [
        ("empty.gguf", Vec::new()),
        ("text.gguf", b"This is a letter, not a model.".to_vec()),
        ("header.gguf", good.get(..24).unwrap().to_vec()),
        ("half.gguf", good.get(..good.len() / 2).unwrap().to_vec()),
        ("short.gguf", good.get(..good.len() - 1).unwrap().to_vec()),
        ("noisy.gguf", noisy),
    ];
    for (name, bytes) in models {
        let path = scratch.path(name);
        fs::write(&path, bytes).unwrap();
        scratch
            .lmfs("init", &["--model", path.to_str().unwrap()])
            .refused(&[name]);
        assert!(
            !scratch.store().join("config.toml").exists(),
            "{name}: no half-made store"
        );
    }
    let missing = scratch.path("missing.gguf");
    scratch
        .lmfs("init", &["--model", missing.to_str().unwrap()])
        .refused(&["missing.gguf"]);
    scratch
        .lmfs("init", &["--model", "builtin:nobody"])
        .refused(&["nobody"]);
    // After all these refusals the same folder makes a store.
    scratch.lmfs("init", &[]).ok();
}

#[test]
fn an_altered_model_in_the_store_is_found_and_its_loss_explained() {
    let scratch = Scratch::with_store(&["--prefer=size"]);
    let mount_ = scratch.mount(&[]);
    let text = fs::read(data("text/genesis.txt"))
        .unwrap()
        .get(..6000)
        .unwrap()
        .to_vec();
    fs::write(mount_.path("packed"), &text).unwrap();
    mount_.pack(&[]);
    fs::write(mount_.path("plain"), &text).unwrap();
    mount_.umount();

    let models = scratch.store_files("models");
    let model = models
        .iter()
        .find(|path| path.extension().is_some_and(|e| e == "gguf"))
        .expect("a store has its model");
    let good = fs::read(model).unwrap();
    let mut bad = good.clone();
    *bad.get_mut(good.len() - 1000).unwrap() ^= 0x10;
    let permissions = fs::metadata(model).unwrap().permissions();
    fs::remove_file(model).unwrap();
    fs::write(model, &bad).unwrap();
    // Mounted without the model: what needs it is an error, everything else is readable.
    let point = scratch.mountpoint();
    let mounted = mount(&scratch.store(), &point).ok();
    let (packed, plain) = (fs::read(point.join("packed")), fs::read(point.join("plain")));
    lmfs(words(&["umount"], &[&point])).ok();
    assert!(mounted.stderr.contains("warning"), "{mounted}");
    assert_eq!(packed.expect_err("wrong bytes would be worse").raw_os_error(), Some(5));
    assert_eq!(plain.unwrap(), text);
    fs::write(model, &good).unwrap();
    fs::set_permissions(model, permissions).unwrap();
    let mount_ = scratch.mount(&[]);
    assert_eq!(fs::read(mount_.path("packed")).unwrap(), text);
    mount_.umount();
}

#[test]
fn unknown_options_and_values_are_refused_with_the_usage() {
    let scratch = Scratch::with_store(&[]);
    let point = scratch.mountpoint();
    lmfs(["--nonsense"]).refused(&["--nonsense"]);
    lmfs(["frobnicate"]).refused(&["frobnicate"]);
    scratch.lmfs("status", &["--nonsense"]).refused(&["--nonsense"]);
    let store = scratch.store();
    let options = |options: &[&str]| {
        let mut all = words(&["mount"], &[&store, &point]);
        all.extend(options.iter().map(std::ffi::OsStr::new));
        lmfs(all)
    };
    options(&["-o", "frobnicate"]).refused(&["frobnicate"]);
    options(&["--cache-size", "many"]).refused(&["many"]);
    options(&["--pack", "sometimes"]).refused(&["sometimes"]);
    let (range, spelling) = ("a block is 4096 to 1048576 bytes long", "is not a size");
    for (size, why) in [
        ("0", range),
        ("4095", range),
        ("5000", range),
        ("2MiB", range),
        ("-1", spelling),
        ("12parsecs", spelling),
    ] {
        let other = scratch.path("other");
        lmfs(words(&["init", &format!("--block-size={size}")], &[&other])).refused(&[why]);
        assert!(!other.join("config.toml").exists());
    }
}

#[test]
fn damaged_containers_are_refused_and_leave_no_output() {
    let scratch = Scratch::empty();
    let text = fs::read(data("text/genesis.txt"))
        .unwrap()
        .get(..5000)
        .unwrap()
        .to_vec();
    let (plain, packed) = (scratch.path("a.txt"), scratch.path("a.txt.lmz"));
    fs::write(&plain, &text).unwrap();
    lmfs(words(&["compress", "-k"], &[&plain])).ok();
    fs::remove_file(&plain).unwrap();
    let good = fs::read(&packed).unwrap();
    let mut noise = Noise::new(11);
    for round in 0..12 {
        let mut bad = good.clone();
        match round {
            0 => bad.clear(),
            1 => bad.truncate(good.len() / 2),
            2 => bad.truncate(good.len() - 1),
            3 => bad.extend_from_slice(b"more"),
            _ => {
                let at = noise.below(good.len() as u64) as usize;
                *bad.get_mut(at).unwrap() ^= 1 << noise.below(8);
            }
        }
        fs::write(&packed, &bad).unwrap();
        let refused = lmfs(words(&["decompress", "-k"], &[&packed]));
        assert!(
            refused.status.code().is_some_and(|code| code != 0),
            "round {round}: {refused}"
        );
        assert!(!refused.stderr.trim().is_empty(), "round {round}: {refused}");
        assert!(!plain.exists(), "round {round}: no output of a damaged input is left");
    }
    fs::write(&packed, &good).unwrap();
    lmfs(words(&["decompress", "-k"], &[&packed])).ok();
    assert_eq!(fs::read(&plain).unwrap(), text);
}

#[test]
fn without_dev_fuse_the_message_says_so() {
    // An own mount namespace with an empty /dev: only the machine's administrator can make one.
    let scratch = Scratch::with_store(&[]);
    let script = "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec \"$0\" mount \"$1\" \"$2\"";
    let mut command = std::process::Command::new("unshare");
    command
        .args(["-m", "sh", "-c", script])
        .arg(lmfs_tests::lmfs_path())
        .args([scratch.store(), scratch.mountpoint()]);
    lmfs_tests::run(&mut command).refused(&["cannot open /dev/fuse", "modprobe fuse"]);
}
