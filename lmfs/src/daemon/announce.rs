//! Telling the one who started a mount how it went.
//!
//! `lmfs mount` starts itself again as the daemon, detached, with a pipe as its standard output, and waits. The
//! daemon writes lines of JSON there: warnings, then `ready` or `failed`. If the pipe closes without either, the
//! daemon died. Starting a fresh process instead of forking means that no thread and no lock is ever copied.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdout, Command, Stdio};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::log::Log;
use crate::error_chain::explain;
use crate::process_setup::keep_inherited_descriptors;

/// What systemd tells the process that it started, and libfuse its helper. A daemon in the background is neither.
const OF_SERVICE_MANAGERS: [&str; 8] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "JOURNAL_STREAM",
    "_FUSE_COMMFD",
];

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum News {
    Warning(String),
    Ready,
    Failed(String),
}

/// Who waits for the mount.
#[derive(Debug)]
pub enum Announcer {
    /// Nobody beside systemd: the daemon is what the user or the service manager started, and speaks for itself.
    Foreground,
    /// The `lmfs mount` that started this process, behind standard output.
    Parent,
}

impl Announcer {
    /// Something the user should know though the mount goes on.
    pub fn warning(&self, text: &str) {
        tracing::warn!("{text}");
        self.tell(&News::Warning(text.to_owned()));
    }

    /// The mount is up.
    pub fn ready(&self) {
        self.tell(&News::Ready);
        if let Announcer::Parent = self {
            // The pipe is of no more use, and a daemon must not hold its parent's end of anything.
            let null = OpenOptions::new().write(true).open("/dev/null");
            if let Err(error) = null.and_then(|null| Ok(rustix::stdio::dup2_stdout(null)?)) {
                tracing::warn!("cannot let go of standard output: {error}");
            }
        }
    }

    /// There will be no mount.
    pub fn failed(&self, error: &anyhow::Error) {
        let why = explain(error);
        tracing::debug!("cannot mount: {why}");
        self.tell(&News::Failed(why));
    }

    fn tell(&self, news: &News) {
        if let Announcer::Parent = self
            && let Ok(mut line) = serde_json::to_string(news)
        {
            line.push('\n');
            // A parent that was interrupted does not hear it; the log has it all.
            let _ = io::stdout().write_all(line.as_bytes());
        }
    }
}

/// Starts this program with `args` as a daemon that logs to `log`, waits until it is ready and gives its warnings.
///
/// # Errors
/// What the daemon reports, or that it died.
pub fn start_background(args: Vec<OsString>, log: &Log) -> anyhow::Result<Vec<String>> {
    let path = log.place();
    let mut own = Vec::new();
    let stderr = match log.open() {
        Ok(file) => Stdio::from(file),
        // A store that can only be read is read without a log.
        Err(e) if matches!(e.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
            own.push(format!(
                "cannot write the log {path} ({e}): the daemon logs nowhere; with -f it logs to standard error"
            ));
            Stdio::null()
        }
        Err(e) => return Err(e).with_context(|| format!("cannot open the log {path}")),
    };
    let program = std::env::current_exe()
        .ok()
        .filter(|path| path.exists())
        .unwrap_or_else(|| "/proc/self/exe".into());
    keep_inherited_descriptors();
    let mut command = Command::new(&program);
    for variable in OF_SERVICE_MANAGERS {
        command.env_remove(variable);
    }
    let mut child = command
        .arg0("lmfs")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .with_context(|| format!("cannot start the daemon {}", program.display()))?;
    let Some(pipe) = child.stdout.take() else {
        bail!("cannot start the daemon: it has no pipe");
    };
    match listen(pipe)? {
        Heard {
            warnings,
            end: Some(End::Ready),
        } => {
            own.extend(warnings);
            Ok(own)
        }
        Heard {
            end: Some(End::Failed(why)),
            ..
        } => {
            let _ = child.wait();
            bail!(why)
        }
        Heard { end: None, .. } => {
            let status = child.wait()?;
            bail!("the daemon ended ({status}) before it was ready; its log is {path}")
        }
    }
}

/// What came through the pipe.
#[derive(Debug, Default)]
struct Heard {
    warnings: Vec<String>,
    end: Option<End>,
}

/// How the start of a daemon ended, by what it says.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Ready,
    Failed(String),
}

fn listen(pipe: ChildStdout) -> anyhow::Result<Heard> {
    hear(BufReader::new(pipe))
}

fn hear(pipe: impl BufRead) -> anyhow::Result<Heard> {
    let mut heard = Heard::default();
    for line in pipe.lines() {
        let line = line.context("cannot hear the daemon")?;
        match serde_json::from_str(&line) {
            Ok(News::Warning(text)) => heard.warnings.push(text),
            Ok(News::Ready) => heard.end = Some(End::Ready),
            Ok(News::Failed(why)) => heard.end = Some(End::Failed(why)),
            // Something printed to standard output that should not have.
            Err(_) => heard.warnings.push(line),
        }
        if heard.end.is_some() {
            break;
        }
    }
    Ok(heard)
}

/// Makes this process a daemon: a session of its own, so that no terminal's end or Ctrl-C reaches it.
///
/// # Errors
/// What the system says.
pub fn detach() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_daemon_is_heard_until_it_is_ready() {
        let heard = hear(&b"{\"warning\":\"no model\"}\nstray\n\"ready\"\n\"ready\"\n"[..]).unwrap();
        assert_eq!(heard.warnings, ["no model", "stray"]);
        assert_eq!(heard.end, Some(End::Ready));
        let heard = hear(&b"{\"failed\":\"busy\"}\n"[..]).unwrap();
        assert_eq!(heard.end, Some(End::Failed("busy".into())));
        assert_eq!(hear(&b""[..]).unwrap().end, None);
    }
}
