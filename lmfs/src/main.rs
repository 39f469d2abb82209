//! The `lmfs` command.
fn main() {}
