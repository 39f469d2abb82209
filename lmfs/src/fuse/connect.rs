//! Mounting: mount(2) for root, the setuid fusermount3 for others. Either gives a connection to the kernel.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use rustix::mount::MountFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{getgid, getuid};

use super::helper::fusermount;

/// How a filesystem is mounted.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Nothing changes.
    pub read_only: bool,
    /// Other users may look in; the kernel checks permissions for them.
    pub allow_other: bool,
    /// root may look in, too.
    pub allow_root: bool,
    /// Options that the kernel carries out itself: `noatime`, `nodev`, `nosuid`, `noexec`, `sync`, `dirsync`, or their
    /// opposites.
    pub kernel: Vec<String>,
    /// What mount(8) and df show as the source: the store's path.
    pub source: OsString,
    /// Event loops; `None` chooses by the number of cores.
    pub threads: Option<usize>,
}

impl Options {
    fn flags(&self) -> MountFlags {
        let mut flags = MountFlags::empty();
        for option in &self.kernel {
            flags |= match option.as_str() {
                "noatime" => MountFlags::NOATIME,
                "nodev" => MountFlags::NODEV,
                "nosuid" => MountFlags::NOSUID,
                "noexec" => MountFlags::NOEXEC,
                "sync" => MountFlags::SYNCHRONOUS,
                "dirsync" => MountFlags::DIRSYNC,
                _ => MountFlags::empty(),
            };
        }
        if self.read_only {
            flags |= MountFlags::RDONLY;
        }
        flags
    }

    fn shared(&self) -> bool {
        self.allow_other || self.allow_root
    }
}

/// Mounts at `mountpoint` and gives the connection on which the kernel will ask.
pub fn connect(mountpoint: &Path, options: &Options) -> io::Result<OwnedFd> {
    match mount_directly(mountpoint, options) {
        Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => by_helper(mountpoint, options),
        result => result,
    }
}

fn mount_directly(mountpoint: &Path, options: &Options) -> io::Result<OwnedFd> {
    let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("cannot open /dev/fuse: {error}"))
    })?;
    let root_mode = rustix::fs::stat(mountpoint)?.st_mode;
    let mut data = format!(
        "fd={},rootmode={root_mode:o},user_id={},group_id={},default_permissions",
        device.as_raw_fd(),
        getuid().as_raw(),
        getgid().as_raw()
    );
    if options.shared() {
        data.push_str(",allow_other");
    }
    let data = CString::new(data)?;
    let source = CString::new(options.source.as_bytes())?;
    rustix::mount::mount(
        source.as_c_str(),
        mountpoint,
        "fuse.lmfs",
        options.flags(),
        data.as_c_str(),
    )?;
    Ok(device)
}

fn by_helper(mountpoint: &Path, options: &Options) -> io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    // The helper inherits its end of the pair; no other process is started meanwhile.
    rustix::io::fcntl_setfd(&theirs, FdFlags::empty())?;
    let missing = || {
        io::Error::new(
            io::ErrorKind::NotFound,
            "fusermount3 was not found; install the package fuse3",
        )
    };
    let helper = fusermount().ok_or_else(missing)?;
    let output = Command::new(&helper)
        .arg("-o")
        .arg(helper_options(options))
        .arg("--")
        .arg(mountpoint)
        .env("_FUSE_COMMFD", theirs.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot run {}: {error}", helper.display())))?;
    drop(theirs);
    if !output.status.success() {
        return Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ));
    }
    receive_descriptor(&ours)
}

/// One list for fusermount3, in which a backslash keeps a comma from ending an option.
fn helper_options(options: &Options) -> OsString {
    let mut list: Vec<u8> = b"default_permissions,subtype=lmfs,fsname=".to_vec();
    for byte in options.source.as_bytes() {
        if matches!(byte, b',' | b'\\') {
            list.push(b'\\');
        }
        list.push(*byte);
    }
    let own = [("ro", options.read_only), ("allow_other", options.shared())];
    let own = own.iter().filter(|(_, on)| *on).map(|(option, _)| *option);
    for option in options.kernel.iter().map(String::as_str).chain(own) {
        list.push(b',');
        list.extend_from_slice(option.as_bytes());
    }
    OsString::from_vec(list)
}

fn receive_descriptor(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut parts = [io::IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor.ok_or_else(|| io::Error::other("fusermount3 sent no connection"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_the_store_path_is_no_option() {
        let options = Options {
            source: "/a,allow_other\\b".into(),
            kernel: vec!["noatime".into()],
            ..Options::default()
        };
        let expected = "default_permissions,subtype=lmfs,fsname=/a\\,allow_other\\\\b,noatime";
        assert_eq!(helper_options(&options), expected);
    }
}
