#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use lmfs_codec::Stop;

use super::*;

/// A folder with a text, a picture and a sound.
fn material() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = include_bytes!("../../../tests/data/text/genesis.txt");
    std::fs::write(folder.path().join("text"), text).unwrap();
    let pixels = (0..64 * 64).map(|i: u32| (i % 64 * 3 + i / 64) as u8).collect();
    let picture = crate::eval::Picture::new(64, 64, 1, pixels).unwrap();
    std::fs::write(folder.path().join("picture"), picture.to_netpbm().0).unwrap();
    let sound = crate::eval::Sound {
        channels: 1,
        bits: 16,
        rate: 16_000,
        samples: (0..6000)
            .map(|i| ((f64::from(i) * 0.05).sin() * 8000.0) as i16)
            .collect(),
    };
    std::fs::write(folder.path().join("sound"), sound.to_wav().0).unwrap();
    folder
}

#[test]
fn the_table_and_the_report_have_every_number() {
    let folder = material();
    let files = crate::eval::find_files(&[folder.path().to_path_buf()]).unwrap();
    let options = Options {
        limit: 8192,
        noise: false,
    };
    let sets = data_sets(&files, &options).unwrap();
    assert_eq!(sets.len(), 5, "text, patches, sound, pictures, sound files");
    let mut contenders = peers();
    contenders.retain(|peer| ["gzip -9", "oxipng -o 4", "FLAC"].contains(&peer.name.as_str()));
    contenders.push(Contender::mix().unwrap());
    let (report, stop) = (tempfile::tempdir().unwrap(), Stop::new());
    let open = || Kept::open(&report.path().join("measured.ndjson")).unwrap();
    let news = AtomicUsize::new(0);
    let run = |kept: &Kept| {
        let found = |rate: &Rate| {
            news.fetch_add(1, Ordering::Relaxed);
            kept.add_rate(rate)
        };
        measure(&sets, &contenders, &kept.rates, &found, &|_, _| (), &stop).unwrap()
    };
    let rates = run(&open());
    // Three sets in two ways, two whole alone.
    assert_eq!((rates.len(), news.load(Ordering::Relaxed)), (4 * 8, 4 * 8));
    assert_eq!(run(&open()).len(), 4 * 8, "the second run knows everything");
    assert_eq!(news.load(Ordering::Relaxed), 4 * 8);

    let table = Table::new(&sets, rates);
    let rate = |set, compressor, chunk| table.rate(set, compressor, chunk).unwrap();
    let mix = rate("text", "mix", Some(2048));
    assert!(mix.raw() < rate("text", "gzip -9", Some(2048)).raw());
    assert!(
        mix.adjusted() > mix.raw() + 10.0,
        "the weights and dictionaries are counted"
    );
    assert!(rate("pictures", "oxipng -o 4", None).raw() < rate("pictures", "gzip -9", None).raw());
    assert!(rate("sound files", "FLAC", None).raw() < rate("sound files", "gzip -9", None).raw());
    assert!(table.rate("pictures", "oxipng -o 4", Some(2048)).is_none());

    let open_mix = || Ok(crate::generate::Predicted::mix(lmfs_codec::mix::DataLayout::Plain));
    let curve = curve(&sets[0], "mix", 0, &open_mix, &stop).unwrap().unwrap();
    assert!(curve.points[0].rate > curve.points.last().unwrap().rate, "{curve:?}");
    let how = Circumstances {
        command: "lmfs eval <folder>".into(),
        facts: vec![("cores", "2".into())],
    };
    write_report(report.path(), &table, &[curve], &how).unwrap();
    let page = std::fs::read_to_string(report.path().join("index.html")).unwrap();
    assert!(page.contains("lmfs eval &lt;folder&gt;") && !page.contains("NaN") && !page.contains("http"));
    for tag in ["table", "tr", "svg", "figure", "div", "p"] {
        let count = |text: String| page.matches(&text).count();
        let opened = count(format!("<{tag}>")) + count(format!("<{tag} "));
        assert_eq!(opened, count(format!("</{tag}>")), "{tag}");
    }
    let csv = std::fs::read_to_string(report.path().join("rates.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 4 * 8);
}

#[test]
fn a_stop_interrupts_and_nothing_is_measured_twice() {
    let folder = material();
    let files = crate::eval::find_files(&[folder.path().to_path_buf()]).unwrap();
    let sets = data_sets(
        &files,
        &Options {
            limit: 8192,
            noise: true,
        },
    )
    .unwrap();
    let stop = Stop::new();
    stop.set();
    let stopped = measure(&sets, &peers(), &HashMap::new(), &|_| Ok(()), &|_, _| (), &stop);
    assert!(matches!(stopped, Err(crate::eval::Error::Interrupted)));
}
