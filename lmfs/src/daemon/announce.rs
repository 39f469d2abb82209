//! Telling the one who started a mount how it went.
//!
//! `lmfs mount` starts itself again as the daemon, detached, with a pipe as its standard output, and waits. The
//! daemon writes lines of JSON there: warnings, then `ready` or `failed`. If the pipe closes without either, the
//! daemon died. Starting a fresh process instead of forking means that no thread and no lock is ever copied.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::explain::explain;

/// A log that reached this length, in bytes, is set aside when the next daemon starts.
const MAX_LOG: u64 = 1 << 20;

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
pub fn start_background(args: Vec<OsString>, log: &Path) -> anyhow::Result<Vec<String>> {
    let stderr = open_log(log).with_context(|| format!("cannot open the log {}", log.display()))?;
    let program = std::env::current_exe()
        .ok()
        .filter(|path| path.exists())
        .unwrap_or_else(|| "/proc/self/exe".into());
    let mut child = Command::new(&program)
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
            end: Some(Ok(())),
        } => Ok(warnings),
        Heard {
            end: Some(Err(why)), ..
        } => {
            let _ = child.wait();
            bail!(why)
        }
        Heard { end: None, .. } => {
            let status = child.wait()?;
            bail!(
                "the daemon ended ({status}) before it was ready; its log is {}",
                log.display()
            )
        }
    }
}

/// What came through the pipe.
#[derive(Debug, Default)]
struct Heard {
    warnings: Vec<String>,
    end: Option<Result<(), String>>,
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
            Ok(News::Ready) => heard.end = Some(Ok(())),
            Ok(News::Failed(why)) => heard.end = Some(Err(why)),
            // Something printed to standard output that should not have.
            Err(_) => heard.warnings.push(line),
        }
        if heard.end.is_some() {
            break;
        }
    }
    Ok(heard)
}

/// Makes this process a daemon: a session of its own, so that no terminal's end or Ctrl-C reaches it, and no
/// working directory that would keep another filesystem busy.
///
/// # Errors
/// What the system says.
pub fn detach() -> io::Result<()> {
    rustix::process::setsid()?;
    std::env::set_current_dir("/")
}

fn open_log(path: &Path) -> io::Result<File> {
    let open = || {
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
    };
    let log = open()?;
    if log.metadata()?.len() < MAX_LOG {
        return Ok(log);
    }
    std::fs::rename(path, path.with_extension("log.old"))?;
    open()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_daemon_is_heard_until_it_is_ready() {
        let heard = hear(&b"{\"warning\":\"no model\"}\nstray\n\"ready\"\n\"ready\"\n"[..]).unwrap();
        assert_eq!(heard.warnings, ["no model", "stray"]);
        assert_eq!(heard.end, Some(Ok(())));
        let heard = hear(&b"{\"failed\":\"busy\"}\n"[..]).unwrap();
        assert_eq!(heard.end, Some(Err("busy".into())));
        assert_eq!(hear(&b""[..]).unwrap().end, None);
    }

    #[test]
    fn a_long_log_is_set_aside_and_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("lmfs.log");
        writeln!(open_log(&log).unwrap(), "one").unwrap();
        writeln!(open_log(&log).unwrap(), "two").unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "one\ntwo\n");
        File::options()
            .write(true)
            .open(&log)
            .unwrap()
            .set_len(MAX_LOG)
            .unwrap();
        open_log(&log).unwrap();
        assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
        assert!(dir.path().join("lmfs.log.old").exists());

        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
        assert!(open_log(&link).is_err());
    }
}
