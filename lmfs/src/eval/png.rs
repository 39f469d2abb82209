//! PNG, by the optimizer that is usual for it.

use std::io::Cursor;

use lmfs_codec::Stop;
use oxipng::{BitDepth, ColorType, Options, RawImage};
use png::{Decoder, Transformations};

use super::compressor::{Compressed, Compressor, Fault, Form};
use super::picture::Picture;

/// Pixels of a row where nothing else is known: a chunk of 2,048 bytes is a patch of 32 by 64, as in the paper.
const WIDTH: usize = 64;
/// The level of oxipng: the lowest one with the highest level of deflate.
const LEVEL: u8 = 4;

/// `oxipng -o 4`. What is no picture is taken for grey pixels.
#[derive(Clone)]
pub struct Png;

impl Compressor for Png {
    fn name(&self) -> &str {
        "oxipng -o 4"
    }

    fn compress(&self, raw: &[u8], stop: &Stop) -> Result<Compressed, Fault> {
        let form = Form::Picture {
            header: 0,
            width: WIDTH,
            channels: 1,
        };
        self.compress_as(raw, form, stop)
    }

    fn compress_as(&self, raw: &[u8], form: Form, stop: &Stop) -> Result<Compressed, Fault> {
        let Form::Picture {
            header,
            width,
            channels,
        } = form
        else {
            return self.compress(raw, stop);
        };
        stop.check()?;
        // The header says what PNG says in its own.
        let pixels = raw.get(header..).unwrap_or_default();
        let row = width * channels;
        let height = pixels.len().div_ceil(row).max(1);
        let mut padded = pixels.to_vec();
        padded.resize(height * row, 0);
        let packed = optimized(padded.clone(), width, channels)?;
        if !shows(&packed, &padded, channels)? {
            return Err("what it decodes to is not what it compressed".into());
        }
        Ok(Compressed {
            bytes: packed.len(),
            method: None,
        })
    }
}

/// Rows of `width` pixels as a PNG file.
fn optimized(pixels: Vec<u8>, width: usize, channels: usize) -> Result<Vec<u8>, Fault> {
    let color = match channels {
        1 => ColorType::Grayscale {
            transparent_shade: None,
        },
        2 => ColorType::GrayscaleAlpha,
        3 => ColorType::RGB {
            transparent_color: None,
        },
        _ => ColorType::RGBA,
    };
    let (columns, rows) = (u32::try_from(width)?, u32::try_from(pixels.len() / (width * channels))?);
    let image = RawImage::new(columns, rows, color, BitDepth::Eight, pixels)?;
    Ok(image.create_optimized_png(&Options::from_preset(LEVEL))?)
}

/// Whether a PNG file shows these pixels. It may have a palette, fewer channels, or fewer bits.
fn shows(file: &[u8], pixels: &[u8], channels: usize) -> Result<bool, Fault> {
    let mut decoder = Decoder::new(Cursor::new(file));
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info()?;
    let mut back = vec![0; reader.output_buffer_size().ok_or("too large a picture")?];
    let info = reader.next_frame(&mut back)?;
    let back = back.get(..info.buffer_size()).unwrap_or_default();
    let there = back.chunks_exact(info.color_type.samples()).map(color);
    Ok(pixels.chunks_exact(channels).map(color).eq(there))
}

/// Red, green, blue and alpha of a pixel.
fn color(pixel: &[u8]) -> [u8; 4] {
    match *pixel {
        [grey] => [grey, grey, grey, 255],
        [grey, alpha] => [grey, grey, grey, alpha],
        [red, green, blue] => [red, green, blue, 255],
        [red, green, blue, alpha, ..] => [red, green, blue, alpha],
        [] => [0; 4],
    }
}

/// A picture as a PNG file.
///
/// # Errors
/// A picture that is too large for PNG.
pub fn encode_png(picture: &Picture) -> Result<Vec<u8>, Fault> {
    optimized(picture.pixels.clone(), picture.width, picture.channels)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Pixels of each number of channels: colours, equal channels, few values, and alpha.
    fn pictures() -> impl Iterator<Item = (Vec<u8>, usize)> {
        let noise = |i: usize| (i.wrapping_mul(0x9E37_79B9) >> 13) as u8;
        (1..=4).flat_map(move |channels| {
            let any = (0..64 * 48 * channels).map(noise).collect();
            let grey = (0..64 * 48 * channels).map(|i| noise(i / channels)).collect();
            let few = (0..64 * 48 * channels)
                .map(|i| noise(i / channels / 5) & 0x80)
                .collect();
            [any, grey, few].map(|pixels: Vec<u8>| (pixels, channels))
        })
    }

    #[test]
    fn whatever_it_leaves_out_the_pixels_are_the_same() {
        let mut reduced = 0;
        for (pixels, channels) in pictures() {
            let file = optimized(pixels.clone(), 64, channels).unwrap();
            assert!(shows(&file, &pixels, channels).unwrap());
            let mut other = pixels.clone();
            *other.last_mut().unwrap() ^= 1;
            assert!(!shows(&file, &other, channels).unwrap(), "{channels} channels");
            assert!(!shows(&file, other.get(64 * channels..).unwrap(), channels).unwrap());
            let reader = Decoder::new(Cursor::new(&file)).read_info().unwrap();
            reduced += usize::from(reader.output_color_type().0.samples() < channels);
        }
        assert!(reduced >= 4, "{reduced} of 12 have fewer channels than their pixels");
    }
}
