//! The command line: what users type, one file per command.

pub mod args;
mod output;
pub mod size;
mod target;
mod umount;
