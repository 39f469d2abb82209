//! PNG: every filter, at the highest level of deflate.

use std::io::Cursor;

use lmfs_codec::Stop;
use png::{BitDepth, ColorType, Decoder, DeflateCompression, Encoder, Filter};

use super::compressor::{Compressed, Compressor, Fault, Form, checked};
use super::picture::Picture;

/// Pixels of a row where nothing else is known: a chunk of 2,048 bytes is a patch of 32 by 64, as in the paper.
const WIDTH: usize = 64;

/// The smallest of what all filters give. What is no picture is taken for grey pixels.
#[derive(Clone)]
pub struct Png;

impl Compressor for Png {
    fn name(&self) -> &str {
        "PNG"
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
        // The header says what PNG says in its own.
        let pixels = raw.get(header..).unwrap_or_default();
        let row = width * channels;
        let height = pixels.len().div_ceil(row).max(1);
        let mut padded = pixels.to_vec();
        padded.resize(height * row, 0);
        let packed = smallest(&padded, width, channels, stop)?;
        let mut reader = Decoder::new(Cursor::new(&packed)).read_info()?;
        let mut back = vec![0; reader.output_buffer_size().ok_or("too large a picture")?];
        reader.next_frame(&mut back)?;
        checked(packed, &back, &padded)
    }
}

/// Rows of `width` pixels as the smallest PNG file that a filter gives.
fn smallest(pixels: &[u8], width: usize, channels: usize, stop: &Stop) -> Result<Vec<u8>, Fault> {
    let color = match channels {
        1 => ColorType::Grayscale,
        2 => ColorType::GrayscaleAlpha,
        3 => ColorType::Rgb,
        _ => ColorType::Rgba,
    };
    let (columns, rows) = (u32::try_from(width)?, u32::try_from(pixels.len() / (width * channels))?);
    let filters = [
        Filter::NoFilter,
        Filter::Sub,
        Filter::Up,
        Filter::Avg,
        Filter::Paeth,
        Filter::Adaptive,
        Filter::MinEntropy,
    ];
    let mut best: Option<Vec<u8>> = None;
    for filter in filters {
        stop.check()?;
        let mut packed = Vec::new();
        let mut encoder = Encoder::new(&mut packed, columns, rows);
        encoder.set_color(color);
        encoder.set_depth(BitDepth::Eight);
        encoder.set_deflate_compression(DeflateCompression::Level(9));
        encoder.set_filter(filter);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(pixels)?;
        writer.finish()?;
        if best.as_ref().is_none_or(|best| packed.len() < best.len()) {
            best = Some(packed);
        }
    }
    best.ok_or_else(|| "there is no filter".into())
}

/// A picture as a PNG file.
///
/// # Errors
/// A picture that is too large for PNG.
pub fn encode_png(picture: &Picture) -> Result<Vec<u8>, Fault> {
    smallest(&picture.pixels, picture.width, picture.channels, &Stop::new())
}
