//! Size of blocks beside the strongest general compressors, on the same blocks and on whole files, kind by kind.

use std::path::Path;
use std::process::Command;

use lmfs::eval::{Compressed, Compressor, Input, Lmfs, Options, Row, Xz, Zstd, evaluate};
use lmfs_codec::model::{EngineChoice, LoadOptions, ModelSource, load};
use lmfs_codec::{Codec, Header, Stop};

use crate::corpus::Kind;

const BLOCK: usize = 64 << 10;

/// A program that compresses a file into another, or to standard output if its arguments name none.
struct Program {
    name: &'static str,
    args: &'static [&'static str],
    /// What its archive has beside the compressed data, which a block in a store would not need.
    frame: usize,
}

/// `zpaq -m5`, less 1,000 bytes an archive for its headers; `7z` with PPMd, and `brotli`, as they are.
const PROGRAMS: [Program; 3] = [
    Program {
        name: "zpaq -m5",
        args: &["zpaq", "add", "OUT.zpaq", "IN", "-m5", "-t1"],
        frame: 1000,
    },
    Program {
        name: "7z PPMd",
        args: &["7z", "a", "-bd", "-m0=PPMd:o=16:mem=256m", "-mmt=1", "OUT.7z", "IN"],
        frame: 0,
    },
    Program {
        name: "brotli 11",
        args: &["brotli", "-q", "11", "-w", "24", "-o", "OUT.br", "IN"],
        frame: 0,
    },
];

impl Program {
    fn is_there(&self) -> bool {
        let program = self.args.first().unwrap();
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
    }
}

impl Compressor for Program {
    fn name(&self) -> &str {
        self.name
    }

    fn compress(&self, raw: &[u8], _: &Stop) -> Result<Compressed, Box<dyn std::error::Error + Send + Sync>> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("IN"), raw)?;
        let (program, args) = self.args.split_first().ok_or("no program")?;
        let done = Command::new(program).args(args).current_dir(folder.path()).output()?;
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).into_owned().into());
        }
        let out = args.iter().find(|arg| arg.starts_with("OUT")).ok_or("no output")?;
        let len = usize::try_from(folder.path().join(out).metadata()?.len())?;
        Ok(Compressed {
            bytes: len.saturating_sub(self.frame),
            method: None,
        })
    }
}

const GROUPS: [&str; 5] = [
    "prose, wiki, code",
    "logs, CSV, JSON",
    "binaries, sound",
    "subtitles",
    "images",
];

/// What a file counts as in the sums below the table.
fn group(kind: &str, raw: &[u8]) -> &'static str {
    match kind {
        "logs" | "csv" | "json" => "logs, CSV, JSON",
        "subtitles" => "subtitles",
        "images" => "images",
        _ if std::str::from_utf8(raw).is_err() && kind != "wikitext2" => "binaries, sound",
        _ => "prose, wiki, code",
    }
}

pub fn print(kinds: &[Kind]) {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    let mut groups = Vec::new();
    for kind in kinds {
        kind.copy_to(&folder.path().join(&kind.name));
        for (path, raw) in kind.contents() {
            // Each file is a kind of its own: sums are made here.
            files.push(Input {
                path: folder.path().join(&kind.name).join(path),
                kind: format!("{}/{}", kind.name, path.display()),
                bytes: raw.len() as u64,
            });
            groups.push((kind.name.as_str(), group(&kind.name, &raw)));
        }
    }
    let model = load(
        &ModelSource::builtin_default().unwrap(),
        EngineChoice::Auto,
        &LoadOptions::default(),
    )
    .unwrap();
    let full = Lmfs::new("lmfs", Codec::new(Some(model), lmfs_codec::Options::default()).unwrap());
    let mix = Lmfs::new("lmfs mix", Codec::new(None, lmfs_codec::Options::default()).unwrap());
    let mut compressors: Vec<&dyn Compressor> = vec![&full, &mix, &Zstd, &Xz];
    for program in &PROGRAMS {
        match program.is_there() {
            true => compressors.push(program),
            false => println!(
                "\n{} is not installed: `scripts/setup.sh bench` does that.",
                program.name
            ),
        }
    }
    let options = Options {
        block_size: BLOCK,
        ..Options::default()
    };
    let progress = |_| eprint!(".");
    let report = evaluate(&files, &compressors, &options, &progress, &Stop::new()).unwrap();
    eprintln!();
    let names: Vec<&str> = compressors.iter().map(|compressor| compressor.name()).collect();
    let whole: Vec<&str> = names.iter().copied().filter(|name| !name.starts_with("lmfs")).collect();
    println!("\n### Size beside peers\n");
    println!(
        "Bytes of the output over bytes of the input. zpaq less 1,000 bytes a block or file; everything else with all headers.\n"
    );
    println!(
        "| kind | bytes | {} | {} |",
        names.join(" | "),
        whole
            .iter()
            .map(|name| format!("whole: {name}"))
            .collect::<Vec<_>>()
            .join(" | ")
    );
    println!("|---|---|{}", "---|".repeat(names.len() + whole.len()));
    let rows = || report.kinds.iter().zip(&groups);
    for kind in kinds {
        let rows: Vec<&Row> = rows()
            .filter(|(_, (name, _))| *name == kind.name)
            .map(|(row, _)| row)
            .collect();
        line(&kind.name, &rows, &names, &whole);
    }
    let in_group = |group: &str| -> Vec<&Row> {
        rows()
            .filter(|(_, (_, name))| *name == group)
            .map(|(row, _)| row)
            .collect()
    };
    for group in GROUPS {
        line(&format!("**{group}**"), &in_group(group), &names, &whole);
    }
    println!(
        "\n| lmfs over | zpaq -m5, same blocks | the best peer file by file, same blocks | the same, whole files |"
    );
    println!("|---|---|---|---|");
    for group in GROUPS {
        beside(group, &in_group(group), &whole);
    }
    worst(&report.kinds);
    small(&files, &groups, &full);
}

fn sum(rows: &[&Row], size: impl Fn(&Row) -> u64) -> u64 {
    rows.iter().map(|row| size(row)).sum()
}

fn blocks(row: &Row, name: &str) -> u64 {
    row.blocks.get(name).map_or(0, |size| size.bytes)
}

fn files(row: &Row, name: &str) -> u64 {
    row.whole.get(name).map_or(0, |size| size.bytes)
}

fn line(label: &str, rows: &[&Row], names: &[&str], whole: &[&str]) {
    let bytes = sum(rows, |row| row.bytes).max(1);
    let ratio = |n: u64| format!(" {:.4} |", n as f64 / bytes as f64);
    let inside: String = names
        .iter()
        .map(|name| ratio(sum(rows, |row| blocks(row, name))))
        .collect();
    let outside: String = whole
        .iter()
        .map(|name| ratio(sum(rows, |row| files(row, name))))
        .collect();
    println!("| {label} | {bytes} |{inside}{outside}");
}

/// The sums that the bars are about.
fn beside(group: &str, rows: &[&Row], whole: &[&str]) {
    let ours = sum(rows, |row| blocks(row, "lmfs"));
    let zpaq = sum(rows, |row| blocks(row, "zpaq -m5"));
    let best_of = |size: fn(&Row, &str) -> u64| {
        let peers = whole.iter().filter(|name| !name.starts_with("zstd"));
        sum(rows, |row| peers.clone().map(|name| size(row, name)).min().unwrap_or(0))
    };
    let ratio = |theirs: u64| match theirs {
        0 => "not measured".to_owned(),
        theirs => format!("{:.3}", ours as f64 / theirs as f64),
    };
    println!(
        "| {group} | {} | {} | {} |",
        ratio(zpaq),
        ratio(best_of(blocks)),
        ratio(best_of(files))
    );
}

/// Nothing may be larger than the smaller of raw and zstd -19, and the headers.
fn worst(rows: &[Row]) {
    let over = |row: &Row| {
        let headers = row.bytes.div_ceil(BLOCK as u64) * Header::LEN as u64;
        blocks(row, "lmfs") as i64 - row.bytes.min(blocks(row, "zstd -19")) as i64 - headers as i64
    };
    let worst = rows.iter().max_by_key(|row| over(row)).unwrap();
    println!(
        "\nWorst file against min(raw, zstd -19) and the headers: {}, {:+} bytes.",
        worst.kind,
        over(worst)
    );
}

/// Prose and wiki text in blocks of 4 KiB against xz -9e on whole files.
fn small(files: &[Input], groups: &[(&str, &str)], lmfs: &dyn Compressor) {
    let prose = |(input, (kind, group)): &(&Input, &(&str, &str))| {
        let code = |path: &Path| {
            path.extension()
                .is_some_and(|end| ["html", "c", "lsp", "1"].iter().any(|e| end == *e))
        };
        *group == "prose, wiki, code" && *kind != "code" && !code(&input.path)
    };
    let inputs: Vec<Input> = files
        .iter()
        .zip(groups)
        .filter(prose)
        .map(|(input, _)| input.clone())
        .collect();
    if inputs.is_empty() {
        return;
    }
    let options = Options {
        block_size: 4096,
        ..Options::default()
    };
    let report = evaluate(&inputs, &[lmfs, &Xz], &options, &|_| (), &Stop::new()).unwrap();
    let row = report.total;
    println!(
        "\nProse and wiki text ({} files, {} bytes) in blocks of 4 KiB: lmfs {:.4}, xz -9e of the same blocks {:.4}, of whole files {:.4}: ratio {:.3}.",
        row.files,
        row.bytes,
        blocks(&row, "lmfs") as f64 / row.bytes as f64,
        blocks(&row, "xz -9e") as f64 / row.bytes as f64,
        self::files(&row, "xz -9e") as f64 / row.bytes as f64,
        blocks(&row, "lmfs") as f64 / self::files(&row, "xz -9e") as f64
    );
}
