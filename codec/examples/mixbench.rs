//! Sizes and speed of method mix on files cut into blocks, for tuning.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench stops at the first surprise"
)]
use lmfs_codec::mix;

/// Processor time of this process in seconds, which does not depend on what else runs.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1e-9
}


fn main() {
    let args: Vec<String> = std::env::args().collect();
    let block: usize = args[1].parse().unwrap();
    let limit: usize = args[2].parse().unwrap();
    let mut predictor = mix::Predictor::new();
    let (mut total, mut raw_total, mut seconds) = (0usize, 0usize, 0f64);
    for path in &args[3..] {
        let data = std::fs::read(path).unwrap();
        let data = &data[..data.len().min(limit)];
        let mut size = 0;
        for (i, raw) in data.chunks(block).enumerate() {
            let start = cpu();
            let payload = mix::encode(&mut predictor, raw);
            seconds += cpu() - start;
            size += payload.len();
            if i == 0 {
                assert_eq!(
                    mix::decode(&mut predictor, &payload, raw.len()).unwrap(),
                    raw
                );
            }
        }
        total += size;
        raw_total += data.len();
        println!(
            "{path:50} {:8} {size:8} {:.4}",
            data.len(),
            size as f64 / data.len() as f64
        );
    }
    println!(
        "total {raw_total} {total} {:.4}  {:.3} us/byte",
        total as f64 / raw_total as f64,
        seconds * 1e6 / raw_total as f64
    );
}
