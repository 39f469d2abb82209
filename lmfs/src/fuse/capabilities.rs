//! What the kernel and the filesystem agree on when they meet.

use fuser::{InitFlags, KernelConfig};

/// Largest write in one request.
const MAX_WRITE: u32 = 1 << 20;

/// What is asked of the kernel, each if it can.
///
/// Not `FUSE_ATOMIC_O_TRUNC`: with it, an open for reading with `O_TRUNC` empties a running program's file before the
/// kernel refuses it (ETXTBSY). Not `FUSE_ASYNC_DIO`: after an asynchronous direct write the kernel does not drop the
/// pages that a buffered reader filled meanwhile, and with `FOPEN_KEEP_CACHE` they would be read for ever; also, it
/// sends direct reads in a way that a killed caller cannot leave.
const WANTED: [InitFlags; 8] = [
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_POSIX_ACL,
    InitFlags::FUSE_DONT_MASK,
    // File handles outlive the kernel's cache: it looks "." and ".." up where it has forgotten an inode.
    InitFlags::FUSE_EXPORT_SUPPORT,
];

/// Asks for all that the filesystem can use; blocks have `block_size` bytes.
pub fn negotiate(config: &mut KernelConfig, block_size: u32) {
    for flag in WANTED {
        if config.add_capabilities(flag).is_err() {
            tracing::debug!(?flag, "the kernel does not know this");
        }
    }
    // A random read must not make the kernel ask for the neighbours: they would have to be decoded. These setters
    // fail beyond the kernel's own limits, which then stay.
    let _ = config.set_max_readahead(block_size.min(128 << 10));
    let _ = config.set_max_write(MAX_WRITE);
    let _ = config.set_max_background(64);
}
