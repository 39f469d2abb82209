//! What kind of data a block is, as far as its contexts depend on it.

use std::borrow::Cow;

use super::form::Form;
use super::quantized::Quantized;
use super::wide_sound::{self, WideSound};
use super::{numbers, quantized_find, sound};

/// How the bytes of a block lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DataLayout {
    /// Text, code, or nothing known: contexts of words, lines and fields.
    #[default]
    Plain,
    /// Records or rows of this many bytes: contexts of the bytes above.
    Records(u16),
    /// 16-bit little-endian samples of this many channels (1 or 2).
    Sound(u8),
    /// 16-bit big-endian samples of this many channels (1 or 2).
    BigEndianSound(u8),
    /// Samples of one byte of this many channels (1 or 2).
    ByteSound(u8),
    /// Samples of 24 or 32 bits.
    WideSound(WideSound),
    /// Samples of 32 bits that are multiples of a step.
    Quantized(Quantized),
    /// Rows of pixels of this many bytes (1 to 4), and bytes of a row.
    Picture(u8, u16),
}

/// Longest record looked for.
const LONGEST: usize = 512;
/// Bytes in the middle of a block that are compared with each other.
const SAMPLE: usize = 16384;

/// Places of bytes that differ from the byte before them.
fn edges(raw: &[u8]) -> Vec<usize> {
    (1..raw.len()).filter(|&i| raw[i] != raw[i - 1]).collect()
}

/// Where in a block `len` bytes begin that have as many edges before their middle as after it, but for the block's
/// ends.
pub(super) fn busy(raw: &[u8], len: usize) -> usize {
    let edges = edges(raw);
    let middle = edges.get(edges.len() / 2).copied().unwrap_or_default();
    middle.saturating_sub(len / 2).min(raw.len().saturating_sub(len))
}

impl DataLayout {
    /// What the first byte of a payload is if the block is coded behind a dictionary, a reference, or both. Its layout
    /// is plain.
    pub const BEHIND_DICTIONARY: u8 = 4;
    /// As [`BEHIND_DICTIONARY`](Self::BEHIND_DICTIONARY).
    pub const BEHIND_REFERENCE: u8 = 8;
    /// As [`BEHIND_DICTIONARY`](Self::BEHIND_DICTIONARY).
    pub const BEHIND_BOTH: u8 = 9;
    /// What the first byte of a payload is if the block is a part of its container's key, which is plain.
    pub const KEY: u8 = 12;
    /// What the first byte of a payload is if the block is sound of 24 or 32 bits.
    const WIDE_SOUND: u8 = 13;
    /// What the first byte of a payload is if the block's samples are multiples of a step.
    const QUANTIZED: u8 = 14;
    /// What the first byte of a payload is if the block is coded in or behind a solid head. Its layout is plain.
    pub const SOLID: u8 = 15;

    /// Whether a payload has the plain layout, alone or behind something.
    pub(crate) fn is_plain(payload: &[u8]) -> bool {
        let behind = [
            Self::BEHIND_DICTIONARY,
            Self::BEHIND_REFERENCE,
            Self::BEHIND_BOTH,
            Self::SOLID,
        ];
        payload
            .first()
            .is_some_and(|&layout| layout == 0 || behind.contains(&layout))
    }

    /// What to code in front of the stream.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        match self {
            DataLayout::Plain => vec![0],
            DataLayout::Records(len) => [&[1][..], &len.to_le_bytes()].concat(),
            DataLayout::Sound(channels) => vec![channels.saturating_add(1)],
            DataLayout::ByteSound(channels) => vec![channels.saturating_add(4)],
            DataLayout::BigEndianSound(channels) => vec![channels.saturating_add(9)],
            DataLayout::WideSound(wide) => [&[Self::WIDE_SOUND][..], &wide.to_bytes()].concat(),
            DataLayout::Quantized(quantized) => [&[Self::QUANTIZED][..], &quantized.to_bytes()].concat(),
            DataLayout::Picture(channels, row) => [&[7, channels][..], &row.to_le_bytes()].concat(),
        }
    }

    /// The shape in front of a payload, and the stream behind it.
    pub(super) fn parse(payload: &[u8]) -> Option<(DataLayout, &[u8])> {
        match payload {
            [0, rest @ ..] => Some((DataLayout::Plain, rest)),
            [1, low, high, rest @ ..] => match u16::from_le_bytes([*low, *high]) {
                0 => None,
                len => Some((DataLayout::Records(len), rest)),
            },
            [code @ 2..=3, rest @ ..] => Some((DataLayout::Sound(code - 1), rest)),
            [code @ 5..=6, rest @ ..] => Some((DataLayout::ByteSound(code - 4), rest)),
            [code @ 10..=11, rest @ ..] => Some((DataLayout::BigEndianSound(code - 9), rest)),
            [Self::WIDE_SOUND, code, before, rest @ ..] => {
                WideSound::parse(*code, *before).map(|wide| (DataLayout::WideSound(wide), rest))
            }
            [Self::QUANTIZED, head @ ..] => {
                Quantized::parse(head).map(|(quantized, rest)| (DataLayout::Quantized(quantized), rest))
            }
            [7, channels @ 1..=4, low, high, rest @ ..] => match u16::from_le_bytes([*low, *high]) {
                row if row > u16::from(*channels) => Some((DataLayout::Picture(*channels, row), rest)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The layout of numbers of this form.
    fn of(form: Form) -> Option<DataLayout> {
        let channels = u8::try_from(form.channels).ok()?;
        Some(match (form.row, form.bits) {
            (0, 16) if form.big_endian => DataLayout::BigEndianSound(channels),
            (0, 16) => DataLayout::Sound(channels),
            (0, _) => DataLayout::ByteSound(channels),
            (row, _) => DataLayout::Picture(channels, u16::try_from(row).ok()?),
        })
    }

    /// The layout itself, or the plain one where there is no such layout.
    pub(super) fn checked(self) -> DataLayout {
        match DataLayout::parse(&self.to_bytes()) {
            Some((parsed, [])) if parsed == self => self,
            _ => DataLayout::Plain,
        }
    }

    /// Distance to the byte above, 0 without records.
    pub fn stride(self) -> u32 {
        match self {
            DataLayout::Plain => 0,
            DataLayout::Records(len) => u32::from(len),
            DataLayout::Sound(_) | DataLayout::BigEndianSound(_) => 0,
            DataLayout::ByteSound(_) | DataLayout::WideSound(_) | DataLayout::Quantized(_) => 0,
            DataLayout::Picture(..) => 0,
        }
    }

    /// How its numbers lie, if they are predicted as numbers.
    pub(super) fn form(self) -> Option<Form> {
        let (bits, channels, row) = match self {
            DataLayout::Plain | DataLayout::Records(_) => return None,
            DataLayout::Sound(channels) | DataLayout::BigEndianSound(channels) => (16, channels, 0),
            DataLayout::ByteSound(channels) => (8, channels, 0),
            DataLayout::Picture(channels, row) => (8, channels, row),
            DataLayout::WideSound(wide) => return Some(wide.form()),
            DataLayout::Quantized(quantized) => return Some(quantized.form()),
        };
        Some(Form {
            bits,
            rest: 0,
            channels: usize::from(channels),
            row: usize::from(row),
            big_endian: matches!(self, DataLayout::BigEndianSound(_)),
        })
    }

    /// The layout of the `len` bytes that begin `start` bytes later.
    pub(super) fn from(self, start: usize, len: usize) -> DataLayout {
        match self {
            DataLayout::WideSound(wide) => DataLayout::WideSound(wide.from(start)),
            DataLayout::Quantized(quantized) => DataLayout::Quantized(quantized.from(start, len)),
            other => other,
        }
    }

    /// How many bytes are coded of a block of `len`, if such a block can have this layout.
    pub(super) fn coded_len(self, len: usize) -> Option<usize> {
        match self {
            DataLayout::Quantized(quantized) => quantized.coded_len(len),
            _ => Some(len),
        }
    }

    /// The bytes of a block in the order in which they are coded, if it can have this layout.
    pub(super) fn forward(self, raw: &[u8]) -> Option<Cow<'_, [u8]>> {
        Some(match self {
            DataLayout::Sound(_) => Cow::Owned(sound::forward(raw)),
            DataLayout::BigEndianSound(_) => Cow::Owned(sound::shift(raw.to_vec())),
            DataLayout::WideSound(wide) => Cow::Owned(wide.forward(raw)),
            DataLayout::Quantized(quantized) => Cow::Owned(quantized.forward(raw)?),
            _ => Cow::Borrowed(raw),
        })
    }

    /// The inverse of [`forward`](Self::forward).
    pub(super) fn inverse(self, bytes: Vec<u8>) -> Vec<u8> {
        match self {
            DataLayout::Sound(_) => sound::inverse(bytes),
            DataLayout::BigEndianSound(_) => sound::shift(bytes),
            DataLayout::WideSound(wide) => wide.inverse(bytes),
            DataLayout::Quantized(quantized) => quantized.inverse(&bytes),
            _ => bytes,
        }
    }

    /// Shapes worth a trial, the plain one first: for text it is the only one.
    pub(super) fn candidates(raw: &[u8]) -> Vec<DataLayout> {
        let mut shapes = vec![DataLayout::Plain];
        shapes.extend(numbers::candidates(raw).into_iter().filter_map(DataLayout::of));
        if !numbers::is_text(raw) {
            let found = wide_sound::find(raw, busy(raw, wide_sound::LOOKED_AT));
            shapes.extend(found.into_iter().map(DataLayout::WideSound));
            shapes.extend(quantized_find::find(raw).map(DataLayout::Quantized));
        }
        let odd = raw
            .iter()
            .filter(|&&b| b < 9 || (14..32).contains(&b) || b >= 245)
            .count();
        // Text has few such bytes. Looking for records in it costs time and finds accidents.
        if odd * 20 < raw.len() || raw.len() < 64 {
            return shapes;
        }
        // The distance at which bytes repeat most often, if they do so nearly as often as side by side.
        let middle = raw.len().saturating_sub(SAMPLE) / 2;
        let sample = raw.get(middle..middle + SAMPLE).unwrap_or(raw);
        let equal = |distance: usize| {
            sample
                .iter()
                .zip(sample.get(distance..).unwrap_or_default())
                .filter(|(a, b)| a == b)
                .count()
        };
        let most = (2..LONGEST.min(sample.len() / 4))
            .map(|distance| (equal(distance), std::cmp::Reverse(distance)))
            .max();
        if let Some((count, std::cmp::Reverse(distance))) = most
            && count + sample.len() / 32 > equal(1)
        {
            shapes.push(DataLayout::Records(distance as u16));
        }
        // The same of pairs of different bytes: rows of a bitmap, which is mostly white.
        let edges = edges(raw);
        let start = edges.len().saturating_sub(SAMPLE) / 2;
        let edges = edges
            .get(start..)
            .map_or(&[][..], |rest| &rest[..rest.len().min(SAMPLE)]);
        let same = |distance: usize| {
            edges
                .iter()
                .filter(|&&i| i > distance && raw[i] == raw[i - distance] && raw[i - 1] == raw[i - distance - 1])
                .count()
        };
        let most = (2..LONGEST.min(sample.len() / 4))
            .map(|distance| (same(distance), std::cmp::Reverse(distance)))
            .max();
        if let Some((count, std::cmp::Reverse(distance))) = most
            && count * 8 > edges.len()
            && !shapes.contains(&DataLayout::Records(distance as u16))
        {
            shapes.push(DataLayout::Records(distance as u16));
        }
        shapes
    }
}
