//! Memory for weights and for the rings of a state: megabytes that every token walks through, so it asks for huge
//! pages.

/// `n` zeros, in huge pages if they are worth it and the system gives any: page walks cost attention an eighth of its
/// time and more.
pub fn zeros<T: Copy>(n: usize, zero: T) -> Vec<T> {
    let mut all = Vec::with_capacity(n);
    // Before anything is written: pages that are there already would stay small.
    advise(&mut all);
    all.resize(n, zero);
    all
}

#[cfg(all(target_os = "linux", not(miri)))]
fn advise<T>(all: &mut Vec<T>) {
    const HUGE: usize = 2 << 20;
    let start = all.as_mut_ptr().cast::<u8>();
    let skip = start.align_offset(HUGE);
    let len = (all.capacity() * size_of::<T>()).saturating_sub(skip) / HUGE * HUGE;
    if len > 0 {
        #[allow(unsafe_code, reason = "madvise takes a pointer")]
        // SAFETY: whole pages within the allocation; this advice changes no byte of them.
        let advised = unsafe {
            let advice = rustix::mm::Advice::LinuxHugepage;
            rustix::mm::madvise(start.add(skip).cast(), len, advice)
        };
        if let Err(reason) = advised {
            tracing::debug!("no huge pages: {reason}");
        }
    }
}

#[cfg(any(not(target_os = "linux"), miri))]
fn advise<T>(_: &mut Vec<T>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_of_any_number() {
        for n in [0, 1, 5000, 3 << 20] {
            let all = zeros(n, 0_u16);
            assert_eq!(all.len(), n);
            assert!(all.iter().all(|&v| v == 0));
        }
    }
}
