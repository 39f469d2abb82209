//! Descriptors 0, 1 and 2 when the caller closed them (`lmfs ... >&-`).
//!
//! The first files that a program opens get these numbers, and what it prints goes into them. Rust's runtime prevents
//! that with /dev/null, where output vanishes and counts as written. So the numbers are taken before the runtime looks,
//! by descriptors that refuse what the closed ones would: reading for 0, writing for 1. Messages may vanish.

/// The C library calls this before `main`, and so before Rust's runtime looks at the descriptors.
#[used]
#[allow(unsafe_code, reason = "nothing else runs before the runtime")]
// SAFETY: the section holds pointers to functions of this type, and the function needs nothing of the runtime.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = take_closed;

extern "C" fn take_closed() {
    for (number, flags) in [(0, libc::O_WRONLY), (1, libc::O_RDONLY), (2, libc::O_WRONLY)] {
        // SAFETY: both calls take integers and a constant string that ends with a zero.
        #[allow(unsafe_code, reason = "std opens no descriptor with a given number")]
        unsafe {
            if libc::fcntl(number, libc::F_GETFD) == -1 {
                // The lowest free number is this one. Without /dev/null the runtime ends the program.
                libc::open(c"/dev/null".as_ptr(), flags);
            }
        }
    }
}
