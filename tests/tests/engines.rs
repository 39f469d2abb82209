//! Two engines run the built-in models: what each wrote is read by the one that wrote it, and no other.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::path::Path;

use lmfs_tests::{Scratch, data, lmfs};

#[test]
fn containers_of_both_engines_are_read_in_one_run_and_joined() {
    let scratch = Scratch::with_store(&[]);
    let text = fs::read(data("text/alice29.txt")).unwrap()[..3000].to_vec();
    let (plain, back) = (scratch.path("a.txt"), scratch.path("back.txt"));
    fs::write(&plain, &text).unwrap();
    let mut joined = Vec::new();
    for engine in ["exact", "llama"] {
        let packed = scratch.path(format!("{engine}.lmz"));
        lmfs([
            Path::new("compress"),
            "--engine".as_ref(),
            engine.as_ref(),
            "-o".as_ref(),
            &packed,
            &plain,
        ])
        .ok();
        let listed = lmfs([Path::new("list"), "--json".as_ref(), &packed]).ok().stdout;
        assert!(listed.contains(&format!("\"{engine}\"")), "{listed}");
        joined.extend(fs::read(&packed).unwrap());
    }
    let packed = scratch.path("joined.lmz");
    fs::write(&packed, joined).unwrap();
    lmfs([Path::new("decompress"), "-o".as_ref(), &back, &packed]).ok();
    assert_eq!(fs::read(&back).unwrap(), [text.clone(), text].concat());
}

#[test]
fn a_store_remembers_its_engine() {
    for engine in ["exact", "llama"] {
        let scratch = Scratch::with_store(&["--engine", engine]);
        let mount = scratch.mount(&[]);
        let file = mount.path("a.txt");
        let text = fs::read(data("text/alice29.txt")).unwrap()[..5000].to_vec();
        fs::write(&file, &text).unwrap();
        mount.pack(&[]);
        let status = mount.status();
        assert_eq!(status["model"]["engine"], engine);
        assert!(status["blocks"]["model"].as_u64().unwrap() > 0, "{status}");
        mount.umount();
        let mount = scratch.mount(&[]);
        assert_eq!(fs::read(mount.path("a.txt")).unwrap(), text);
        mount.umount();
    }
    let refused = Scratch::empty();
    lmfs([Path::new("init"), "--engine=abacus".as_ref(), &refused.path("store")]).refused(&["abacus"]);
}
