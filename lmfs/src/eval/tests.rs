#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use lmfs_codec::Codec;

fn corpus() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("corpus");
    fs::create_dir_all(root.join("text/deep")).unwrap();
    fs::create_dir(root.join("zeros")).unwrap();
    fs::write(root.join("text/a"), "the same line, again\n".repeat(1000)).unwrap();
    fs::write(root.join("text/deep/b"), "another line\n").unwrap();
    fs::write(root.join("zeros/z"), vec![0; 10_000]).unwrap();
    fs::write(root.join("zeros/empty"), "").unwrap();
    fs::write(root.join("loose"), "in no folder").unwrap();
    (folder, root)
}

fn lmfs() -> Lmfs {
    Lmfs::new("lmfs", Codec::new(None, lmfs_codec::Options::default()).unwrap())
}

#[test]
fn every_byte_is_counted_once_by_every_compressor() {
    let (_folder, root) = corpus();
    let files = find_files(&[root]).unwrap();
    let lmfs = lmfs();
    let compressors: [&dyn Compressor; 4] = [&lmfs, &Gzip, &Zstd, &Xz];
    let options = Options {
        block_size: 4096,
        ..Options::default()
    };
    let seen = AtomicU64::new(0);
    let count = |bytes| {
        seen.fetch_add(bytes, Ordering::Relaxed);
    };
    let report = evaluate(&files, &compressors, &options, &count, &Stop::new()).unwrap();

    let kinds: Vec<_> = report
        .kinds
        .iter()
        .map(|row| (row.kind.as_str(), row.files, row.bytes))
        .collect();
    assert_eq!(kinds, [("corpus", 1, 12), ("text", 2, 21_013), ("zeros", 1, 10_000)]);
    assert_eq!((report.total.files, report.total.bytes), (4, 31_025));
    assert_eq!(seen.into_inner(), 2 * 31_025, "as blocks and as whole files");
    for name in ["gzip -9", "zstd -19", "xz -9e"] {
        assert!(
            report.total.whole[name].bytes < report.total.blocks[name].bytes,
            "{name}"
        );
        let sum: u64 = report.kinds.iter().map(|row| row.blocks[name].bytes).sum();
        assert_eq!(report.total.blocks[name].bytes, sum, "{name}");
    }
    // 1 + 6 + 1 + 3 blocks; what is longer than its block's header and payload cannot be smaller raw.
    assert_eq!(report.total.blocks["lmfs"].methods.values().sum::<u64>(), 11);
    assert!(
        !report.total.whole.contains_key("lmfs"),
        "its blocks are all it makes of a file"
    );
    assert!(report.total.blocks["lmfs"].ratio > 0.0 && report.total.blocks["lmfs"].ratio < 0.2);
}

#[test]
fn the_peers_are_the_real_thing() {
    // alice29.txt through gzip 1.12 -9, zstd 1.5.4 -19 and xz 5.4.1 -9e.
    let text = include_bytes!("../../../tests/data/text/alice29.txt");
    let programs: [(&dyn Compressor, usize); 3] = [(&Gzip, 54_191), (&Zstd, 49_215), (&Xz, 48_528)];
    for (compressor, program) in programs {
        let ours = compressor.compress(text, &Stop::new()).unwrap().bytes;
        let apart = ours.abs_diff(program) as f64 / program as f64;
        assert!(
            apart < 0.01,
            "{}: {ours} bytes, the program makes {program}",
            compressor.name()
        );
    }
}

#[test]
fn the_table_and_the_json_say_the_same() {
    let (_folder, root) = corpus();
    let files = find_files(&[root.join("text")]).unwrap();
    let options = Options {
        whole: false,
        ..Options::default()
    };
    let report = evaluate(&files, &[&lmfs(), &Zstd], &options, &|_| (), &Stop::new()).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    let ratio = json["total"]["blocks"]["zstd -19"]["ratio"].as_f64().unwrap();
    let table = report.to_string();
    let total = table
        .lines()
        .find(|line| line.trim_start().starts_with("total"))
        .unwrap();
    assert!(total.ends_with(&format!("{ratio:.4}")), "{table}");
    assert!(json["total"].get("whole").is_none());
}

#[test]
fn a_stop_interrupts_and_nothing_is_an_error() {
    let (folder, root) = corpus();
    let files = find_files(&[root.join("text")]).unwrap();
    let stop = Stop::new();
    stop.set();
    let stopped = evaluate(&files, &[&Zstd], &Options::default(), &|_| (), &stop);
    assert!(matches!(stopped, Err(Error::Interrupted)));

    assert!(matches!(
        find_files(&[root.join("zeros/empty")]),
        Err(Error::Nothing { .. })
    ));
    assert!(matches!(
        find_files(&[folder.path().join("missing")]),
        Err(Error::Read { .. })
    ));
}

#[test]
fn pictures_and_sounds_take_less_than_as_bytes() {
    let stop = Stop::new();
    // A slope with some grain.
    let rows = (0..64 * 300_u32).map(|i| ((i % 64) * 2 + i / 64 / 3 + (i.wrapping_mul(2_654_435_761) >> 30)) as u8);
    let picture = Picture::new(64, 300, 1, rows.collect()).unwrap();
    let (file, header, channels) = picture.to_netpbm();
    let form = Form::Picture {
        header,
        width: 64,
        channels,
    };
    let png = Png.compress_as(&file, form, &stop).unwrap().bytes;
    assert!(png < Gzip.compress(&file, &stop).unwrap().bytes, "{png} bytes");
    assert_eq!(Picture::decode(&encode_png(&picture).unwrap()).unwrap(), picture);

    let wave = |i: usize| ((i as f64 * 0.03).sin() * 9000.0 + (i as f64 * 0.11).sin() * 2000.0) as i16;
    let sound = Sound {
        channels: 1,
        bits: 16,
        rate: 16_000,
        samples: (0..20_000).map(wave).collect(),
    };
    let (file, header) = sound.to_wav();
    let form = Form::Sound {
        header,
        channels: 1,
        bits: 16,
        rate: 16_000,
    };
    let flac = Flac.compress_as(&file, form, &stop).unwrap().bytes;
    assert!(flac * 2 < Gzip.compress(&file, &stop).unwrap().bytes, "{flac} bytes");
}

#[test]
fn every_peer_takes_any_bytes_in_any_form() {
    let stop = Stop::new();
    let (picture, sound) = (
        Form::Picture {
            header: 5,
            width: 7,
            channels: 3,
        },
        Form::Sound {
            header: 3,
            channels: 2,
            bits: 16,
            rate: 44_100,
        },
    );
    // Regression: 4,109 samples are a frame of 4,096 and one that is too short to be decoded.
    for raw in [&b""[..], b"a", b"some bytes", &[0; 4109], &[0; 5000]] {
        for form in [Form::Bytes, picture, sound] {
            for peer in [&Gzip as &dyn Compressor, &Zstd, &Xz, &Png, &Flac] {
                let made = peer.compress_as(raw, form, &stop);
                assert!(
                    made.is_ok(),
                    "{} of {} bytes: {}",
                    peer.name(),
                    raw.len(),
                    made.unwrap_err()
                );
            }
        }
    }
}
