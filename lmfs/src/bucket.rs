//! A store in a bucket: pushed from the machine that has it, cloned by others.

pub mod clone;
pub mod io;
pub mod push;
pub mod replica;
pub mod url;
