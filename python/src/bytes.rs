//! Bytes of Python that are filled here.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// From this length on the allocator takes fresh pages from the kernel, which are zero.
const LARGE: usize = 1 << 20;

/// `len` bytes that `fill` has written.
///
/// [`PyBytes::new_with`] zeroes them first. That takes a tenth of the time in which zstd fills them, and they are no
/// longer in the processor's cache when it does. `bytes(len)` of Python takes pages that are zero already.
pub fn filled<'py>(
    py: Python<'py>,
    len: usize,
    fill: impl FnOnce(&mut [u8]) -> PyResult<()>,
) -> PyResult<Bound<'py, PyBytes>> {
    if len < LARGE {
        return PyBytes::new_with(py, len, fill);
    }
    let bytes = py.get_type::<PyBytes>().call1((len,))?.cast_into::<PyBytes>()?;
    // SAFETY: the object was just made and nobody else has seen it: no other reference to its bytes exists or is made
    // before this one is gone. The pointer comes from CPython and not from a shared slice, which could not be written
    // through. Only lengths 0 and 1 are shared objects. CPython lets whoever makes bytes write them until then, all of
    // them are initialized, and their hash has not been computed. A `bytes` that exists has a length that fits.
    #[allow(unsafe_code, reason = "PyO3 has no other way to bytes that are not zeroed twice")]
    let out = unsafe {
        let start = pyo3::ffi::PyBytes_AsString(bytes.as_ptr());
        let held = pyo3::ffi::PyBytes_Size(bytes.as_ptr());
        std::slice::from_raw_parts_mut(start.cast::<u8>(), held.unsigned_abs())
    };
    fill(out)?;
    Ok(bytes)
}
