//! What the documents say of the sources: links, the code map, the places named for questions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing of the project's own.
const FOREIGN: [&str; 5] = ["target", "vendor", "runs", "data", "artifacts"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// All files below `folder` with this extension, relative to the root.
fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !path.is_symlink() && !name.starts_with('.') && !FOREIGN.contains(&name) {
                folders.push(path);
            } else if path.is_file() && path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn architecture() -> String {
    fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap()
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The sections of the code map, by the folder that their heading names.
fn map() -> BTreeMap<String, Vec<String>> {
    architecture()
        .split("\n### `")
        .skip(1)
        .map(|section| {
            let (folder, rest) = section.split_once('`').unwrap();
            let section = rest.split("\n## ").next().unwrap();
            (folder.to_owned(), quoted(section).map(str::to_owned).collect())
        })
        .collect()
}

fn is_test(file: &str) -> bool {
    file.contains("/tests/") || file.ends_with("/tests.rs") || file.ends_with("_tests.rs")
}

#[test]
fn the_map_of_the_code_names_every_module() {
    let map = map();
    let mut modules = 0;
    let mut missing = Vec::new();
    for source in ["lmfs/src", "indexer/src", "codec/src", "object/src"] {
        for file in files(source, "rs").iter().filter(|file| !is_test(file)) {
            modules += 1;
            let module = Path::new(file).with_extension("");
            // The section of the nearest folder that has one.
            let (folder, section) = module
                .ancestors()
                .skip(1)
                .find_map(|folder| Some((folder, map.get(folder.to_str()?)?)))
                .unwrap_or_else(|| panic!("no section of the map has {file}"));
            let path = module.strip_prefix(folder).unwrap().to_str().unwrap();
            let name = module.file_name().unwrap().to_str().unwrap();
            if !section.iter().any(|known| known == path || known == name) {
                missing.push(file.clone());
            }
        }
    }
    assert!(modules > 150, "{modules} modules");
    assert!(
        missing.is_empty(),
        "docs/ARCHITECTURE.md, \"Code map\", does not name {missing:#?}"
    );
}

#[test]
fn the_map_of_the_code_names_no_folder_that_is_gone() {
    for folder in map().keys() {
        assert!(root().join(folder).is_dir(), "{folder}");
    }
}

#[test]
fn what_is_asked_for_is_where_the_map_says() {
    let text = architecture();
    let (_, section) = text.split_once("\n## Where is it?").unwrap();
    let mut places = 0;
    for line in section.lines().filter(|line| line.starts_with("| ")) {
        let names: Vec<&str> = quoted(line).collect();
        let files: Vec<&str> = names.iter().copied().filter(|name| name.ends_with(".rs")).collect();
        places += files.len();
        let contents: Vec<String> = files
            .iter()
            .map(|file| fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}")))
            .collect();
        // Whatever else is quoted beside a file is a name in it.
        for name in names.iter().filter(|name| !name.contains(['.', '/', ' '])) {
            assert!(
                files.is_empty() || contents.iter().any(|content| content.contains(name)),
                "{name} is not in {files:?}"
            );
        }
    }
    assert!(places >= 31, "{places} places");
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut links = 0;
    for page in files("", "md") {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        let folder = root().join(&page).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            if target.contains("://") || file.is_empty() {
                continue;
            }
            links += 1;
            assert!(folder.join(file).exists(), "{page} links to {target}");
        }
    }
    assert!(links > 30, "{links} links");
}

/// Regression: `make soak` left out two tests that have a long form, so nobody ever ran it.
#[test]
fn every_test_with_a_long_form_is_part_of_the_soak() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let soaked = makefile
        .lines()
        .find_map(|line| line.strip_prefix("SOAKED := "))
        .unwrap();
    // In two pieces, so that this file is not one of those found.
    let call = ["rounds", "("].concat();
    let long: BTreeSet<String> = files("tests/tests", "rs")
        .into_iter()
        .filter(|file| fs::read_to_string(root().join(file)).unwrap().contains(&call))
        .map(|file| file.split('/').nth(2).unwrap().trim_end_matches(".rs").to_owned())
        .collect();
    let soaked: BTreeSet<String> = soaked.split_whitespace().map(str::to_owned).collect();
    let missing: Vec<_> = long.difference(&soaked).collect();
    assert!(
        long.contains("raced") && missing.is_empty(),
        "not part of `make soak`: {missing:?}"
    );
}
