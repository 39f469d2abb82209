//! Time to the first byte of a random block of a container, by block size and lanes, with the sizes they give.

use std::io::{Cursor, Write};
use std::sync::Arc;
use std::time::Instant;

use lmfs_codec::model::{EngineChoice, LanguageModel, LoadOptions, ModelSource, load};
use lmfs_codec::stream::{Encoder, SeekableReader, StreamOptions};
use lmfs_codec::{Codec, Options, Stop};
use lmfs_tests::Noise;

use crate::corpus::Kind;
use crate::cpu_seconds;

const BLOCKS: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
const LANES: [Option<usize>; 4] = [None, Some(1), Some(2), Some(16)];
/// Least text to take blocks from.
const TEXT: usize = 128 << 10;
/// Seconds spent on reads of one row, once there are three.
const PATIENCE: f64 = 8.0;
const READS: usize = 100;

pub fn print(kinds: &[Kind]) {
    let all = crate::model::text(kinds, 1 << 20);
    let model = load(
        &ModelSource::builtin_default().unwrap(),
        EngineChoice::Auto,
        &LoadOptions::default(),
    )
    .unwrap();
    println!("\n### Latency\n");
    println!(
        "First byte of a random block of text in an .lmz container: processor time of the one thread that decodes, which is the time on the clock where nothing else runs. Engine: {}.\n",
        model.identity().engine
    );
    println!("| block | lanes | size / raw | reads | median | 99 % (or worst) | KB/s of one core |");
    println!("|---|---|---|---|---|---|---|");
    for block in BLOCKS {
        if block > all.len() {
            println!("| {} KiB | | too little text: set BENCH_BYTES=0 | | | | |", block >> 10);
            continue;
        }
        let text = all.get(..block.max(TEXT.min(all.len()))).unwrap();
        // Of large blocks a row takes minutes.
        let lanes = LANES.get(..if block > TEXT { 1 } else { LANES.len() });
        for &lanes in lanes.unwrap_or_default() {
            measure(text, block, lanes, &model);
        }
    }
}

fn measure(text: &[u8], block: usize, lanes: Option<usize>, model: &Arc<dyn LanguageModel>) {
    let mut options = Options::default();
    options.lanes = lanes;
    let codec = Codec::new(Some(Arc::clone(model)), options).unwrap();
    let mut stream = StreamOptions::default();
    stream.block_size = block;
    let mut encoder = Encoder::new(Vec::new(), codec.clone(), stream).unwrap();
    encoder.write_all(text).unwrap();
    let container = encoder.finish().unwrap();
    let (mut noise, mut times) = (Noise::new(4), Vec::new());
    let begun = Instant::now();
    while times.len() < READS && (times.len() < 3 || begun.elapsed().as_secs_f64() < PATIENCE) {
        let codec = codec.clone();
        let mut reader = SeekableReader::new(Cursor::new(&container), |_| Ok(codec.clone()), Stop::new()).unwrap();
        let (at, mut byte) = (noise.below(text.len() as u64), [0]);
        times.push(cpu_seconds(|| assert_eq!(reader.read_at(at, &mut byte).unwrap(), 1)));
        assert_eq!(text.get(usize::try_from(at).unwrap()), byte.first());
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| {
        times
            .get(((times.len() - 1) as f64 * share).ceil() as usize)
            .copied()
            .unwrap()
    };
    let lanes = match lanes {
        Some(lanes) => lanes.to_string(),
        None => format!("default: {}", (block / 1024).clamp(1, model.best_lanes())),
    };
    println!(
        "| {} KiB | {lanes} | {:.4} | {} | {:.0} ms | {:.0} ms | {:.1} |",
        block >> 10,
        container.len() as f64 / text.len() as f64,
        times.len(),
        at(0.5) * 1e3,
        at(0.99) * 1e3,
        block as f64 / at(0.5) / 1e3
    );
}
