//! What is measured: the data sets of the table, cut out of files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use lmfs_codec::mix::DataLayout;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::eval::{Class, Error, Form, Input, PATCH, Picture, SAMPLE, Sound, recognise};

/// Bytes of a chunk in the paper.
pub const CHUNK: usize = 2048;

/// Largest picture or sound file that is decoded.
const MOST: u64 = 64 << 20;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most bytes of a data set. Every file gives its share, from its start.
    pub limit: u64,
    /// Also measure noise, as the paper does.
    pub noise: bool,
}

/// Bytes that are compressed together, and what they are.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The bytes.
    pub raw: Vec<u8>,
    /// What they are.
    pub form: Form,
}

/// A column of the table.
#[derive(Clone, Debug)]
pub struct DataSet {
    /// Its name.
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// Files it was cut from.
    pub files: u64,
    /// What is compressed together without chunks: one piece of all, or one a file.
    pub pieces: Vec<Piece>,
    /// Whether the pieces are also cut into chunks.
    pub chunked: bool,
    /// SHA-256 of all of it, shortened.
    pub digest: String,
}

/// A data set without its bytes, for reports.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    name: &'static str,
    about: &'static str,
    files: u64,
    bytes: u64,
    sha256: String,
}

impl DataSet {
    fn new(name: &'static str, about: &'static str, files: u64, pieces: Vec<Piece>, chunked: bool) -> DataSet {
        let mut hash = Sha256::new();
        for piece in &pieces {
            hash.update((piece.raw.len() as u64).to_le_bytes());
            hash.update(&piece.raw);
        }
        DataSet {
            name,
            about,
            files,
            pieces,
            chunked,
            digest: hex::encode(hash.finalize()).chars().take(16).collect(),
        }
    }

    /// Bytes of all pieces.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.raw.len() as u64).sum()
    }

    /// How lmfs predicts it best without looking.
    #[must_use]
    pub fn layout(&self) -> DataLayout {
        match self.pieces.first().map(|piece| piece.form) {
            Some(Form::Picture { width, channels, .. }) => {
                match (u8::try_from(channels), u16::try_from(width * channels)) {
                    (Ok(channels), Ok(row)) => DataLayout::Picture(channels, row),
                    _ => DataLayout::Plain,
                }
            }
            Some(Form::Sound { bits: 8, .. }) => DataLayout::ByteSound(1),
            _ => DataLayout::Plain,
        }
    }

    /// All but the bytes.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            name: self.name,
            about: self.about,
            files: self.files,
            bytes: self.bytes(),
            sha256: self.digest.clone(),
        }
    }
}

impl Summary {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Everything as text, in the order of the fields.
    #[must_use]
    pub fn cells(&self) -> [String; 5] {
        let Summary {
            name,
            about,
            files,
            bytes,
            sha256,
        } = self;
        [
            (*name).to_owned(),
            (*about).to_owned(),
            files.to_string(),
            bytes.to_string(),
            sha256.clone(),
        ]
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Summary {
            name,
            about,
            files,
            bytes,
            ..
        } = self;
        write!(f, "{name:12} {about}: {bytes} bytes of {files} files")
    }
}

/// Pictures or sound.
trait Media: Sized {
    /// How it is when it is cut as in the paper.
    const CUT: Form;

    fn decode(file: &[u8]) -> Option<Self>;

    /// As the paper cuts it.
    fn cut(&self) -> Vec<u8>;

    /// As one file.
    fn whole(&self) -> Piece;
}

impl Media for Picture {
    const CUT: Form = Form::Picture {
        header: 0,
        width: PATCH.1,
        channels: 1,
    };

    fn decode(file: &[u8]) -> Option<Picture> {
        Picture::decode(file)
    }

    fn cut(&self) -> Vec<u8> {
        self.patches()
    }

    fn whole(&self) -> Piece {
        let (raw, header, channels) = self.to_netpbm();
        let width = self.width;
        Piece {
            raw,
            form: Form::Picture {
                header,
                width,
                channels,
            },
        }
    }
}

impl Media for Sound {
    const CUT: Form = Form::PAPER_SOUND;

    fn decode(file: &[u8]) -> Option<Sound> {
        Sound::decode(file)
    }

    fn cut(&self) -> Vec<u8> {
        self.bytes()
    }

    fn whole(&self) -> Piece {
        let (raw, header) = self.to_wav();
        let &Sound {
            channels, bits, rate, ..
        } = self;
        Piece {
            raw,
            form: Form::Sound {
                header,
                channels,
                bits,
                rate,
            },
        }
    }
}

/// The data sets that these files give. Each has what its files hold of its kind, and at most [`Options::limit`] bytes.
///
/// # Errors
/// A file that cannot be read.
pub fn data_sets(files: &[Input], options: &Options) -> Result<Vec<DataSet>, Error> {
    let mut found: BTreeMap<Class, Vec<&Input>> = BTreeMap::new();
    for file in files {
        let head = read(file, SAMPLE as u64)?;
        let class = recognise(&head).class;
        found.entry(class).or_default().push(file);
    }
    let mut binaries = found.remove(&Class::Binary).unwrap_or_default();
    let mut sets = Vec::new();
    for (class, name, about) in [
        (Class::Text, "text", "prose in any script"),
        (Class::Code, "code", "programs and markup"),
        (Class::Records, "records", "CSV, JSON, logs"),
    ] {
        let files = found.remove(&class).unwrap_or_default();
        sets.extend(plain(name, about, &files, options)?);
    }

    let pictures = found.remove(&Class::Picture).unwrap_or_default();
    let (patches, pictures) = media::<Picture>(
        &pictures,
        ("patches", "pictures as the paper cuts them: 32 by 64, grey"),
        ("pictures", "whole pictures, as PGM and PPM files"),
        options,
        &mut binaries,
    )?;
    let sounds = found.remove(&Class::Sound).unwrap_or_default();
    let (cut, sounds) = media::<Sound>(
        &sounds,
        ("sound", "sound as the paper cuts it: one byte a sample, one channel"),
        ("sound files", "whole sounds, as WAV files"),
        options,
        &mut binaries,
    )?;
    sets.extend(plain("binaries", "anything else", &binaries, options)?);
    sets.extend([patches, cut, pictures, sounds].into_iter().flatten());
    if sets.is_empty() {
        return Err(Error::Nothing {
            paths: "the files given".into(),
        });
    }
    if options.noise {
        let len = usize::try_from(options.limit.min(64 << 10)).unwrap_or(CHUNK);
        let raw = noise(len.max(CHUNK));
        let piece = Piece { raw, form: Form::Bytes };
        sets.push(DataSet::new("noise", "random bytes", 0, vec![piece], true));
    }
    Ok(sets)
}

/// The first bytes of a file.
fn read(file: &Input, most: u64) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read {
        path: file.path.clone(),
        source,
    };
    let mut bytes = Vec::new();
    let open = File::open(&file.path).map_err(failed)?;
    open.take(most).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn decoded<M: Media>(file: &Input) -> Result<Option<M>, Error> {
    if file.bytes > MOST {
        return Ok(None);
    }
    Ok(M::decode(&read(file, MOST)?))
}

/// What a file of `len` bytes gives where all have `total` and `limit` are wanted: whole chunks.
fn share(len: u64, total: u64, limit: u64) -> u64 {
    if total <= limit {
        return len;
    }
    let share = u128::from(len) * u128::from(limit) / u128::from(total.max(1));
    let share = u64::try_from(share).unwrap_or(u64::MAX);
    share.next_multiple_of(CHUNK as u64).min(len)
}

/// Files taken as they are, one after another.
fn plain(
    name: &'static str,
    about: &'static str,
    files: &[&Input],
    options: &Options,
) -> Result<Option<DataSet>, Error> {
    let total = files.iter().map(|file| file.bytes).sum();
    let mut raw = Vec::new();
    for file in files {
        let room = options.limit.saturating_sub(raw.len() as u64);
        raw.extend(read(file, share(file.bytes, total, options.limit).min(room))?);
    }
    let piece = Piece { raw, form: Form::Bytes };
    Ok((!piece.raw.is_empty()).then(|| DataSet::new(name, about, files.len() as u64, vec![piece], true)))
}

/// The data set of everything as the paper cuts it, and the one of whole files. Files that cannot be read as such are
/// added to `binaries`.
///
/// Every file is decoded twice, to see how large it is and to take its share, so that one at a time is in memory.
fn media<'a, M: Media>(
    files: &[&'a Input],
    cut: (&'static str, &'static str),
    whole: (&'static str, &'static str),
    options: &Options,
    binaries: &mut Vec<&'a Input>,
) -> Result<(Option<DataSet>, Option<DataSet>), Error> {
    let (mut readable, mut cut_lens, mut whole_lens) = (Vec::new(), Vec::new(), Vec::new());
    for file in files {
        if let Some(media) = decoded::<M>(file)? {
            readable.push(*file);
            cut_lens.push(media.cut().len() as u64);
            whole_lens.push(media.whole().raw.len() as u64);
        } else {
            binaries.push(file);
        }
    }
    let total = cut_lens.iter().sum();
    let chosen = largest(&whole_lens, options.limit);
    let (mut raw, mut pieces) = (Vec::new(), Vec::new());
    for (i, (file, len)) in readable.iter().zip(&cut_lens).enumerate() {
        let media = decoded::<M>(file)?.ok_or_else(|| Error::Read {
            path: file.path.clone(),
            source: std::io::Error::other("it changed while it was measured"),
        })?;
        let room = options.limit.saturating_sub(raw.len() as u64);
        let share = usize::try_from(share(*len, total, options.limit).min(room)).unwrap_or(usize::MAX);
        let bytes = media.cut();
        raw.extend_from_slice(bytes.get(..share).unwrap_or(&bytes));
        if chosen.contains(&i) {
            pieces.push(media.whole());
        }
    }
    // The paper has whole chunks alone.
    raw.truncate(raw.len() / CHUNK * CHUNK);
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.raw.len()));
    let cut_files = cut_lens.iter().filter(|len| **len > 0).count() as u64;
    let set = |(name, about), files: u64, pieces: Vec<Piece>, chunked| {
        let any = pieces.iter().any(|piece| !piece.raw.is_empty());
        any.then(|| DataSet::new(name, about, files, pieces, chunked))
    };
    let files = pieces.len() as u64;
    let cut_piece = Piece { raw, form: M::CUT };
    Ok((
        set(cut, cut_files, vec![cut_piece], true),
        set(whole, files, pieces, false),
    ))
}

/// How many times the limit a whole file may have where none fits.
const MOST_OVER: u64 = 4;

/// Which of these lengths fit into the limit, the largest first. Where none does, the smallest is taken if it is not
/// much larger.
fn largest(lens: &[u64], limit: u64) -> Vec<usize> {
    let mut order: Vec<(u64, usize)> = lens.iter().copied().zip(0..).collect();
    order.sort_by_key(|(len, i)| (std::cmp::Reverse(*len), *i));
    let smallest = order.last().map_or(0, |(len, _)| *len);
    let mut room = if smallest <= limit.saturating_mul(MOST_OVER) {
        limit.max(smallest)
    } else {
        limit
    };
    order.retain(|(len, _)| {
        let left = room.checked_sub(*len);
        room = left.unwrap_or(room);
        left.is_some()
    });
    order.into_iter().map(|(_, i)| i).collect()
}

/// Bytes without a pattern, the same every time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_file_gives_its_share_in_whole_chunks() {
        assert_eq!(share(5000, 5000, 5000), 5000);
        assert_eq!(share(50_000, 100_000, 20_000), 10_240);
        assert_eq!(share(100, 100_000, 20_000), 100);
        assert_eq!(share(0, 0, 0), 0);
    }

    /// Regression: the smallest came first, and a picture of 163 bytes stood for all pictures.
    #[test]
    fn whole_files_are_the_largest_that_fit() {
        assert_eq!(largest(&[10, 50, 30], 1000), [1, 2, 0]);
        assert_eq!(largest(&[10, 50, 30], 45), [2, 0]);
        assert_eq!(largest(&[10, 50, 30], 5), [0]);
        assert_eq!(largest(&[], 5), [0; 0]);
        // Regression: with a limit of 4 KiB a photograph of a megabyte was to take hours.
        assert_eq!(largest(&[10, 50, 30], 2), [0; 0]);
    }

    #[test]
    fn files_become_columns_by_what_they_hold() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
        };
        let text = include_bytes!("../../../tests/data/text/genesis.txt");
        write("a.dat", text);
        let grey = Picture::new(64, 32, 1, (0..2048).map(|i| i as u8).collect()).unwrap();
        write("b.dat", &grey.to_netpbm().0);
        // Cut short: it is named a picture and holds none.
        write("c.dat", &b"\x89PNG\r\n\x1a\n".repeat(9));
        let sound = (0..3000).map(|i| (i % 50) as u8 + 100).collect::<Vec<u8>>();
        let mut wav = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\x80\x3e\0\0\x01\0\x08\0data".to_vec();
        wav.extend(3000_u32.to_le_bytes());
        wav.extend(&sound);
        write("d.dat", &wav);

        let files = crate::eval::find_files(&[folder.path().to_path_buf()]).unwrap();
        let options = Options {
            limit: 10_000,
            noise: true,
        };
        let sets = data_sets(&files, &options).unwrap();
        let seen: Vec<_> = sets
            .iter()
            .map(|set| (set.name, set.files, set.bytes(), set.chunked))
            .collect();
        let expected = [
            ("text", 1, 10_000, true),
            ("binaries", 1, 72, true),
            ("patches", 1, 2048, true),
            ("sound", 1, 2048, true),
            ("pictures", 1, grey.to_netpbm().0.len() as u64, false),
            ("sound files", 1, 3044, false),
            ("noise", 0, 10_000, true),
        ];
        assert_eq!(seen, expected);
        assert_eq!(sets[3].pieces[0].raw, sound[..2048]);
        assert_eq!(sets[2].pieces[0].raw, grey.pixels);
    }
}
