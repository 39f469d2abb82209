//! llama.cpp loads files by path; a model in memory is given one.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// A model file for as long as this lives.
pub(super) struct Source {
    path: PathBuf,
    /// The anonymous file behind `path`, if it is one.
    _memory: Option<File>,
}

impl Source {
    pub(super) fn path(path: &Path) -> Source {
        Source {
            path: path.to_owned(),
            _memory: None,
        }
    }

    /// An anonymous file in memory with these bytes: no name that others could see or change, nothing to clean up.
    pub(super) fn memory(bytes: &[u8]) -> io::Result<Source> {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::memfd_create("model.gguf", flags)?);
        file.write_all(bytes)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
        Ok(Source {
            path,
            _memory: Some(file),
        })
    }

    pub(super) fn as_path(&self) -> &Path {
        &self.path
    }
}
