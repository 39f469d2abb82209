//! Sizes and speed of blocks in runs: `solidbench BLOCK BLOCKS FILE...`
//!
//! Each file is cut into blocks. The first `BLOCKS` of it are a run, and the others start behind it. For each file:
//! bytes of blocks that know nothing of each other, alone or behind the best built-in dictionary; in a run; and in a
//! run whose first block starts behind that dictionary. Then decoding, in microseconds per byte, of the same.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench stops at the first surprise"
)]
use lmfs_codec::Stop;
use lmfs_codec::dictionary::builtin;
use lmfs_codec::mix::{self, Predictor, WarmState};

/// Processor time of this process in seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1e-9
}

/// Bytes of blocks without a run, and seconds to decode them.
fn alone(p: &mut Predictor, blocks: &[&[u8]], dictionary: Option<&WarmState>) -> (usize, f64) {
    let (mut bytes, mut seconds) = (0, 0.0);
    for raw in blocks {
        let stream = match dictionary {
            Some(state) => mix::encode_behind(p, state.into(), raw, &Stop::new()).unwrap(),
            None => mix::encode(p, raw, &Stop::new()).unwrap(),
        };
        let begun = cpu();
        let decoded = match dictionary {
            Some(state) => mix::decode_behind(p, state.into(), &stream, raw.len(), &Stop::new()).unwrap(),
            None => mix::decode(p, &stream, raw.len(), &Stop::new()).unwrap(),
        };
        seconds += cpu() - begun;
        assert_eq!(decoded, *raw);
        bytes += stream.len();
    }
    (bytes, seconds)
}

/// The same in a run, whose first block is not counted.
fn solid(p: &mut Predictor, blocks: &[&[u8]], most: usize, dictionary: Option<&WarmState>) -> (usize, f64) {
    let stop = Stop::new();
    let [first, rest @ ..] = blocks else { return (0, 0.0) };
    let (mut bytes, begun) = (0, cpu());
    let mut run = WarmState::begin_solid(p, dictionary, first, first.len() * most, &stop).unwrap();
    let mut seconds = cpu() - begun;
    for (at, raw) in rest.iter().enumerate() {
        if at + 1 >= most {
            let (more, time) = alone(p, &[raw], Some(&run));
            (bytes, seconds) = (bytes + more, seconds + time);
            continue;
        }
        let stream = mix::encode_part(p, &run, raw, usize::MAX, &stop).unwrap().unwrap();
        let begun = cpu();
        run = mix::decode_part(p, &run, &stream, raw.len(), &stop).unwrap();
        seconds += cpu() - begun;
        assert!(run.text().ends_with(raw));
        bytes += stream.len();
    }
    (bytes, seconds)
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (block, most): (usize, usize) = (args[1].parse().unwrap(), args[2].parse().unwrap());
    let mut p = Predictor::new();
    let mut sums = [(0, 0.0); 3];
    let mut all = 0;
    for path in &args[3..] {
        let data = std::fs::read(path).unwrap();
        let blocks: Vec<&[u8]> = data.chunks(block).collect();
        let sample = &data[..data.len().min(block)];
        let dictionary = builtin::kind(sample).map(|name| {
            let entry = builtin::list().iter().find(|entry| entry.name == name).unwrap();
            (
                entry.name,
                WarmState::learn(&mut p, &entry.text().unwrap(), &Stop::new()).unwrap(),
            )
        });
        let (name, state) = match &dictionary {
            Some((name, state)) => (*name, Some(state)),
            None => ("none", None),
        };
        let cold = alone(&mut p, &blocks, None);
        let warm = alone(&mut p, &blocks, state);
        let least = if warm.0 < cold.0 { warm } else { cold };
        let firsts = [alone(&mut p, &blocks[..1], None), alone(&mut p, &blocks[..1], state)];
        let runs = [solid(&mut p, &blocks, most, None), solid(&mut p, &blocks, most, state)];
        let with = |first: (usize, f64), run: (usize, f64)| (first.0 + run.0, first.1 + run.1);
        let found = [least, with(firsts[0], runs[0]), with(firsts[1], runs[1])];
        let ratio = |at: usize| found[at].0 as f64 / found[0].0 as f64;
        let time = |at: usize| found[at].1 * 1e6 / data.len() as f64;
        println!(
            "{path:50} {:8} {:7} {:7} {:.3} {:7} {:.3} {name:8} {:.3} {:.3} {:.3}",
            data.len(),
            found[0].0,
            found[1].0,
            ratio(1),
            found[2].0,
            ratio(2),
            time(0),
            time(1),
            time(2)
        );
        for (sum, one) in sums.iter_mut().zip(found) {
            *sum = with(*sum, one);
        }
        all += data.len();
    }
    println!(
        "all {all}: {} {} {}, {:.3} {:.3}; {:.3} {:.3} {:.3} us/byte",
        sums[0].0,
        sums[1].0,
        sums[2].0,
        sums[1].0 as f64 / sums[0].0 as f64,
        sums[2].0 as f64 / sums[0].0 as f64,
        sums[0].1 * 1e6 / all as f64,
        sums[1].1 * 1e6 / all as f64,
        sums[2].1 * 1e6 / all as f64
    );
}
