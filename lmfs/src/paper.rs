//! The experiments of the paper. Its table 1 is first: every compressor on text, pictures and sound, unchunked and in
//! chunks.
//!
//! All lengths are those of bytes that were decoded again and compared. The adjusted rate counts what a decoder has to
//! have besides: the model, weights and dictionaries.

mod curves;
mod cut;
mod data;
mod kept;
mod methods;
mod rates;
mod report;
mod svg;
mod table;
mod tokenization;

pub use curves::{Curve, curve};
pub use data::{DataSet, Options, data_sets};
pub use kept::Kept;
pub use methods::{Contender, peers};
pub use rates::{Key, Rate, measure};
pub use report::{Circumstances, write_report};
pub use table::Table;
pub use tokenization::{Named, Tokenization, tokenization};

#[cfg(test)]
mod tests;
