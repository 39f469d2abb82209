//! Pictures: decoded to rows of pixels, and cut into patches as the paper cuts them.

use std::io::Cursor;

use png::{ColorType, Decoder, Limits, Transformations};

/// A picture of one byte a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes of a pixel: 1 is grey, 2 grey with alpha, 3 colour, 4 colour with alpha.
    pub channels: usize,
    /// Row by row.
    pub pixels: Vec<u8>,
}

/// Rows and columns of a patch in the paper.
pub const PATCH: (usize, usize) = (32, 64);

/// Most bytes that a picture may have, decoded.
const MOST: usize = 64 << 20;

impl Picture {
    /// The picture of a file, if its format is read here and its contents are whole.
    #[must_use]
    pub fn decode(file: &[u8]) -> Option<Picture> {
        match file {
            [0x89, b'P', ..] => from_png(file),
            [b'P', b'5' | b'6', ..] => from_netpbm(file),
            [b'B', b'M', ..] => from_bmp(file),
            [b'I', b'I', ..] | [b'M', b'M', ..] => {
                let plain = super::tiff::decode(file)?;
                Picture::new(plain.width, plain.height, plain.channels, plain.pixels)
            }
            _ => None,
        }
    }

    /// A picture of these pixels, if they are as many as it has.
    pub(crate) fn new(width: usize, height: usize, channels: usize, pixels: Vec<u8>) -> Option<Picture> {
        let size = width.checked_mul(height)?.checked_mul(channels)?;
        ((1..=MOST).contains(&size) && pixels.len() == size).then_some(Picture {
            width,
            height,
            channels,
            pixels,
        })
    }

    /// The brightness of every pixel, by the weights of ITU-R BT.601.
    #[must_use]
    pub fn grey(&self) -> Vec<u8> {
        let grey = |pixel: &[u8]| match pixel {
            [r, g, b, ..] => ((299 * u32::from(*r) + 587 * u32::from(*g) + 114 * u32::from(*b) + 500) / 1000) as u8,
            [grey, ..] => *grey,
            [] => 0,
        };
        self.pixels.chunks_exact(self.channels).map(grey).collect()
    }

    /// All whole patches, one after another: 32 rows of 64 grey pixels each.
    #[must_use]
    pub fn patches(&self) -> Vec<u8> {
        let grey = self.grey();
        let (rows, columns) = PATCH;
        let mut patches = Vec::with_capacity(grey.len());
        for top in (0..=self.height.saturating_sub(rows)).step_by(rows) {
            for left in (0..=self.width.saturating_sub(columns)).step_by(columns) {
                if top + rows > self.height || left + columns > self.width {
                    continue;
                }
                for row in top..top + rows {
                    let start = row * self.width + left;
                    patches.extend_from_slice(grey.get(start..start + columns).unwrap_or_default());
                }
            }
        }
        patches
    }

    /// The picture as a binary PGM or PPM file, and how long its header is. Netpbm has no alpha in these, so it is left
    /// out.
    #[must_use]
    pub fn to_netpbm(&self) -> (Vec<u8>, usize, usize) {
        let (kind, channels) = if self.channels < 3 { (5, 1) } else { (6, 3) };
        let mut file = format!("P{kind}\n{} {}\n255\n", self.width, self.height).into_bytes();
        let header = file.len();
        for pixel in self.pixels.chunks_exact(self.channels) {
            file.extend_from_slice(pixel.get(..channels).unwrap_or_default());
        }
        (file, header, channels)
    }
}

fn from_png(file: &[u8]) -> Option<Picture> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(file), Limits { bytes: MOST });
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().ok()?;
    let size = reader.output_buffer_size().filter(|size| *size <= MOST)?;
    let mut pixels = vec![0; size];
    let info = reader.next_frame(&mut pixels).ok()?;
    let channels = match info.color_type {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        ColorType::Indexed => return None,
    };
    pixels.truncate(info.buffer_size());
    Picture::new(
        usize::try_from(info.width).ok()?,
        usize::try_from(info.height).ok()?,
        channels,
        pixels,
    )
}

/// Width, height, and where the pixels of a binary PGM or PPM file with one byte a channel begin.
pub(super) fn netpbm_header(file: &[u8]) -> Option<(usize, usize, usize)> {
    let mut at = 2;
    let mut numbers = [0_usize; 3];
    for number in &mut numbers {
        loop {
            match file.get(at)? {
                b'#' => at += file.get(at..)?.iter().position(|&byte| byte == b'\n')?,
                space if space.is_ascii_whitespace() => at += 1,
                _ => break,
            }
        }
        let digits = file
            .get(at..)?
            .iter()
            .take(7)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        *number = std::str::from_utf8(file.get(at..at + digits)?).ok()?.parse().ok()?;
        at += digits;
    }
    let [width, height, most] = numbers;
    (most == 255 && file.get(at)?.is_ascii_whitespace()).then_some((width, height, at + 1))
}

fn from_netpbm(file: &[u8]) -> Option<Picture> {
    let (width, height, start) = netpbm_header(file)?;
    let channels = if file.get(1) == Some(&b'5') { 1 } else { 3 };
    let size = width.checked_mul(height)?.checked_mul(channels)?;
    let pixels = file.get(start..)?.get(..size)?.to_vec();
    Picture::new(width, height, channels, pixels)
}

/// Uncompressed bitmaps of 24 and 32 bits, and of 8 bits where the palette is grey.
fn from_bmp(file: &[u8]) -> Option<Picture> {
    let number = |at: usize| Some(u32::from_le_bytes(*file.get(at..)?.first_chunk()?));
    let short = |at: usize| Some(u16::from_le_bytes(*file.get(at..)?.first_chunk()?));
    let start = usize::try_from(number(10)?).ok()?;
    let width = usize::try_from(number(18)?).ok()?;
    let signed = i32::from_le_bytes(*file.get(22..)?.first_chunk()?);
    let height = usize::try_from(signed.unsigned_abs()).ok()?;
    let bytes = usize::from(short(28)?) / 8;
    if number(30)? != 0 || !matches!(bytes, 1 | 3 | 4) {
        return None;
    }
    if bytes == 1 {
        let palette = file.get(14 + usize::try_from(number(14)?).ok()?..start)?;
        let grey = |(i, color): (usize, &[u8])| color.iter().take(3).all(|&channel| usize::from(channel) == i);
        if palette.len() != 1024 || !palette.chunks(4).enumerate().all(grey) {
            return None;
        }
    }
    let row = width.checked_mul(bytes)?.checked_next_multiple_of(4)?;
    if row == 0 || height == 0 || row.checked_mul(height)? > MOST {
        return None;
    }
    let rows: Vec<&[u8]> = file.get(start..)?.chunks_exact(row).take(height).collect();
    let mut pixels = Vec::with_capacity(row * height);
    let mut take = |row: &[u8]| {
        for pixel in row.chunks_exact(bytes).take(width) {
            match pixel {
                [b, g, r, ..] => pixels.extend_from_slice(&[*r, *g, *b]),
                other => pixels.extend_from_slice(other),
            }
        }
    };
    // Rows are stored from the bottom unless the height is negative.
    if signed < 0 {
        rows.iter().for_each(|row| take(row));
    } else {
        rows.iter().rev().for_each(|row| take(row));
    }
    Picture::new(width, height, bytes.min(3), pixels)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn gradient() -> Picture {
        let pixels = (0..70 * 130 * 3)
            .map(|i: u32| (i / 3 % 130 + i % 3 * 40) as u8)
            .collect();
        Picture::new(130, 70, 3, pixels).unwrap()
    }

    #[test]
    fn every_format_gives_the_same_picture() {
        let picture = gradient();
        let (netpbm, header, channels) = picture.to_netpbm();
        assert_eq!((&netpbm[header..], channels), (&picture.pixels[..], 3));
        assert_eq!(Picture::decode(&netpbm).unwrap(), picture);

        let mut png = Vec::new();
        let mut encoder = png::Encoder::new(&mut png, 130, 70);
        encoder.set_color(ColorType::Rgb);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&picture.pixels).unwrap();
        writer.finish().unwrap();
        assert_eq!(Picture::decode(&png).unwrap(), picture);

        // A row of 390 bytes is padded to 392.
        let mut bmp = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
        bmp.extend([130_u32.to_le_bytes(), 70_u32.to_le_bytes(), [1, 0, 24, 0], [0; 4]].concat());
        bmp.resize(54, 0);
        for row in picture.pixels.chunks(390).rev() {
            bmp.extend(row.chunks(3).flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]));
            bmp.extend([0, 0]);
        }
        assert_eq!(Picture::decode(&bmp).unwrap(), picture);
        for file in [netpbm, png, bmp] {
            for len in (0..file.len()).step_by(37) {
                assert_eq!(Picture::decode(&file[..len]), None);
            }
        }
    }

    /// The picture as an interlaced PNG file (Adam7), with all of its channels and bits or as few as it needs.
    fn interlaced(picture: &Picture, few: bool) -> Vec<u8> {
        let color = match picture.channels {
            1 => oxipng::ColorType::Grayscale {
                transparent_shade: None,
            },
            2 => oxipng::ColorType::GrayscaleAlpha,
            3 => oxipng::ColorType::RGB {
                transparent_color: None,
            },
            _ => oxipng::ColorType::RGBA,
        };
        let options = oxipng::Options {
            interlace: Some(true),
            bit_depth_reduction: few,
            color_type_reduction: few,
            palette_reduction: few,
            grayscale_reduction: few,
            ..oxipng::Options::from_preset(1)
        };
        let (width, height) = (picture.width as u32, picture.height as u32);
        let image = oxipng::RawImage::new(width, height, color, oxipng::BitDepth::Eight, picture.pixels.clone());
        let file = image.unwrap().create_optimized_png(&options).unwrap();
        // The header says so: byte 12 of its data, which begin behind the signature, their length and its name.
        assert_eq!((&file[12..16], file[28]), (&b"IHDR"[..], 1));
        file
    }

    #[test]
    fn an_interlaced_png_gives_the_same_picture() {
        for channels in 1..=4 {
            // Pictures that are smaller than the grid of Adam7 lack some of its passes.
            for (width, height) in [(1, 1), (2, 3), (3, 5), (5, 1), (8, 8), (9, 17), (130, 70)] {
                let many = |i: usize| (i.wrapping_mul(0x9E37_79B9) >> 15) as u8;
                let two = |i: usize| many(i / channels) & 0x80;
                for (few, pixel) in [(false, &many as &dyn Fn(usize) -> u8), (true, &two)] {
                    let pixels = (0..width * height * channels).map(pixel).collect();
                    let picture = Picture::new(width, height, channels, pixels).unwrap();
                    let file = interlaced(&picture, few);
                    let back = Picture::decode(&file).unwrap();
                    assert_eq!((back.width, back.height), (width, height));
                    assert_eq!(back.grey(), picture.grey(), "{width} by {height}, {channels} channels");
                    if !few {
                        assert_eq!(back, picture);
                    }
                    let cut = file.len() / 2;
                    assert_eq!(Picture::decode(&file[..cut]), None);
                }
            }
        }
    }

    #[test]
    fn patches_are_those_of_the_paper() {
        let picture = gradient();
        let patches = picture.patches();
        assert_eq!(patches.len(), 4 * 2048, "two by two whole patches");
        let grey = picture.grey();
        assert_eq!(
            &patches[2048..2048 + 64],
            &grey[64..128],
            "the first row of the second patch"
        );
        assert_eq!(&patches[2 * 2048..2 * 2048 + 64], &grey[32 * 130..32 * 130 + 64]);
        let small = Picture::new(63, 100, 1, vec![9; 6300]).unwrap();
        assert!(small.patches().is_empty());
    }
}
