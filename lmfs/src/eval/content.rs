//! What a file is, by its first bytes and never by its name.

use lmfs_codec::dictionary::builtin;
use serde::Serialize;

/// What a file is, as coarse as a table's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Prose, in any script.
    Text,
    /// Programs and markup.
    Code,
    /// CSV, JSON, logs.
    Records,
    /// A picture in a format that can be read here.
    Picture,
    /// Sound in a format that can be read here.
    Sound,
    /// Anything else.
    Binary,
}

/// What a file is: its class, and more precisely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// The column that it counts in.
    pub class: Class,
    /// The format, script or language.
    pub name: &'static str,
}

/// Bytes of a file that decide.
pub const SAMPLE: usize = 16 << 10;

/// Formats with a signature: where it stands, what it is, what of.
const SIGNATURES: [(usize, &[u8], Class, &str); 24] = [
    (0, b"\x89PNG\r\n\x1a\n", Class::Picture, "PNG"),
    (0, b"P5", Class::Picture, "PGM"),
    (0, b"P6", Class::Picture, "PPM"),
    (0, b"BM", Class::Picture, "BMP"),
    (0, b"II*\0", Class::Picture, "TIFF"),
    (0, b"MM\0*", Class::Picture, "TIFF"),
    (8, b"WAVE", Class::Sound, "WAV"),
    (8, b"AIFF", Class::Sound, "AIFF"),
    (0, b"fLaC", Class::Sound, "FLAC"),
    (0, b"\xff\xd8\xff", Class::Binary, "JPEG"),
    (0, b"GIF8", Class::Binary, "GIF"),
    (8, b"WEBP", Class::Binary, "WebP"),
    (0, b"OggS", Class::Binary, "Ogg"),
    (0, b"ID3", Class::Binary, "MP3"),
    (0, b"%PDF-", Class::Binary, "PDF"),
    (0, b"PK\x03\x04", Class::Binary, "ZIP"),
    (0, b"\x1f\x8b", Class::Binary, "gzip"),
    (0, b"\xfd7zXZ\0", Class::Binary, "xz"),
    (0, b"\x28\xb5\x2f\xfd", Class::Binary, "zstd"),
    (0, b"BZh", Class::Binary, "bzip2"),
    (0, b"\x7fELF", Class::Binary, "ELF"),
    (0, b"GGUF", Class::Binary, "GGUF"),
    (0, b"SQLite format 3\0", Class::Binary, "SQLite"),
    (0, b"\xd0\xcf\x11\xe0", Class::Binary, "OLE"),
];

/// Short signatures that text may begin with, too.
const DOUBTFUL: [&str; 5] = ["PGM", "PPM", "BMP", "bzip2", "MP3"];

/// What a file is that begins with these bytes, at most [`SAMPLE`] of them.
#[must_use]
pub fn recognise(head: &[u8]) -> Content {
    let text = as_text(head);
    let found = SIGNATURES.iter().find(|(at, signature, _, name)| {
        let stands = head.get(*at..).is_some_and(|rest| rest.starts_with(signature));
        stands && (text.is_none() || !DOUBTFUL.contains(name) || is_netpbm(head))
    });
    if let Some(&(_, _, class, name)) = found {
        return Content { class, name };
    }
    let Some(text) = text else {
        return Content {
            class: Class::Binary,
            name: "binary",
        };
    };
    let records = |name| Content {
        class: Class::Records,
        name,
    };
    if is_json(text) {
        return records("JSON");
    }
    if is_log(text) {
        return records("log");
    }
    if is_csv(text) {
        return records("CSV");
    }
    let script = script(text);
    if script != "Latin" {
        return Content {
            class: Class::Text,
            name: script,
        };
    }
    match builtin::kind(head) {
        Some(name @ ("c" | "java" | "python" | "web" | "rust" | "script" | "xml"))
            if looks_written_for_machines(text) =>
        {
            Content {
                class: Class::Code,
                name,
            }
        }
        _ if looks_like_code(text) => Content {
            class: Class::Code,
            name: "other code",
        },
        _ => Content {
            class: Class::Text,
            name: "Latin",
        },
    }
}

/// The head of a PGM or PPM file is text to its last byte, so it has to have the three numbers.
fn is_netpbm(head: &[u8]) -> bool {
    super::picture::netpbm_header(head).is_some()
}

/// The bytes as text, if they are: a code point that the sample cuts is left out.
fn as_text(head: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => std::str::from_utf8(head.get(..error.valid_up_to())?).ok()?,
        // Old text has one byte a letter. A few of them are no reason to call it binary.
        Err(error) if error.valid_up_to() > head.len() / 2 => {
            std::str::from_utf8(head.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}' | '\u{1b}' | '\u{1a}');
    (!text.is_empty() && text.chars().filter(|&c| control(c)).count() * 200 <= text.len()).then_some(text)
}

/// Whole lines at the start, without the one that the sample cuts.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(60).collect();
    if lines.len() > 1 && lines.len() < 60 {
        lines.pop();
    }
    lines
}

fn is_json(text: &str) -> bool {
    let start = text.trim_start();
    let opens = |text: &str| text.starts_with('{') || text.starts_with('[');
    if !opens(start) {
        return false;
    }
    // A value that the sample cuts ends early, and nothing is wrong before.
    let mut values = serde_json::Deserializer::from_str(start).into_iter::<serde::de::IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => lines(start).iter().skip(1).all(|line| opens(line.trim_start())) || values.all(|v| v.is_ok()),
        Some(Err(error)) => error.is_eof(),
        None => false,
    }
}

/// Lines that begin with a time, an address or a level, as most of a log's do.
fn is_log(text: &str) -> bool {
    let lines = lines(text);
    let begins = |line: &&&str| {
        let head: String = line.chars().take(48).collect();
        let digits = head.chars().filter(char::is_ascii_digit).count();
        let clock = head
            .as_bytes()
            .windows(5)
            .any(|five| matches!(five, [a, b, b':', c, d] if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit())));
        let level = ["INFO", "WARN", "ERROR", "DEBUG", "FATAL"]
            .iter()
            .any(|level| head.contains(level));
        (clock && digits >= 6) || (level && digits >= 4)
    };
    lines.len() >= 5 && lines.iter().filter(begins).count() * 10 >= lines.len() * 7
}

/// The same separator, as often in every line.
fn is_csv(text: &str) -> bool {
    let lines = lines(text);
    [',', ';', '\t', '|'].iter().any(|&separator| {
        let counts: Vec<usize> = lines.iter().map(|line| outside_quotes(line, separator)).collect();
        let first = counts.first().copied().unwrap_or_default();
        let least = if separator == ',' { 2 } else { 1 };
        let same = counts.iter().filter(|&&count| count == first).count();
        lines.len() >= 5 && first >= least && same * 10 >= lines.len() * 9
    })
}

fn outside_quotes(line: &str, separator: char) -> usize {
    let parts = line.split('"').step_by(2);
    parts.map(|part| part.matches(separator).count()).sum()
}

/// The script that most letters belong to.
fn script(text: &str) -> &'static str {
    const SCRIPTS: [&str; 8] = [
        "Latin",
        "Greek",
        "Cyrillic",
        "Hebrew",
        "Arabic",
        "Devanagari",
        "Han",
        "Kana",
    ];
    let mut counts = [0_usize; SCRIPTS.len()];
    for c in text.chars().filter(|c| c.is_alphabetic()) {
        let script = match u32::from(c) {
            0x370..=0x3ff | 0x1f00..=0x1fff => 1,
            0x400..=0x52f => 2,
            0x590..=0x5ff => 3,
            0x600..=0x6ff | 0x750..=0x77f => 4,
            0x900..=0x97f => 5,
            0x3400..=0x9fff => 6,
            0x3040..=0x30ff => 7,
            _ => 0,
        };
        counts.iter_mut().skip(script).take(1).for_each(|count| *count += 1);
    }
    let [.., han, kana] = counts;
    // Japanese is written in both.
    if kana * 4 > han && kana > 0 && han + kana > counts.iter().sum::<usize>() / 2 {
        return "Japanese";
    }
    let most = counts.iter().zip(SCRIPTS).rev().max_by_key(|(count, _)| **count);
    most.map_or("Latin", |(_, script)| script)
}

/// Whether the marks of programs are at least as frequent as in markup.
fn looks_written_for_machines(text: &str) -> bool {
    marks(text) * 100 >= text.len() * 3
}

fn looks_like_code(text: &str) -> bool {
    marks(text) * 100 >= text.len() * 6
}

fn marks(text: &str) -> usize {
    text.chars().filter(|c| "{}()[]<>;=_#/\\$&|*+".contains(*c)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_samples_are_what_they_are() {
        let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
        for (file, class, name) in [
            ("text/alice29.txt", Class::Text, "Latin"),
            ("text/genesis.txt", Class::Text, "Latin"),
            ("code/flask/cli.py", Class::Code, "python"),
            ("code/leveldb/table/block.cc", Class::Code, "c"),
            ("code/leveldb/doc/impl.md", Class::Text, "Latin"),
            ("csv/stations.csv", Class::Records, "CSV"),
            ("json/events.ndjson", Class::Records, "JSON"),
            ("logs/access.log", Class::Records, "log"),
            ("logs/service.log", Class::Records, "log"),
        ] {
            let bytes = std::fs::read(data.join(file)).unwrap_or_default();
            let head = bytes.get(..SAMPLE.min(bytes.len())).unwrap_or_default();
            assert_eq!(recognise(head), Content { class, name }, "{file}");
        }
    }

    #[test]
    fn signatures_and_scripts_are_told_apart() {
        for (head, class, name) in [
            (&b"\x89PNG\r\n\x1a\n\0\0"[..], Class::Picture, "PNG"),
            (b"P5 2 2 255\n\x80\x81\x82\x83", Class::Picture, "PGM"),
            (b"P5 2 2 255\nabcd", Class::Picture, "PGM"),
            (b"P6 is a processor, and no picture", Class::Text, "Latin"),
            (b"BMW makes cars. They have four wheels.", Class::Text, "Latin"),
            (b"RIFF\x24\0\0\0WAVEfmt ", Class::Sound, "WAV"),
            (b"\x7fELF\x02\x01\x01\0\0\0", Class::Binary, "ELF"),
            (&[0, 1, 2, 3, 200, 201, 202], Class::Binary, "binary"),
            (
                "Все счастливые семьи похожи друг на друга".as_bytes(),
                Class::Text,
                "Cyrillic",
            ),
            ("吾輩は猫である。名前はまだ無い。".as_bytes(), Class::Text, "Japanese"),
            ("道可道,非常道。名可名,非常名。".as_bytes(), Class::Text, "Han"),
            (b"[1, 2, 3", Class::Records, "JSON"),
            (b"", Class::Binary, "binary"),
        ] {
            assert_eq!(
                recognise(head),
                Content { class, name },
                "{}",
                String::from_utf8_lossy(head)
            );
        }
    }
}
