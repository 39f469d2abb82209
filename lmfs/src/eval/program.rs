//! Compressors that are measured where they are installed.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use lmfs_codec::Stop;

use super::compressor::{Compressed, Compressor, Fault, Form, checked};

/// A program and its arguments. In these, `IN` and `OUT` stand for files.
#[derive(Clone)]
pub struct Program {
    name: &'static str,
    program: &'static str,
    compress: &'static [&'static str],
    decompress: &'static [&'static str],
    /// For 8-bit sound alone, with these options for the form of raw samples.
    sound: bool,
    chunks: bool,
}

/// All that are known.
const PROGRAMS: [Program; 3] = [
    Program {
        name: "brotli 11",
        program: "brotli",
        compress: &["-q", "11", "-w", "24", "-o", "OUT", "IN"],
        decompress: &["-d", "-o", "OUT", "IN"],
        sound: false,
        chunks: true,
    },
    // One archive has some hundred bytes of headers, so chunks say nothing of it.
    Program {
        name: "zpaq -m5",
        program: "zpaq",
        compress: &["a", "OUT", "IN", "-m5"],
        decompress: &["x", "IN", "raw", "-to", "OUT"],
        sound: false,
        chunks: false,
    },
    // Without the room that it leaves for tags.
    Program {
        name: "flac -8",
        program: "flac",
        compress: &["-8", "--no-padding", "--silent", "RAW", "-o", "OUT", "IN"],
        decompress: &["-d", "--silent", "UNRAW", "-o", "OUT", "IN"],
        sound: true,
        chunks: true,
    },
];

impl Program {
    /// Those that this machine has.
    pub fn installed() -> Vec<Program> {
        let found = |program: &Program| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| folder.join(program.program).is_file())
        };
        PROGRAMS.into_iter().filter(found).collect()
    }

    /// Its name and the first line that it says of its version.
    #[must_use]
    pub fn version(&self) -> String {
        let said = Command::new(self.program)
            .arg("--version")
            .stdin(Stdio::null())
            .output();
        let said = said
            .map(|done| String::from_utf8_lossy(&done.stdout).into_owned())
            .unwrap_or_default();
        format!("{}: {}", self.name, said.lines().next().unwrap_or("no version"))
    }

    fn run(
        &self,
        args: &[&str],
        folder: &Path,
        (from, to): (&str, &str),
        raw: &[String],
        stop: &Stop,
    ) -> Result<Vec<u8>, Fault> {
        let mut command = Command::new(self.program);
        for arg in args {
            match *arg {
                "IN" => command.arg(from),
                "OUT" => command.arg(to),
                "RAW" => command.args(raw),
                "UNRAW" => command.args(raw.iter().take(3)),
                other => command.arg(other),
            };
        }
        let said = folder.join("said");
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
        let status = end_of(command.stderr(File::create(&said)?), stop)?;
        if !status.success() {
            let said = fs::read(&said)?;
            let said = String::from_utf8_lossy(&said);
            return Err(format!("{} ended with {status}: {}", self.program, said.trim()).into());
        }
        Ok(fs::read(folder.join(to))?)
    }
}

/// Runs a program to its end, or ends it when `stop` is set: on much data they take minutes.
fn end_of(command: &mut Command, stop: &Stop) -> Result<ExitStatus, Fault> {
    let mut child = command.spawn()?;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if let Err(stopped) = stop.check() {
            child.kill()?;
            child.wait()?;
            return Err(stopped.into());
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

impl Compressor for Program {
    fn name(&self) -> &str {
        self.name
    }

    fn compress(&self, raw: &[u8], stop: &Stop) -> Result<Compressed, Fault> {
        self.compress_as(raw, if self.sound { Form::PAPER_SOUND } else { Form::Bytes }, stop)
    }

    fn compress_as(&self, raw: &[u8], form: Form, stop: &Stop) -> Result<Compressed, Fault> {
        stop.check()?;
        let mut options = Vec::new();
        let mut bytes = raw;
        if self.sound {
            let Form::Sound {
                header,
                channels,
                bits,
                rate,
            } = form
            else {
                return self.compress(raw, stop);
            };
            bytes = raw.get(header..).unwrap_or_default();
            let sign = if bits == 8 { "unsigned" } else { "signed" };
            options = vec![
                "--force-raw-format".to_owned(),
                "--endian=little".to_owned(),
                format!("--sign={sign}"),
                format!("--channels={channels}"),
                format!("--bps={bits}"),
                format!("--sample-rate={rate}"),
            ];
        }
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("raw"), bytes)?;
        let packed = self.run(self.compress, folder.path(), ("raw", "packed.zpaq"), &options, stop)?;
        let back = self.run(self.decompress, folder.path(), ("packed.zpaq", "back"), &options, stop)?;
        checked(packed, &back, bytes)
    }

    fn takes_chunks(&self) -> bool {
        self.chunks
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Regression: an interrupt waited for `brotli -q 11` on megabytes.
    #[test]
    fn a_program_ends_with_the_work() {
        let (stop, begun) = (Stop::new(), Instant::now());
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                stop.set();
            });
            let ended = end_of(Command::new("sleep").arg("60"), &stop);
            assert!(ended.is_err(), "{ended:?}");
        });
        assert!(begun.elapsed() < Duration::from_secs(30));
        let failed = end_of(Command::new("sh").args(["-c", "exit 3"]), &Stop::new()).unwrap();
        assert_eq!(failed.code(), Some(3));
    }
}
