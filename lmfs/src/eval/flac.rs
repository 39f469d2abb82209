//! FLAC, with the longest predictors that its encoder has.

use std::io::Cursor;

use claxon::FlacReader;
use flacenc::bitsink::ByteSink;
use flacenc::component::BitRepr;
use flacenc::config;
use flacenc::error::Verify;
use flacenc::source::MemSource;
use lmfs_codec::Stop;

use super::compressor::{Compressed, Compressor, Fault, Form};

/// Predictors of the orders 8, 12 and 24, the best of them. What is no sound is taken for 8-bit samples at 16 kHz.
#[derive(Clone)]
pub struct Flac;

/// Most samples of a frame, as in `flac -8`, and fewest that FLAC has.
const FRAME: usize = 4096;
const LEAST_FRAME: usize = 32;

impl Compressor for Flac {
    fn name(&self) -> &str {
        "FLAC"
    }

    fn compress(&self, raw: &[u8], stop: &Stop) -> Result<Compressed, Fault> {
        self.compress_as(raw, Form::PAPER_SOUND, stop)
    }

    fn compress_as(&self, raw: &[u8], form: Form, stop: &Stop) -> Result<Compressed, Fault> {
        let Form::Sound {
            header,
            channels,
            bits,
            rate,
        } = form
        else {
            return self.compress(raw, stop);
        };
        let mut samples = samples(raw.get(header..).unwrap_or_default(), bits);
        // A moment has a sample of every channel, and the shortest stream a frame.
        let known = samples.len();
        let whole = known.div_ceil(channels).max(LEAST_FRAME) * channels;
        samples.resize(whole, 0);
        let frame = frame(whole / channels);
        let mut best: Option<Vec<u8>> = None;
        for order in [8, 12, 24] {
            stop.check()?;
            let mut config = config::Encoder::default();
            config.subframe_coding.qlpc.lpc_order = order;
            let config = config.into_verified().map_err(|(_, error)| error.to_string())?;
            let source = MemSource::from_samples(&samples, channels, bits, rate);
            let stream = flacenc::encode_with_fixed_block_size(&config, source, frame);
            let stream = stream.map_err(|error| error.to_string())?;
            let mut sink = ByteSink::new();
            stream.write(&mut sink).map_err(|error| error.to_string())?;
            let packed = sink.into_inner();
            if best.as_ref().is_none_or(|best| packed.len() < best.len()) {
                best = Some(packed);
            }
        }
        let packed = best.ok_or("there is no order")?;
        let mut reader = FlacReader::new(Cursor::new(&packed))?;
        let back: Vec<i32> = reader.samples().collect::<Result<_, _>>()?;
        if back != samples {
            return Err("what it decodes to is not what it compressed".into());
        }
        Ok(Compressed {
            bytes: packed.len(),
            method: None,
        })
    }
}

/// Moments of a frame, so that the last one is not too short for the decoder.
fn frame(moments: usize) -> usize {
    let most = moments.min(FRAME);
    let fits = |frame: &usize| moments.is_multiple_of(*frame) || moments % frame >= LEAST_FRAME;
    (LEAST_FRAME..=most).rev().find(fits).unwrap_or(most)
}

/// Samples as numbers around zero. A last half sample is one with zeros.
fn samples(raw: &[u8], bits: usize) -> Vec<i32> {
    match bits {
        8 => raw.iter().map(|&byte| i32::from(byte) - 128).collect(),
        _ => raw
            .chunks(2)
            .map(|pair| match pair {
                [low, high] => i32::from(i16::from_le_bytes([*low, *high])),
                rest => rest.iter().map(|&byte| i32::from(byte)).sum(),
            })
            .collect(),
    }
}
