//! Learning in context (sections 3.3 and 3.5 of the paper): what a byte costs by how much of its text came before.
//!
//! These are bits of the predictors, which a coded stream has before it is rounded up to bytes. The table's numbers are
//! real lengths.

use lmfs_codec::Stop;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::data::DataSet;
use crate::eval::Error;
use crate::generate::Predicted;

/// Bytes of a text, and most texts of a data set.
const LENGTH: usize = 4096;
const STARTS: usize = 24;

/// What 95 % of Student's distribution lie within, by degrees of freedom from 1 on.
const STUDENT: [f64; STARTS - 1] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069,
];

/// First bytes of the ranges that are averaged.
const EDGES: [usize; 9] = [0, 32, 64, 128, 256, 512, 1024, 2048, LENGTH];

/// One predictor on one data set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Curve {
    /// The data set.
    pub set: String,
    /// Its SHA-256.
    pub digest: String,
    /// The predictor.
    pub predictor: String,
    /// The model's bytes.
    pub model_bytes: u64,
    /// The averages.
    pub points: Vec<Point>,
}

/// An average over a range of places.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Point {
    /// First place of the range, counted from the start of the text.
    pub from: usize,
    /// First place behind it.
    pub to: usize,
    /// Bits of a byte by eight, averaged over the texts.
    pub rate: f64,
    /// Half the width of the 95 % confidence interval.
    pub band: f64,
    /// Texts.
    pub texts: usize,
}

/// What opens a predictor, once a thread.
pub type Open<'a> = &'a (dyn Fn() -> Result<Predicted, Error> + Sync);

/// The curve of a predictor on a data set; `None` for a set that is too short for two texts.
///
/// # Errors
/// [`Error::Interrupted`], or what the predictor reports.
pub fn curve(set: &DataSet, name: &str, model_bytes: u64, open: Open<'_>, stop: &Stop) -> Result<Option<Curve>, Error> {
    let texts: Vec<&[u8]> = set
        .pieces
        .iter()
        .flat_map(|piece| piece.raw.chunks_exact(LENGTH))
        .collect();
    if texts.len() < 2 {
        return Ok(None);
    }
    // Spread over all of it.
    let every = texts.len().div_ceil(STARTS);
    let texts: Vec<&[u8]> = texts.into_iter().step_by(every).collect();
    let costs: Result<Vec<Vec<f64>>, Error> = texts
        .par_iter()
        .map_init(open, |predicted, text| {
            let predicted = predicted
                .as_mut()
                .map_err(|error| failed(name, set, error.to_string()))?;
            predicted.costs(text, stop).map_err(|error| match stop.is_set() {
                true => Error::Interrupted,
                false => failed(name, set, error.to_string()),
            })
        })
        .collect();
    let costs = costs?;
    let points = EDGES.windows(2).filter_map(|edge| match edge {
        [from, to] => point(&costs, *from, *to),
        _ => None,
    });
    Ok(Some(Curve {
        set: set.name.to_owned(),
        digest: set.digest.clone(),
        predictor: name.to_owned(),
        model_bytes,
        points: points.collect(),
    }))
}

fn failed(name: &str, set: &DataSet, reason: String) -> Error {
    Error::Compressor {
        compressor: name.to_owned(),
        path: set.name.into(),
        reason,
    }
}

/// The average of a range, over texts.
fn point(costs: &[Vec<f64>], from: usize, to: usize) -> Option<Point> {
    let rates: Option<Vec<f64>> = costs
        .iter()
        .map(|bits| Some(bits.get(from..to)?.iter().sum::<f64>() / 8.0 / (to - from) as f64))
        .collect();
    let rates = rates?;
    let n = rates.len() as f64;
    let student = STUDENT.get(rates.len().checked_sub(2)?)?;
    let mean = rates.iter().sum::<f64>() / n;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Some(Point {
        from,
        to,
        rate: mean,
        band: student * (variance / n).sqrt(),
        texts: rates.len(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_band_is_that_of_students() {
        let costs = vec![vec![8.0; 4], vec![4.0; 4], vec![0.0; 4]];
        let point = point(&costs, 0, 4).unwrap();
        assert_eq!((point.rate, point.texts), (0.5, 3));
        assert!((point.band - 4.303 * 0.5 / 3_f64.sqrt()).abs() < 1e-12);
        assert!(super::point(&costs, 2, 5).is_none(), "a text is too short");
    }
}
