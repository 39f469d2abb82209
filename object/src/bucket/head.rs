//! HEAD: which pieces make up which file, who writes, and what is to be deleted. docs/FORMAT.md, "A store in a bucket".

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::{Error, Result};
use super::flaw::Flaw;

/// The most bytes of a HEAD that are read: about 100,000 segments.
pub const MAX_HEAD: u64 = 64 << 20;

const FORMAT: u32 = 1;
const CONFIG: &str = "config.toml";
/// The name of its object below the prefix of a store.
pub const HEAD: &str = "HEAD";
const MAGIC: &str = "lmfs-head";
/// Bytes of a file that HEAD holds itself, at most.
const MAX_START: usize = 64;
/// No file is longer.
const MAX_FILE: u64 = 1 << 40;
/// The longest piece. Memory and time of a request grow with it.
pub const MAX_PIECE: u64 = 32 << 20;
/// No config is longer: it is read into memory as a whole.
pub const MAX_CONFIG: u64 = 1 << 20;

/// The state of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Made with the first HEAD of this prefix: objects of another lineage have nothing to do with these.
    pub lineage: Uuid,
    /// Identity of the store.
    pub store_id: Uuid,
    /// Grows with each writer.
    pub epoch: u64,
    /// Who wrote this HEAD: one run of a program.
    pub writer: Uuid,
    /// The same for people.
    pub writer_name: String,
    /// No two HEADs have the same.
    pub commit: Uuid,
    /// When it was written, in seconds since 1970.
    pub time: u64,
    /// When conditional writes of the server were last raced, in the same way; 0: never.
    #[serde(default)]
    pub probed: u64,
    /// How long objects are kept that are needed no more.
    pub grace_seconds: u64,
    /// Number of the last transaction in the files; none until the first push has come to its end.
    pub seq: Option<u64>,
    /// The files.
    pub files: Vec<File>,
    /// Pieces that were stored for files to come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub staged: Vec<Staged>,
    /// Objects that are needed no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dead: Vec<Dead>,
}

/// A file of the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its path in the folder.
    pub path: String,
    /// Its first bytes, in hexadecimal digits: what is looked at in every file when a store is opened.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub start: String,
    /// Its pieces, in order.
    pub pieces: Vec<Piece>,
}

impl File {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.length).sum()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Its first bytes, as far as HEAD has them.
    #[must_use]
    pub fn start(&self) -> Vec<u8> {
        hex::decode(&self.start).unwrap_or_default()
    }
}

/// An object that never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Its name below the prefix. No name is ever used twice.
    pub object: String,
    /// Its length in bytes.
    pub length: u64,
    /// SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
}

/// A piece that was stored before its file could be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// The file.
    pub path: String,
    /// Where in the file the piece begins.
    pub offset: u64,
    /// The piece.
    pub piece: Piece,
}

/// An object that is needed no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dead {
    /// Its name below the prefix.
    pub object: String,
    /// When it may be deleted, in seconds since 1970.
    pub delete_after: u64,
}

impl Head {
    /// The file at `path`.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// All objects that it names.
    pub(super) fn objects(&self) -> HashSet<&str> {
        let files = self.files.iter().flat_map(|file| &file.pieces);
        let pieces = files.chain(self.staged.iter().map(|staged| &staged.piece));
        let dead = self.dead.iter().map(|dead| dead.object.as_str());
        pieces.map(|piece| piece.object.as_str()).chain(dead).collect()
    }

    /// Its bytes: a line with format and checksum, and JSON.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let body = serde_json::to_vec(self).map_err(|e| Error::Local {
            what: "cannot write HEAD".into(),
            source: e.into(),
        })?;
        let mut out = format!("{MAGIC} {FORMAT} {:08x}\n", crc32fast::hash(&body)).into_bytes();
        out.extend_from_slice(&body);
        match out.len() as u64 {
            len if len > MAX_HEAD => Err(Error::TooLarge { len, max: MAX_HEAD }),
            _ => Ok(out),
        }
    }

    /// Reads the bytes of a HEAD that lies in `place`.
    pub(super) fn decode(bytes: &[u8], place: &str) -> Result<Head> {
        let damaged = |why: String| Error::Damaged {
            place: place.to_owned(),
            why,
        };
        let end = bytes.iter().position(|b| *b == b'\n');
        let (line, body) = end
            .and_then(|end| bytes.split_at_checked(end))
            .ok_or_else(|| damaged("it has no first line".into()))?;
        let body = body.get(1..).unwrap_or_default();
        let line = str::from_utf8(line).unwrap_or_default();
        let mut words = line.split(' ');
        let (magic, format, sum) = (words.next(), words.next(), words.next());
        if magic != Some(MAGIC) {
            return Err(damaged("it does not begin as one".into()));
        }
        match format.and_then(|format| format.parse().ok()) {
            Some(FORMAT) => {}
            Some(found) if found > FORMAT => {
                return Err(Error::NewerFormat {
                    place: place.to_owned(),
                    found,
                    known: FORMAT,
                });
            }
            _ => return Err(damaged("its format is no number".into())),
        }
        if sum != Some(&format!("{:08x}", crc32fast::hash(body))) {
            return Err(damaged("its checksum is another one".into()));
        }
        let head: Head = serde_json::from_slice(body).map_err(|e| damaged(e.to_string()))?;
        head.check().map_err(|flaw| damaged(flaw.to_string()))?;
        Ok(head)
    }

    /// What no HEAD of ours says.
    fn check(&self) -> std::result::Result<(), Flaw> {
        let mut paths = HashSet::new();
        for file in &self.files {
            check_file(&file.path)?;
            if !paths.insert(&file.path) {
                return Err(Flaw::Twice(file.path.clone()));
            }
            let lengths = file.pieces.iter().map(|piece| piece.length);
            let len = lengths.fold(0, u64::saturating_add);
            let start = hex::decode(&file.start).map_err(|_| Flaw::Start(file.path.clone()))?;
            let most = if file.path == CONFIG { MAX_CONFIG } else { MAX_FILE };
            if len > most || start.len() > MAX_START || start.len() as u64 > len {
                return Err(Flaw::Length(file.path.clone()));
            }
        }
        let pieces = self.files.iter().flat_map(|file| &file.pieces);
        let pieces = pieces.chain(self.staged.iter().map(|staged| &staged.piece));
        for piece in pieces {
            check_object(&piece.object)?;
            let digest = piece.sha256.len() == 64 && hex::decode(&piece.sha256).is_ok();
            if !digest || piece.length == 0 || piece.length > MAX_PIECE {
                return Err(Flaw::Piece(piece.object.clone()));
            }
        }
        for staged in &self.staged {
            check_file(&staged.path)?;
        }
        let mut needed = HashSet::new();
        needed.extend(
            self.files
                .iter()
                .flat_map(|file| &file.pieces)
                .map(|piece| piece.object.as_str()),
        );
        for dead in &self.dead {
            check_object(&dead.object)?;
            if needed.contains(dead.object.as_str()) {
                return Err(Flaw::NeededAndDead(dead.object.clone()));
            }
        }
        Ok(())
    }
}

/// Whether a file is one that a store has. Whoever clones it makes these files, and no others.
fn check_file(path: &str) -> std::result::Result<(), Flaw> {
    let hex = |name: &str, len| name.len() == len && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let digits = |name: &str| name.len() == 8 && name.bytes().all(|b| b.is_ascii_digit());
    let good = match path.split_once('/') {
        None => path == CONFIG,
        Some(("models", name)) => name.strip_suffix(".gguf").is_some_and(|name| hex(name, 64)),
        Some(("segments", name)) => name.strip_suffix(".seg").is_some_and(digits),
        Some(_) => false,
    };
    match good {
        true => Ok(()),
        false => Err(Flaw::NoFile(path.to_owned())),
    }
}

/// Bytes that [`is_head`] looks at.
pub const HEAD_START: u64 = MAGIC.len() as u64;

/// Whether an object that begins with these bytes is a HEAD, as far as they tell.
#[must_use]
pub fn is_head(start: &[u8]) -> bool {
    start.starts_with(MAGIC.as_bytes())
}

/// Whether an object with this name below a prefix may be one of a store's there: HEAD, its lock, or a piece.
pub(crate) fn is_part(object: &str) -> bool {
    // A piece is named after its file, and by who wrote it.
    let file = object.rsplit_once('.').map(|(file, _)| file);
    object == HEAD || file.is_some_and(|file| file == HEAD || check_file(file).is_ok())
}

/// Whether an object may be a piece: HEAD and its lock are none.
fn check_object(object: &str) -> std::result::Result<(), Flaw> {
    match object.starts_with("HEAD") {
        true => Err(Flaw::NoPiece(object.to_owned())),
        false => check_path(object),
    }
}

/// Whether a path is one in a store's folder: a file, or a folder and a file, of letters, digits, `.` and `-`.
///
/// # Errors
/// [`Flaw::NoPath`]: what is in a bucket must not lead out of the folder that it is fetched to.
pub fn check_path(path: &str) -> std::result::Result<(), Flaw> {
    let part = |part: &str| {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        !part.is_empty() && part.len() <= 200 && !part.starts_with('.') && part.bytes().all(good)
    };
    let parts: Vec<&str> = path.split('/').collect();
    match parts.len() <= 2 && parts.iter().all(|p| part(p)) {
        true => Ok(()),
        false => Err(Flaw::NoPath(path.to_owned())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
pub(super) mod tests {
    use super::*;

    pub fn head() -> Head {
        let piece = |object: &str, length| Piece {
            object: object.into(),
            length,
            sha256: "ab".repeat(32),
        };
        Head {
            lineage: Uuid::from_u128(1),
            store_id: Uuid::from_u128(2),
            epoch: 3,
            writer: Uuid::from_u128(4),
            writer_name: "a test".into(),
            commit: Uuid::from_u128(5),
            time: 6,
            probed: 0,
            grace_seconds: 7,
            seq: Some(8),
            files: vec![File {
                path: "segments/00000001.seg".into(),
                start: "0102".into(),
                pieces: vec![
                    piece("segments/00000001.seg.a", 10),
                    piece("segments/00000001.seg.b", 20),
                ],
            }],
            staged: vec![Staged {
                path: "config.toml".into(),
                offset: 0,
                piece: piece("config.toml.c", 5),
            }],
            dead: vec![Dead {
                object: "segments/x".into(),
                delete_after: 9,
            }],
        }
    }

    #[test]
    fn a_head_reads_back_and_every_damage_is_told() {
        let bytes = head().encode().unwrap();
        assert_eq!(Head::decode(&bytes, "b").unwrap(), head());
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Head::decode(&bad, "b").is_err(), "byte {at}");
            assert!(Head::decode(&bytes[..at], "b").is_err(), "cut at {at}");
        }
    }

    #[test]
    fn what_leads_out_of_the_folder_is_refused() {
        for bad in [
            "", "/etc", "../x", "a/../b", "a/b/c", ".x", "a/.b", "a b", "a/", "x\0", "a\\b",
        ] {
            assert!(check_path(bad).is_err(), "{bad:?}");
            let mut head = head();
            head.files[0].path = bad.into();
            assert!(Head::decode(&head.encode().unwrap(), "b").is_err(), "{bad:?}");
        }
        for good in [
            "config.toml",
            "segments/00000001.seg",
            "segments/00000001.seg.0000000a-1b2c-5",
        ] {
            check_path(good).unwrap();
        }
    }

    /// Regression: HEAD could name any file, which a clone then made in the store's folder.
    #[test]
    fn files_that_no_store_has_are_refused() {
        let model = format!("models/{}.gguf", "0a".repeat(32));
        for good in ["config.toml", "segments/00000012.seg", &model] {
            let mut head = head();
            head.files[0].path = good.into();
            Head::decode(&head.encode().unwrap(), "b").unwrap();
        }
        for bad in [
            "lock",
            "clone",
            "segments",
            "segments/1.seg",
            "segments/00000001.par",
            "segments/0000000a.seg",
            "models/x.gguf",
            "index/00000001.seg",
            &model.to_uppercase(),
        ] {
            let mut named = head();
            named.files[0].path = bad.into();
            assert!(Head::decode(&named.encode().unwrap(), "b").is_err(), "{bad:?}");
            let mut staged = head();
            staged.staged[0].path = bad.into();
            assert!(Head::decode(&staged.encode().unwrap(), "b").is_err(), "{bad:?}");
        }
    }

    /// Regression: what was to be deleted could be HEAD itself, or a piece of a file.
    #[test]
    fn what_is_needed_is_not_deleted() {
        for bad in ["HEAD", "HEAD.lock", "segments/00000001.seg.b"] {
            let mut head = head();
            head.dead[0].object = bad.into();
            assert!(Head::decode(&head.encode().unwrap(), "b").is_err(), "{bad:?}");
        }
    }

    /// Regression: a config or a piece of any length was read into memory.
    #[test]
    fn what_is_read_as_a_whole_has_a_bound() {
        let mut head = head();
        head.files[0].path = "config.toml".into();
        head.files[0].pieces[0].length = MAX_CONFIG;
        assert!(Head::decode(&head.encode().unwrap(), "b").is_err());
        head.files[0].pieces[0].length = MAX_CONFIG - 20;
        Head::decode(&head.encode().unwrap(), "b").unwrap();
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for length in [0, u64::MAX, 1 << 41, MAX_PIECE + 1] {
            let mut head = head();
            head.files[0].pieces[0].length = length;
            assert!(Head::decode(&head.encode().unwrap(), "b").is_err(), "{length}");
        }
        let mut twice = head();
        twice.files.push(twice.files[0].clone());
        assert!(Head::decode(&twice.encode().unwrap(), "b").is_err());
    }

    #[test]
    fn a_newer_format_is_said_to_be_one() {
        let mut bytes = head().encode().unwrap();
        bytes[MAGIC.len() + 1] = b'2';
        assert!(matches!(
            Head::decode(&bytes, "b"),
            Err(Error::NewerFormat { found: 2, .. })
        ));
    }
}
