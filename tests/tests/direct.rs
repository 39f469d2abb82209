//! Direct and buffered access to one file at once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(unsafe_code, reason = "asynchronous IO has no safe interface")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use lmfs_tests::{Scratch, SetOnDrop, rounds};

const LEN: usize = 640 << 10;

/// Bytes at an address that direct IO takes.
struct Aligned(*mut u8);

impl Aligned {
    const LAYOUT: Layout = match Layout::from_size_align(LEN, 4096) {
        Ok(layout) => layout,
        Err(_) => panic!("the size is not zero"),
    };

    fn new() -> Aligned {
        // SAFETY: the layout's size is not zero.
        let bytes = unsafe { alloc_zeroed(Aligned::LAYOUT) };
        assert!(!bytes.is_null());
        Aligned(bytes)
    }

    fn fill(&mut self, byte: u8) {
        // SAFETY: the allocation has LEN bytes, and nobody else refers to them: no write of them is under way.
        unsafe { std::slice::from_raw_parts_mut(self.0, LEN) }.fill(byte);
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.0, Aligned::LAYOUT) }
    }
}

/// A context of asynchronous IO (man 2 io_setup).
struct Aio(libc::c_ulong);

impl Aio {
    fn new() -> Aio {
        let mut context: libc::c_ulong = 0;
        // SAFETY: the kernel writes one context to the place given.
        let made = unsafe { libc::syscall(libc::SYS_io_setup, 1, &raw mut context) };
        assert_eq!(made, 0, "io_setup: {}", std::io::Error::last_os_error());
        Aio(context)
    }

    /// Writes `bytes` at the start of `file`, and waits for the end of it.
    fn write(&self, file: &File, bytes: &Aligned) {
        // SAFETY: all zeros is a valid iocb.
        let mut request: libc::iocb = unsafe { std::mem::zeroed() };
        request.aio_lio_opcode = 1; // IOCB_CMD_PWRITE
        request.aio_fildes = file.as_raw_fd().cast_unsigned();
        request.aio_buf = bytes.0 as u64;
        request.aio_nbytes = LEN as u64;
        let mut requests = [&raw mut request];
        // SAFETY: the request, and the bytes it names, live until the write has ended, which is waited for below.
        let sent = unsafe { libc::syscall(libc::SYS_io_submit, self.0, 1, requests.as_mut_ptr()) };
        assert_eq!(sent, 1, "io_submit: {}", std::io::Error::last_os_error());
        // An io_event: data, object, result, second result.
        let mut event = [0i64; 4];
        let none = std::ptr::null::<libc::timespec>();
        // SAFETY: the kernel writes one event to the place given, which has room for it.
        let got = unsafe { libc::syscall(libc::SYS_io_getevents, self.0, 1, 1, event.as_mut_ptr(), none) };
        assert_eq!((got, event[2]), (1, LEN as i64));
    }
}

impl Drop for Aio {
    fn drop(&mut self) {
        // SAFETY: the context was made by io_setup and is destroyed once.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.0) };
    }
}

/// Regression: an asynchronous direct write ended without the kernel dropping the pages that buffered readers had
/// filled meanwhile; the file was opened anew, and still showed the old bytes (xfstests generic/451).
#[test]
fn buffered_readers_see_asynchronous_direct_overwrites() {
    let scratch = Scratch::with_store(&["--model=none"]);
    let mount = scratch.mount(&[]);
    let path = mount.path("file");
    fs::write(&path, vec![1; LEN]).unwrap();
    let direct = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(&path)
        .unwrap();
    let (aio, mut bytes, stop) = (Aio::new(), Aligned::new(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _end = SetOnDrop(&stop);
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(fs::read(&path).unwrap().len(), LEN);
                }
            });
        }
        let stale = (0..rounds(200, 2000)).find(|round| {
            let byte = if round % 2 == 0 { 0x55 } else { 0xaa };
            bytes.fill(byte);
            aio.write(&direct, &bytes);
            fs::read(&path).unwrap().iter().any(|found| *found != byte)
        });
        assert_eq!(stale, None, "old bytes were read after this overwrite");
    });
    drop(direct);
    mount.umount();
}
