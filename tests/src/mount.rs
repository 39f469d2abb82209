//! A store held mounted by a daemon that the test can stop, kill and start again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::command::assert_calm;
use crate::{Finished, lmfs, lmfs_path, run, run_within, until};

/// A running `lmfs mount -f`. Dropping it detaches the mount and kills the daemon.
pub struct Mount {
    daemon: Child,
    store: PathBuf,
    point: PathBuf,
    log: PathBuf,
}

impl Mount {
    #[track_caller]
    pub(crate) fn start(store: &Path, point: &Path, log: &Path, args: &[&str]) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("daemon log");
        let mut command = Command::new(lmfs_path());
        command.args(["mount", "-f"]).arg(store).arg(point).args(args);
        if !args.iter().any(|arg| arg.starts_with("--pack")) {
            command.arg("--pack=off");
        }
        let daemon = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("daemon log"))
            .stderr(output)
            .spawn()
            .expect("start lmfs mount");
        let mut mount = Self {
            daemon,
            store: store.into(),
            point: point.into(),
            log: log.into(),
        };
        until("the mount is there", || {
            if let Some(status) = mount.daemon.try_wait().expect("wait") {
                panic!("lmfs mount ended with {status} before it was ready");
            }
            answers(point)
        });
        mount
    }

    /// A path in the mounted tree.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.point.join(name)
    }

    /// The daemon's process id.
    pub fn pid(&self) -> u32 {
        self.daemon.id()
    }

    /// What the daemons of this scratch folder have said so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        format!("--- log of the daemon\n{}", String::from_utf8_lossy(&bytes))
    }

    /// `lmfs status MOUNTPOINT --json`
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        lmfs(["status".as_ref(), self.point.as_os_str(), "--json".as_ref()])
            .ok()
            .json()
    }

    /// A number of [`Mount::status`], by its JSON pointer (`/cache/misses`).
    #[track_caller]
    pub fn count(&self, pointer: &str) -> u64 {
        let status = self.status();
        let value = status.pointer(pointer).and_then(serde_json::Value::as_u64);
        value.unwrap_or_else(|| panic!("status has no number {pointer}: {status:#}"))
    }

    /// `lmfs pack MOUNTPOINT ARGS...`, which has to succeed. It has an hour. Packing has the lowest priority, so
    /// beside other work a few hundred kilobytes take longer than any other command may.
    #[track_caller]
    pub fn pack(&self, args: &[&str]) -> Finished {
        let mut pack = Command::new(lmfs_path());
        pack.arg("pack").arg(&self.point).args(args);
        run_within(&mut pack, Duration::from_secs(3600)).ok()
    }

    /// Drops the kernel's pages of a file, so that the next read reaches the daemon.
    #[track_caller]
    pub fn forget_pages(&self, name: impl AsRef<Path>) {
        let file = File::open(self.path(name)).expect("open");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("fadvise");
    }

    /// `lmfs umount`: asserts that it succeeds, that nothing is mounted and the daemon is gone when it returns, and
    /// that the daemon never panicked.
    #[track_caller]
    pub fn umount(mut self) {
        let panics = self.status().get("panics").and_then(serde_json::Value::as_u64);
        assert_eq!(panics, Some(0), "the guard caught panics\n{}", self.log());
        lmfs(["umount".as_ref(), self.point.as_os_str()]).ok();
        assert!(
            !is_mounted(&self.point),
            "still mounted after lmfs umount\n{}",
            self.log()
        );
        // The daemon is a child of this process: gone means a zombie that is only waited for.
        let status = self.daemon.try_wait().expect("wait");
        let status = status.unwrap_or_else(|| panic!("the daemon still runs after lmfs umount\n{}", self.log()));
        assert!(status.success(), "the daemon ended with {status}\n{}", self.log());
        assert_calm(&self.log(), &self.log());
    }

    /// `kill -9` of the daemon; the dead mount is detached.
    #[track_caller]
    pub fn kill(mut self) {
        self.crash();
        detach(&self.point);
    }

    /// `kill -9` of the daemon; the dead mount stays.
    #[track_caller]
    pub fn crash(&mut self) {
        self.daemon.kill().expect("kill");
        self.daemon.wait().expect("wait");
        assert_calm(&self.log(), &self.log());
    }

    /// Sends a signal to the daemon.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.daemon);
        kill_process(pid, signal).expect("signal");
    }

    /// Waits for the daemon to end by itself (after a signal), and returns whether it called that a success.
    #[track_caller]
    pub fn wait(mut self) -> bool {
        let mut ended = None;
        until("the daemon ends", || {
            ended = self.daemon.try_wait().expect("wait");
            ended.is_some()
        });
        assert_calm(&self.log(), &self.log());
        ended.is_some_and(|status| status.success())
    }

    /// Where the mounted store lies.
    pub fn store(&self) -> &Path {
        &self.store
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if matches!(self.daemon.try_wait(), Ok(None)) {
            let _ = self.daemon.kill();
            let _ = self.daemon.wait();
        }
        if is_mounted(&self.point) {
            detach(&self.point);
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Whether a daemon serves a mount at `point`: it is asked, so a dead mount does not.
fn answers(point: &Path) -> bool {
    // FUSE_SUPER_MAGIC, statfs(2).
    rustix::fs::statfs(point).is_ok_and(|stat| stat.f_type == 0x6573_5546)
}

/// Whether something is mounted at `point`: asked of the kernel's table, which a dead or slow daemon cannot block.
fn is_mounted(point: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let point = point.to_str().expect("scratch paths are ASCII");
    table.lines().any(|line| line.split(' ').nth(4) == Some(point))
}

fn detach(point: &Path) {
    let _ = run(Command::new("fusermount3").args(["-u", "-z"]).arg(point));
}
