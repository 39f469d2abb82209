//! Sound: decoded to samples, and cut as the paper cuts it.

use std::io::Cursor;

use claxon::FlacReader;

/// Samples of 8 or 16 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// Samples of a moment.
    pub channels: usize,
    /// Bits that the samples had: 8 or 16.
    pub bits: usize,
    /// Moments of a second.
    pub rate: usize,
    /// Moment by moment, around zero.
    pub samples: Vec<i16>,
}

/// Most samples that are decoded of a file.
const MOST: usize = 32 << 20;

impl Sound {
    /// The sound of a file, if its format is read here.
    #[must_use]
    pub fn decode(file: &[u8]) -> Option<Sound> {
        match file {
            [b'R', b'I', b'F', b'F', ..] => from_wav(file),
            [b'F', b'O', b'R', b'M', ..] => from_aiff(file),
            [b'f', b'L', b'a', b'C', ..] => from_flac(file),
            _ => None,
        }
    }

    fn new(channels: usize, bits: usize, rate: usize, samples: Vec<i16>) -> Option<Sound> {
        let usual = (1..=8).contains(&channels) && matches!(bits, 8 | 16) && (1..=655_350).contains(&rate);
        (usual && !samples.is_empty() && samples.len() <= MOST).then_some(Sound {
            channels,
            bits,
            rate,
            samples,
        })
    }

    /// One byte a sample of the first channel, as in the paper: the upper half of 16 bits.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let byte = |sample: &i16| match self.bits {
            8 => (sample + 128) as u8,
            _ => ((i32::from(*sample) + 0x8000) >> 8) as u8,
        };
        self.samples.iter().step_by(self.channels).map(byte).collect()
    }

    /// The sound as a WAV file, and how long its header is.
    #[must_use]
    pub fn to_wav(&self) -> (Vec<u8>, usize) {
        let data: Vec<u8> = match self.bits {
            8 => self.samples.iter().map(|&sample| (sample + 128) as u8).collect(),
            _ => self.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        };
        let bytes = self.channels * self.bits / 8;
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
        let short = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).to_le_bytes();
        let mut file = b"RIFF".to_vec();
        file.extend(number(36 + data.len()));
        file.extend(b"WAVEfmt ");
        file.extend(number(16));
        file.extend([short(1), short(self.channels)].concat());
        file.extend([number(self.rate), number(self.rate * bytes)].concat());
        file.extend([short(bytes), short(self.bits)].concat());
        file.extend(b"data");
        file.extend(number(data.len()));
        let header = file.len();
        file.extend(data);
        (file, header)
    }
}

/// The chunks of an IFF file: name and contents. A last one that is cut is left as long as it is.
fn chunks(file: &[u8], length: fn([u8; 4]) -> u32) -> Vec<([u8; 4], &[u8])> {
    let mut rest = file.get(12..).unwrap_or_default();
    let mut chunks = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, size @ ..] = *head;
        let size = usize::try_from(length(size)).unwrap_or(usize::MAX).min(after.len());
        let (contents, next) = after.split_at(size);
        chunks.push(([a, b, c, d], contents));
        rest = next.get(size % 2..).unwrap_or_default();
    }
    chunks
}

fn find<'a>(chunks: &[([u8; 4], &'a [u8])], name: &[u8; 4]) -> Option<&'a [u8]> {
    chunks
        .iter()
        .find(|(found, _)| found == name)
        .map(|(_, contents)| *contents)
}

fn from_wav(file: &[u8]) -> Option<Sound> {
    let chunks = chunks(file, u32::from_le_bytes);
    let format = find(&chunks, b"fmt ")?;
    let short = |at: usize| Some(usize::from(u16::from_le_bytes(*format.get(at..)?.first_chunk()?)));
    let rate = u32::from_le_bytes(*format.get(4..)?.first_chunk()?);
    let (bits, data) = (short(14)?, find(&chunks, b"data")?);
    let samples = match (short(0)?, bits) {
        (1 | 0xfffe, 8) => data.iter().map(|&byte| i16::from(byte) - 128).collect(),
        (1 | 0xfffe, 16) => data
            .as_chunks()
            .0
            .iter()
            .map(|pair| i16::from_le_bytes(*pair))
            .collect(),
        _ => return None,
    };
    Sound::new(short(2)?, bits, usize::try_from(rate).ok()?, samples)
}

fn from_aiff(file: &[u8]) -> Option<Sound> {
    let chunks = chunks(file, u32::from_be_bytes);
    let common = find(&chunks, b"COMM")?;
    let short = |at: usize| Some(u16::from_be_bytes(*common.get(at..)?.first_chunk()?));
    let (channels, bits) = (usize::from(short(0)?), usize::from(short(6)?));
    // The rate is a number of 80 bits. Whole rates below 65,536 have their bits in the first 16 of the mantissa.
    let exponent = i32::from(short(8)?) - 16383;
    let rate = (0..16)
        .contains(&exponent)
        .then(|| short(10).map(|bits| usize::from(bits) >> (15 - exponent)))??;
    let data = find(&chunks, b"SSND")?.get(8..)?;
    let samples = match bits {
        8 => data.iter().map(|&byte| i16::from(byte as i8)).collect(),
        16 => data
            .as_chunks()
            .0
            .iter()
            .map(|pair| i16::from_be_bytes(*pair))
            .collect(),
        _ => return None,
    };
    Sound::new(channels, bits, rate, samples)
}

fn from_flac(file: &[u8]) -> Option<Sound> {
    let mut reader = FlacReader::new(Cursor::new(file)).ok()?;
    let info = reader.streaminfo();
    let bits = usize::try_from(info.bits_per_sample).ok()?;
    let samples: Option<Vec<i16>> = reader
        .samples()
        .take(MOST + 1)
        .map(|sample| i16::try_from(sample.ok()?).ok())
        .collect();
    Sound::new(
        usize::try_from(info.channels).ok()?,
        bits,
        usize::try_from(info.sample_rate).ok()?,
        samples?,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn formats_return_what_they_hold() {
        let samples: Vec<i16> = (0..4000).map(|i: i16| (i % 97) * 300 - 14_000).collect();
        let sound = Sound::new(2, 16, 22_050, samples).unwrap();
        let (wav, header) = sound.to_wav();
        assert_eq!(header, 44);
        assert_eq!(Sound::decode(&wav).unwrap(), sound);
        assert_eq!(sound.bytes().len(), 2000, "the first channel");
        assert_eq!(sound.bytes()[0], ((-14_000_i32 + 32_768) >> 8) as u8);

        let mut aiff = b"FORM\0\0\0\0AIFFCOMM\0\0\0\x12".to_vec();
        aiff.extend([0, 2, 0, 0, 7, 208, 0, 16]);
        aiff.extend([0x40, 0x0d, 0xac, 0x44, 0, 0, 0, 0, 0, 0]);
        aiff.extend(b"SSND\0\0\x1f\x48\0\0\0\0\0\0\0\0");
        aiff.extend(sound.samples.iter().flat_map(|sample| sample.to_be_bytes()));
        assert_eq!(Sound::decode(&aiff).unwrap(), sound);

        let eight = Sound::new(1, 8, 8000, (-128..128).collect()).unwrap();
        assert_eq!(Sound::decode(&eight.to_wav().0).unwrap(), eight);
        assert_eq!(eight.bytes(), (0..=255).collect::<Vec<u8>>());
        for len in 0..60 {
            drop((Sound::decode(&wav[..len]), Sound::decode(&aiff[..len])));
        }
    }
}
