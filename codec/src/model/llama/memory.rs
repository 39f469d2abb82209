//! llama.cpp loads files by path; a model in memory is given one.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// An anonymous file in memory: no name that others could see or change, and nothing to clean up.
pub(super) struct MemoryFile {
    path: PathBuf,
    /// What `path` leads to.
    _file: File,
}

impl MemoryFile {
    pub(super) fn new(bytes: &[u8]) -> io::Result<MemoryFile> {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::memfd_create("model.gguf", flags)?);
        file.write_all(bytes)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
        Ok(MemoryFile { path, _file: file })
    }

    pub(super) fn as_path(&self) -> &Path {
        &self.path
    }
}
