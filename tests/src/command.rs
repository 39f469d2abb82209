//! Programs run to their end, under a deadline, with their output kept.

use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::until::within;

/// Far above what any command of the tests needs, on a busy machine too: reaching it means that something hangs.
const DEADLINE: Duration = Duration::from_secs(300);

/// What a program left behind: how it ended and what it said.
#[derive(Debug)]
pub struct Finished {
    command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
}

impl Finished {
    /// The output of a command that has to succeed.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "should have succeeded: {self}");
        self
    }

    /// Asserts that the command refused: with an exit code (not by a signal), and with a message that says what is
    /// wrong, which is to say that contains all of `phrases` (compared without case).
    #[track_caller]
    pub fn refused(self, phrases: &[&str]) -> Self {
        assert!(
            self.status.code().is_some_and(|code| code != 0),
            "should have been refused: {self}"
        );
        let message = self.stderr.to_lowercase();
        for phrase in phrases {
            assert!(
                message.contains(&phrase.to_lowercase()),
                "the message does not say {phrase:?}: {self}"
            );
        }
        self
    }

    /// Standard output as one JSON object.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value @ serde_json::Value::Object(_)) => value,
            Ok(_) => panic!("--json has to print one object: {self}"),
            Err(error) => panic!("not JSON ({error}): {self}"),
        }
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` ended with {}\n--- stdout\n{}--- stderr\n{}",
            self.command, self.status, self.stdout, self.stderr
        )
    }
}

/// Where the program under test lies: `LMFS_BIN`, or beside the test's own build (`target/PROFILE/lmfs`).
#[track_caller]
pub fn lmfs_path() -> PathBuf {
    let path = std::env::var_os("LMFS_BIN").map_or_else(
        || {
            let own = std::env::current_exe().expect("own path");
            let profile = own
                .ancestors()
                .find(|folder| folder.join("deps").is_dir() && folder.join("build").is_dir());
            profile.expect("a test runs from a cargo target folder").join("lmfs")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --release` first, or set LMFS_BIN",
        path.display()
    );
    path
}

/// `lmfs ARGS...`, run to its end; it must not have panicked.
#[track_caller]
pub fn lmfs<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Finished {
    let mut command = Command::new(lmfs_path());
    command.args(args);
    run(&mut command)
}

/// Runs a program to its end and keeps its output. A panic of `lmfs` fails the test, wherever it shows.
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    run_within(command, DEADLINE)
}

/// As [`run`], with a deadline of its own.
#[track_caller]
pub fn run_within(command: &mut Command, deadline: Duration) -> Finished {
    // Files, not pipes: a grandchild that keeps a pipe open (a daemon) must not keep the test waiting for its end.
    let (mut out, mut err) = (
        tempfile::tempfile().expect("stdout file"),
        tempfile::tempfile().expect("stderr file"),
    );
    let shown = shown(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out.try_clone().expect("stdout"))
        .stderr(err.try_clone().expect("stderr"))
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start `{shown}`: {error}"));
    let mut status = None;
    within(deadline, || {
        status = child.try_wait().expect("wait");
        status.is_some()
    });
    let Some(status) = status else {
        let _ = child.kill();
        let _ = child.wait();
        panic!(
            "`{shown}` still ran after {deadline:?}\n--- stdout\n{}--- stderr\n{}",
            text(&mut out),
            text(&mut err)
        );
    };
    let finished = Finished {
        command: shown,
        status,
        stdout: text(&mut out),
        stderr: text(&mut err),
    };
    assert_calm(&finished.stderr, &finished);
    finished
}

/// Fails the test when `log` tells of a panic.
#[track_caller]
pub(crate) fn assert_calm(log: &str, context: &dyn fmt::Display) {
    assert!(!log.contains("panicked"), "a panic was reported: {context}");
}

fn text(file: &mut std::fs::File) -> String {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .expect("output");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn shown(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(name).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
