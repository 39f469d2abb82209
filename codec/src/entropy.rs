//! From predictions to bytes: token frequencies, binary decisions along the vocabulary, and the range coder.

pub mod frequencies;
pub mod range_coder;
pub mod token_tree;
