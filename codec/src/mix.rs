//! The bit predictor: small adaptive models of the block, mixed with a language model's sse.
//!
//! One predictor serves all lanes of a block. Every bit of every byte is predicted from the histories of nine contexts
//! (byte orders, words, fields, columns), from a match model and from the language model if there is one; an
//! online-trained mixer weighs them and an adaptive map corrects the result. All arithmetic is on integers of fixed
//! width, so encoder and decoder compute the same bits everywhere. docs/FORMAT.md, "Mixing and coding", is normative.
//!
//! A lane's byte is coded in one go: eight calls of [`Predictor::predict_bit`], each followed by
//! [`update`](crate::entropy::token_tree::DecisionModel::update), or of
//! [`skip`](crate::entropy::token_tree::DecisionModel::skip) for a bit that is certain because the vocabulary leaves no
//! choice.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    clippy::precedence,
    reason = "hot loops over tables sized here; every index is masked or bounded, and lanes are checked in reset"
)]

mod apm;
mod block;
mod byte_coder;
mod coding;
mod combination;
mod context;
mod context_models;
mod counter;
mod data_layout;
mod distribution;
mod form;
mod history;
mod history_table;
mod initial_weights;
mod inputs;
mod layout;
mod least_squares;
mod match_model;
mod math;
mod mixer;
mod mixing;
mod neighbours;
mod numbers;
mod numerals;
mod pixels;
mod predictor;
mod printed;
mod quantized;
mod quantized_find;
mod samples;
mod solid;
mod sound;
mod sse_input;
mod state_map;
#[cfg(test)]
mod tests;
mod token_end;
mod tokens_behind;
mod warm;
mod wide_sound;

pub use coding::{decode, decode_behind, encode, encode_as, encode_behind, encode_behind_below, layout_of, train_on};
pub use data_layout::DataLayout;
pub use layout::BlockKind;
pub use predictor::Predictor;
pub use quantized::{Quantized, SampleKind};
pub use solid::{decode_part, encode_part};
pub use tokens_behind::{Combined, TokenFront, Tokenized};
pub use warm::{Front, Growing, WarmState};
pub use wide_sound::WideSound;

/// Version of everything that decides a predicted bit. It is part of a block's parameters.
pub const VERSION: u8 = 1;
