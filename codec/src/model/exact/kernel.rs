//! The engine's inner loops, one table of functions per instruction set.
//!
//! Every table computes the same bits, and all are one source ([`product`], [`attention`], [`rows`]) compiled once per
//! instruction set: sets differ in the few operations of [`Simd`](crate::simd::Simd) and [`Dot`](dot::Dot), whose
//! results do not.

mod attention;
mod dot;
mod operands;
mod product;
mod rows;
mod scalar;
mod table;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

use std::ffi::OsString;

use super::math::{self, Rotation};
use super::matrix::Matrix;
pub use dot::Room;
pub use operands::{Context, ContextMut, GROUP, HEADS, Row, Scratch, Span, Then};
pub use table::Kernel;

/// The environment variable `LMFS_KERNEL` names a table that this machine cannot run.
#[derive(Debug, thiserror::Error)]
#[error("LMFS_KERNEL={}: this machine has no such kernel", .0.display())]
pub struct NoSuchKernel(OsString);

/// Makes a [`Kernel`] whose functions are compiled with `$features`. `$dots` is a proof that the CPU has them; the
/// functions make their own because a function pointer cannot carry one: see the SAFETY comment.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! table {
    ($name:literal, $dots:ident, $features:literal) => {
        table!(@ $name, $dots, $features,
            product(q: &[u8], rows: &[Row], w: &Matrix, out: &mut [f32], stride: usize, then: Then, room: &mut Room)
                = |s| product::product(s, q, rows, w, out, stride, then, room);
            norm_quantize(x: &[f32], epsilon: f32, q: &mut [u8]) -> Row
                = |s| rows::norm_quantize(s, x, epsilon, q);
            quantize(x: &[f32], q: &mut [u8]) -> Row
                = |s| rows::quantize(s, x, q);
            swiglu_quantize(x: &[f32], between: &mut [f32], q: &mut [u8]) -> Row
                = |s| rows::swiglu_quantize(s, x, between, q);
            rotation(frequencies: &[u64; 32], position: u64, out: &mut Rotation)
                = |s| math::rotation(s, frequencies, position, out);
            remember(to: &mut ContextMut<'_>, slot: usize, key: &mut [f32; 64], value: &[f32; 64], r: &Rotation)
                = |s| attention::remember(s, to, slot, key, value, r);
            attend(q: &mut [f32], r: &Rotation, context: &Context<'_>, span: Span, scratch: &mut Scratch,
                out: &mut [f32])
                = |s| attention::attend(s, q, r, context, span, scratch, out);
        )
    };
    (@ $name:literal, $dots:ident, $features:literal,
        $($field:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)? = |$d:ident| $body:expr;)*) => {
        Kernel {
            name: $name,
            $($field: {
                #[allow(unsafe_code, clippy::too_many_arguments, reason = "calls code compiled for detected features")]
                fn call($($arg: $ty),*) $(-> $ret)? {
                    #[target_feature(enable = $features)]
                    fn compiled($d: $dots, $($arg: $ty),*) $(-> $ret)? {
                        $body
                    }
                    // SAFETY: the table is private and `Kernel::all` lists it only where the CPU has the features.
                    unsafe { compiled($dots::assume(), $($arg),*) }
                }
                call
            },)*
        }
    };
}

/// The tables of this architecture, those that this CPU can run.
#[cfg(target_arch = "x86_64")]
fn fast() -> [Option<&'static Kernel>; 3] {
    use crate::simd::avx2::{Avx2, AvxVnni};
    use crate::simd::avx512::Avx512Vnni;

    static AVX512: Kernel = table!(
        "avx512vnni",
        Avx512Vnni,
        "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"
    );
    static AVX_VNNI: Kernel = table!("avxvnni", AvxVnni, "avx2,avxvnni");
    static AVX2: Kernel = table!("avx2", Avx2, "avx2");
    [
        Avx512Vnni::detect().map(|_| &AVX512),
        AvxVnni::detect().map(|_| &AVX_VNNI),
        Avx2::detect().map(|_| &AVX2),
    ]
}

/// The tables of this architecture, those that this CPU can run.
#[cfg(target_arch = "aarch64")]
fn fast() -> [Option<&'static Kernel>; 1] {
    use crate::simd::neon::NeonDot;

    static NEON: Kernel = table!("neon", NeonDot, "neon,dotprod");
    [NeonDot::detect().map(|_| &NEON)]
}

/// No tables of this architecture.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn fast() -> [Option<&'static Kernel>; 0] {
    []
}

impl Kernel {
    /// The tables this machine can run, the fastest first; the last is always `scalar`.
    pub fn all() -> impl Iterator<Item = &'static Kernel> {
        fast().into_iter().flatten().chain([&scalar::KERNEL])
    }

    /// The fastest table, or the one that the environment variable `LMFS_KERNEL` names (for tests and reports).
    ///
    /// # Errors
    /// [`NoSuchKernel`].
    pub fn choose() -> Result<&'static Kernel, NoSuchKernel> {
        let wanted = std::env::var_os("LMFS_KERNEL").filter(|name| !name.is_empty());
        match wanted {
            None => Ok(Self::all().next().unwrap_or(&scalar::KERNEL)),
            Some(wanted) => Self::all().find(|k| wanted == k.name).ok_or(NoSuchKernel(wanted)),
        }
    }
}

/// Operations a second (a multiply-add is two) of exact dot products of bytes on this CPU, by its best instruction for
/// them: registers only, one thread, the best of some milliseconds. Zero where that instruction is not known.
pub fn int8_peak() -> f64 {
    #[cfg(target_arch = "x86_64")]
    if let Some(run) = avx512::peak().or_else(avx2::peak) {
        let mut best = f64::MAX;
        let mut operations = 0;
        for _ in 0..20 {
            let start = std::time::Instant::now();
            operations = run(20_000);
            best = best.min(start.elapsed().as_secs_f64());
        }
        return operations as f64 / best;
    }
    0.0
}
