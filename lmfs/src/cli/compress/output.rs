//! Where the bytes go: standard output, or a file that appears only when it is whole.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tempfile::NamedTempFile;

use super::protection::Protection;
use crate::cli::interrupt::unfinished;
use crate::cli::output::stdout;
use crate::terminal_text::Shown as _;

/// Runs of zeros at least this long become holes.
const HOLE: usize = 4096;

/// An output under way.
#[derive(Debug)]
pub enum Output {
    /// Standard output.
    Stdout(File),
    /// A file without its name yet.
    File {
        /// What it will be called.
        path: PathBuf,
        /// Where it is written.
        temporary: NamedTempFile,
        /// An existing file may be replaced.
        force: bool,
        /// Zeros become holes.
        sparse: bool,
        /// It is on the disk before anybody takes it for there.
        durable: bool,
    },
    /// A device or a FIFO that was there: written to, never replaced.
    Special(File),
    /// Nowhere.
    Sink,
}

impl Output {
    /// A file called `path`, or what it is a link to; a `durable` one is on the disk when it is finished.
    ///
    /// # Errors
    /// It exists and `force` is not set, it can hold nothing durable, or its folder takes no files.
    pub fn file(mut path: PathBuf, force: bool, sparse: bool, durable: bool) -> anyhow::Result<Output> {
        if let Ok(there) = path.metadata()
            && (is_stdout(&there) || !there.is_file() && !there.is_dir())
        {
            if durable {
                bail!(
                    "--rm removes inputs that are whole in another file, and {} is none",
                    path.shown()
                );
            }
            if is_stdout(&there) {
                return Ok(Output::Stdout(stdout()?));
            }
            let file = File::options().write(true).open(&path);
            let file = file.with_context(|| format!("cannot write to {}", path.shown()))?;
            return Ok(Output::Special(file));
        }
        if !force && path.symlink_metadata().is_ok() {
            bail!(
                "{} already exists; use -f to replace it, or -o for another name",
                path.shown()
            );
        }
        if path.is_dir() {
            bail!("{} is a directory; name a file with -o", path.shown());
        }
        // What the name leads to is replaced, and the name still leads there.
        if let Ok(target) = path.canonicalize() {
            path = target;
        }
        let dir = path
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        if !dir.is_dir() {
            bail!("cannot create {}: there is no directory {}", path.shown(), dir.shown());
        }
        let temporary = tempfile::Builder::new()
            .prefix(".lmfs-")
            .tempfile_in(dir)
            .with_context(|| format!("cannot create a file in {}", dir.shown()))?;
        unfinished(Some(temporary.path()));
        Ok(Output::File {
            path,
            temporary,
            force,
            sparse,
            durable,
        })
    }

    /// Gives the file its name, and the mode and times of what it was made from.
    ///
    /// # Errors
    /// IO errors; the name was taken meanwhile.
    pub fn finish(mut self, like: Option<&Protection>) -> anyhow::Result<()> {
        self.flush().context("cannot write the output")?;
        let Output::File {
            path,
            mut temporary,
            force,
            durable,
            ..
        } = self
        else {
            return Ok(());
        };
        let shown = path.shown().to_string();
        let end = temporary.stream_position()?;
        let file = temporary.as_file();
        file.set_len(end).with_context(|| format!("cannot write {shown}"))?;
        // Some filesystems have neither; that is no reason to throw the output away.
        let settled = like.map_or_else(|| permit_as_usual(file), |like| like.give_to(file));
        if let Err(error) = settled {
            tracing::warn!("cannot set mode and times of {shown}: {error}");
        }
        if durable {
            file.sync_all().with_context(|| format!("cannot write {shown}"))?;
        }
        let dir = temporary.path().parent().map(Path::to_owned);
        name(temporary, &path, force).with_context(|| format!("cannot create {shown}"))?;
        unfinished(None);
        if let (true, Some(dir)) = (durable, dir) {
            let synced = File::open(dir).and_then(|dir| dir.sync_all());
            synced.with_context(|| format!("cannot write the folder of {shown}"))?;
        }
        Ok(())
    }
}

/// Whether standard output is this file, as for `/dev/stdout`.
fn is_stdout(file: &Metadata) -> bool {
    let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let stdout = stdout.and_then(|stdout| stdout.metadata());
    stdout.is_ok_and(|stdout| (stdout.dev(), stdout.ino()) == (file.dev(), file.ino()))
}

/// Gives a file its name, if that is free or may be taken.
fn name(temporary: NamedTempFile, path: &Path, force: bool) -> io::Result<()> {
    let temporary = match force {
        true => temporary,
        false => match temporary.persist_noclobber(path) {
            Ok(_) => return Ok(()),
            // Some filesystems can neither link nor rename without replacing.
            Err(failed) if failed.error.kind() != io::ErrorKind::AlreadyExists && is_free(path) => failed.file,
            Err(failed) => return Err(failed.error),
        },
    };
    temporary.persist(path).map(drop).map_err(|failed| failed.error)
}

fn is_free(path: &Path) -> bool {
    path.symlink_metadata()
        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Mode 0666 less the umask, for what came from a pipe.
fn permit_as_usual(file: &File) -> io::Result<()> {
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    file.set_permissions(Permissions::from_mode(0o666 & !mask.bits()))
}

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Output::Stdout(out) => out.write(buf),
            Output::Special(file) => file.write(buf),
            Output::Sink => Ok(buf.len()),
            Output::File {
                temporary,
                sparse: false,
                ..
            } => temporary.write(buf),
            Output::File { temporary, .. } => {
                for piece in buf.chunks(HOLE) {
                    if piece.len() == HOLE && piece.iter().all(|&byte| byte == 0) {
                        temporary.seek(SeekFrom::Current(HOLE as i64))?;
                    } else {
                        temporary.write_all(piece)?;
                    }
                }
                Ok(buf.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::Stdout(out) => out.flush(),
            Output::Special(file) => file.flush(),
            Output::Sink => Ok(()),
            Output::File { temporary, .. } => temporary.flush(),
        }
    }
}
