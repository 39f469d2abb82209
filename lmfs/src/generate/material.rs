//! What is continued: text, sound or a picture.

use lmfs_codec::mix::DataLayout;

use crate::eval::{Class, Fault, Picture, SAMPLE, Sound, encode_png, recognise};

/// A prompt, and the form in which its continuation is written.
#[derive(Clone, Debug)]
pub enum Material {
    /// Bytes, which come out as they are.
    Bytes(Vec<u8>),
    /// Sound, one byte a sample as in the paper. It comes out as a WAV file of prompt and continuation.
    Sound {
        /// Its samples.
        bytes: Vec<u8>,
        /// Samples a second.
        rate: usize,
    },
    /// A grey picture whose lower half is written anew. It comes out as a PNG file, beside the original.
    Picture(Picture),
}

impl Material {
    /// What these bytes are, by their contents.
    ///
    /// # Errors
    /// A picture or sound that cannot be read.
    pub fn new(file: Vec<u8>) -> Result<Material, Fault> {
        let content = recognise(file.get(..SAMPLE).unwrap_or(&file));
        let unreadable = || format!("this {} file cannot be read", content.name);
        Ok(match content.class {
            Class::Sound => {
                let sound = Sound::decode(&file).ok_or_else(unreadable)?;
                Material::Sound {
                    bytes: sound.bytes(),
                    rate: sound.rate,
                }
            }
            Class::Picture => {
                let picture = Picture::decode(&file).ok_or_else(unreadable)?;
                let grey = picture.grey();
                Material::Picture(Picture::new(picture.width, picture.height, 1, grey).ok_or_else(unreadable)?)
            }
            Class::Text | Class::Code | Class::Records | Class::Binary => Material::Bytes(file),
        })
    }

    /// What the compressor is told.
    #[must_use]
    pub fn prompt(&self) -> &[u8] {
        match self {
            Material::Bytes(bytes) | Material::Sound { bytes, .. } => bytes,
            Material::Picture(picture) => picture
                .pixels
                .get(..picture.width * (picture.height / 2))
                .unwrap_or_default(),
        }
    }

    /// How many bytes to write where nothing else is asked for, or can be.
    #[must_use]
    pub fn length(&self, asked: Option<usize>) -> usize {
        match self {
            Material::Bytes(_) => asked.unwrap_or(256),
            Material::Sound { bytes, .. } => asked.unwrap_or(bytes.len()),
            Material::Picture(picture) => picture.pixels.len() - self.prompt().len(),
        }
    }

    /// How the mixer reads it.
    #[must_use]
    pub fn layout(&self) -> DataLayout {
        match self {
            Material::Picture(picture) => {
                u16::try_from(picture.width).map_or(DataLayout::Plain, |width| DataLayout::Picture(1, width))
            }
            Material::Sound { .. } => DataLayout::ByteSound(1),
            Material::Bytes(_) => DataLayout::Plain,
        }
    }

    /// Whether the result is text for a terminal.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        matches!(self, Material::Bytes(_))
    }

    /// The file with the continuation `written`.
    ///
    /// # Errors
    /// A picture that is too large for PNG.
    pub fn finish(&self, written: &[u8]) -> Result<Vec<u8>, Fault> {
        match self {
            Material::Bytes(_) => Ok(written.to_vec()),
            Material::Sound { bytes, rate } => {
                let samples = bytes.iter().chain(written).map(|&byte| i16::from(byte) - 128);
                let sound = Sound {
                    channels: 1,
                    bits: 8,
                    rate: *rate,
                    samples: samples.collect(),
                };
                Ok(sound.to_wav().0)
            }
            Material::Picture(picture) => {
                let drawn = [self.prompt(), written].concat();
                let rows = picture.pixels.chunks(picture.width).zip(drawn.chunks(picture.width));
                let pixels = rows.flat_map(|(old, new)| [old, new].concat()).collect();
                let both = Picture::new(2 * picture.width, picture.height, 1, pixels);
                encode_png(&both.ok_or("the picture is too large")?)
            }
        }
    }
}
