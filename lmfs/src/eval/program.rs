//! Compressors that are measured where they are installed.

use std::fs;
use std::process::{Command, Stdio};

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
        folder: &std::path::Path,
        from: &str,
        to: &str,
        raw: &[String],
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
        let done = command.current_dir(folder).stdin(Stdio::null()).output()?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            return Err(format!("{} ended with {}: {}", self.program, done.status, said.trim()).into());
        }
        Ok(fs::read(folder.join(to))?)
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
        let packed = self.run(self.compress, folder.path(), "raw", "packed.zpaq", &options)?;
        let back = self.run(self.decompress, folder.path(), "packed.zpaq", "back", &options)?;
        checked(packed, &back, bytes)
    }

    fn takes_chunks(&self) -> bool {
        self.chunks
    }
}
