//! Which vectors the predictor's loops are compiled for: the widest that this CPU has. All give the same bits.

use crate::simd::Plain;
use crate::simd::whole::Whole;
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2::Avx2, avx512::Avx512};

/// Work written once for all vectors.
pub(super) trait Task {
    /// What it computes.
    type Output;

    /// Does it. Implementations are `#[inline(always)]`, to be compiled with the caller's instructions.
    fn run<S: Whole>(self, s: S) -> Self::Output;
}

/// Vectors that this CPU has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Vectors {
    /// AVX-512 F, BW, DQ and VL, and BMI 1 and 2.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    /// AVX2, and BMI 1 and 2.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// Whatever the compiler makes of plain code.
    Plain,
}

impl Vectors {
    /// The widest.
    pub(super) fn detect() -> Self {
        Self::all().into_iter().next().unwrap_or(Vectors::Plain)
    }

    /// All of them, the widest first.
    pub(super) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("bmi1") && std::arch::is_x86_feature_detected!("bmi2") {
            all.extend(Avx512::detect().map(Vectors::Avx512));
            all.extend(Avx2::detect().map(Vectors::Avx2));
        }
        all.push(Vectors::Plain);
        all
    }

    /// Does a task with them.
    #[inline(always)]
    pub(super) fn run<T: Task>(self, task: T) -> T::Output {
        match self {
            // SAFETY: `all` is the only place that makes these, where the CPU has all the features.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code, reason = "the same code, compiled for more instructions")]
            Vectors::Avx512(s) => unsafe { avx512(s, task) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code, reason = "the same code, compiled for more instructions")]
            Vectors::Avx2(s) => unsafe { avx2(s, task) },
            Vectors::Plain => task.run(Plain),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2")]
fn avx512<T: Task>(s: Avx512, task: T) -> T::Output {
    task.run(s)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn avx2<T: Task>(s: Avx2, task: T) -> T::Output {
    task.run(s)
}
