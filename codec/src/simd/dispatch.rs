//! Which vectors the hot loops are compiled for: the widest that this CPU has. All give the same bits.

#[cfg(target_arch = "aarch64")]
use super::neon::Neon;
use super::whole::Whole;
use super::{Plain, Task};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// Work on whole numbers, written once for all vectors.
pub trait WholeTask {
    /// What it computes.
    type Output;

    /// Does it. Implementations are `#[inline(always)]`, to be compiled with the caller's instructions.
    fn run<S: Whole>(self, s: S) -> Self::Output;
}

/// Vectors that this CPU has.
#[derive(Clone, Copy, Debug)]
pub enum Dispatch {
    /// AVX-512 F, BW, DQ and VL, and BMI 1 and 2.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    /// AVX2, and BMI 1 and 2.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// NEON, for floating point. For whole numbers the compiler's own is as good.
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    /// Whatever the compiler makes of plain code.
    Plain,
}

impl Dispatch {
    /// The widest.
    #[inline]
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("bmi1") && std::arch::is_x86_feature_detected!("bmi2") {
            if let Some(s) = Avx512::detect() {
                return Dispatch::Avx512(s);
            }
            if let Some(s) = Avx2::detect() {
                return Dispatch::Avx2(s);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(s) = Neon::detect() {
            return Dispatch::Neon(s);
        }
        Dispatch::Plain
    }

    /// All of them, the widest first.
    #[cfg(test)]
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::detect()];
        #[cfg(target_arch = "x86_64")]
        if let Dispatch::Avx512(_) = Self::detect() {
            all.extend(Avx2::detect().map(Dispatch::Avx2));
        }
        if !matches!(Self::detect(), Dispatch::Plain) {
            all.push(Dispatch::Plain);
        }
        all
    }

    /// Does a task with them.
    #[inline]
    pub fn run<T: Task>(self, task: T) -> T::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Dispatch::Avx512(s) => s.run(task),
            #[cfg(target_arch = "x86_64")]
            Dispatch::Avx2(s) => s.run(task),
            #[cfg(target_arch = "aarch64")]
            Dispatch::Neon(s) => s.run(task),
            Dispatch::Plain => task.run(Plain),
        }
    }

    /// Does a task on whole numbers with them.
    #[inline(always)]
    pub fn run_whole<T: WholeTask>(self, task: T) -> T::Output {
        match self {
            // SAFETY: `detect` and `all` are the only places that make these, where the CPU has all the features.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code, reason = "the same code, compiled for more instructions")]
            Dispatch::Avx512(s) => unsafe { avx512(s, task) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code, reason = "the same code, compiled for more instructions")]
            Dispatch::Avx2(s) => unsafe { avx2(s, task) },
            #[cfg(target_arch = "aarch64")]
            Dispatch::Neon(_) => task.run(Plain),
            Dispatch::Plain => task.run(Plain),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2")]
fn avx512<T: WholeTask>(s: Avx512, task: T) -> T::Output {
    task.run(s)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn avx2<T: WholeTask>(s: Avx2, task: T) -> T::Output {
    task.run(s)
}
