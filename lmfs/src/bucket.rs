//! A store in a bucket: pushed from the machine that has it, cloned by others.

pub mod clone;
pub mod push;
pub mod url;
