//! What was measured, kept in a file as it comes: an interrupted run goes on where it ended.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::curves::Curve;
use super::rates::{Key, Rate};
use crate::eval::Error;

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// First: SHA-256 of the program that measured. Another program measures anew.
    Program(String),
    Rate(Rate),
    Curve(Curve),
}

/// The file, open for more.
pub struct Kept {
    path: PathBuf,
    file: Mutex<File>,
    /// Rates that are known.
    pub rates: HashMap<Key, Rate>,
    /// Curves that are known.
    pub curves: Vec<Curve>,
}

impl Kept {
    /// Opens or creates the file. What another build of the program measured is dropped, and so is a last line that was
    /// not finished.
    ///
    /// # Errors
    /// A file that cannot be read or written, or is none of these.
    pub fn open(path: &Path) -> Result<Kept, Error> {
        let failed = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let program = program().map_err(failed)?;
        let mut kept = Kept {
            path: path.to_owned(),
            file: Mutex::new(
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)
                    .map_err(failed)?,
            ),
            rates: HashMap::new(),
            curves: Vec::new(),
        };
        let (mut whole, mut same) = (0, false);
        let mut reader = BufReader::new(File::open(path).map_err(failed)?);
        let mut text = String::new();
        while reader.read_line(&mut text).map_err(failed)? > 0 {
            if !text.ends_with('\n') {
                break;
            }
            let line = serde_json::from_str(&text).map_err(|error| failed(error.into()))?;
            whole += text.len() as u64;
            match line {
                Line::Program(found) => same = found == program,
                Line::Rate(rate) if same => drop(kept.rates.insert(rate.key.clone(), rate)),
                Line::Curve(curve) if same => kept.curves.push(curve),
                Line::Rate(_) | Line::Curve(_) => {}
            }
            text.clear();
        }
        let whole = if same { whole } else { 0 };
        kept.file.lock().set_len(whole).map_err(failed)?;
        if !same {
            kept.add(&Line::Program(program))?;
        }
        Ok(kept)
    }

    /// Keeps a rate.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add_rate(&self, rate: &Rate) -> Result<(), Error> {
        self.add(&Line::Rate(rate.clone()))
    }

    /// Keeps a curve.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add_curve(&self, curve: &Curve) -> Result<(), Error> {
        self.add(&Line::Curve(curve.clone()))
    }

    fn add(&self, line: &Line) -> Result<(), Error> {
        let failed = |source| Error::Read {
            path: self.path.clone(),
            source,
        };
        let mut text = serde_json::to_string(line).map_err(|error| failed(error.into()))?;
        text.push('\n');
        self.file.lock().write_all(text.as_bytes()).map_err(failed)
    }
}

/// SHA-256 of the running program.
fn program() -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open("/proc/self/exe")?;
    let mut part = vec![0; 1 << 20];
    loop {
        match file.read(&mut part)? {
            0 => return Ok(hex::encode(hash.finalize())),
            len => hash.update(part.get(..len).unwrap_or_default()),
        }
    }
}

/// Writes a file of the report.
///
/// # Errors
/// It cannot be written.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn rate(set: &str) -> Rate {
        let key = Key {
            set: set.into(),
            digest: "d".into(),
            compressor: "c".into(),
            model: String::new(),
            model_bytes: 7,
            chunk: Some(2048),
        };
        Rate {
            key,
            raw_bytes: 100,
            bytes: 50,
            seconds: 0.5,
        }
    }

    #[test]
    fn an_interrupted_run_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("measured");
        let kept = Kept::open(&path).unwrap();
        kept.add_rate(&rate("one")).unwrap();
        kept.add_rate(&rate("two")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 9]).unwrap();
        let kept = Kept::open(&path).unwrap();
        assert_eq!(kept.rates.len(), 1, "the unfinished line is dropped");
        kept.add_rate(&rate("three")).unwrap();
        let known = Kept::open(&path).unwrap().rates;
        assert!(known.contains_key(&rate("one").key) && known.contains_key(&rate("three").key));

        // Another build measures anew.
        let text = fs::read_to_string(&path)
            .unwrap()
            .replacen("{\"program\":\"", "{\"program\":\"0", 1);
        fs::write(&path, text).unwrap();
        assert!(Kept::open(&path).unwrap().rates.is_empty());
        fs::write(&path, "no report\n").unwrap();
        assert!(Kept::open(&path).is_err(), "another file is left alone");
    }
}
