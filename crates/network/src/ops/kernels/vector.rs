//! The vocabulary of vectorised loops: which instructions to use, lanes, the exponential.

/// Width of the accumulators: one AVX-512 register, two AVX2 registers.
///
/// Fixed, whatever the machine has, so that sums are taken in the same order everywhere.
pub(crate) const LANES: usize = 16;

/// Compiles a function once for each instruction set and picks one when it is called.
///
/// The body must be made of loops that the compiler vectorises by itself, and everything it calls
/// in them `#[inline(always)]`: only inlined code is compiled for the wider instruction set.
macro_rules! vectorized {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?)
        $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }

                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }

                use $crate::ops::kernels::vector::{Instructions, instructions};
                match instructions() {
                    Instructions::Avx512 => {
                        // SAFETY: `instructions` has found every enabled feature on this machine.
                        #[allow(unsafe_code)]
                        return unsafe { avx512($($arg),*) };
                    }
                    Instructions::Avx2 => {
                        // SAFETY: as above.
                        #[allow(unsafe_code)]
                        return unsafe { avx2($($arg),*) };
                    }
                    Instructions::Baseline => {}
                }
            }
            body($($arg),*)
        }
    };
}
pub(crate) use vectorized;

/// The instruction sets that functions are compiled for.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) enum Instructions {
    Avx512,
    Avx2,
    Baseline,
}

/// Returns the widest instruction set this machine has.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn instructions() -> Instructions {
    // The standard library asks the processor once and remembers the answer.
    let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    if !fma {
        Instructions::Baseline
    } else if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
    {
        Instructions::Avx512
    } else {
        Instructions::Avx2
    }
}

/// Adds up the lanes, halving them each time.
#[inline(always)]
pub(crate) fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Sums a function of pairs of elements, lane by lane.
#[inline(always)]
pub(crate) fn sum_pairs(a: &[f32], b: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] = f(a[i], b[i], lanes[i]);
        }
    }
    for (i, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[i] = f(a, b, lanes[i]);
    }
    sum_lanes(lanes)
}

/// Returns the dot product.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_pairs(a, b, |a, b, sum| a.mul_add(b, sum))
}

/// Returns the largest element, or negative infinity of none; ignores NaN.
#[inline(always)]
pub(crate) fn largest(row: &[f32]) -> f32 {
    let pick = |a: f32, b: f32| if a > b { a } else { b };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = pick(chunk[i], lanes[i]);
        }
    }
    rest.iter()
        .chain(&lanes)
        .fold(f32::NEG_INFINITY, |best, &x| pick(x, best))
}

/// Returns e^x to about one unit in the last place, in straight-line code.
///
/// Arguments are held within -87 and 88, where the result is a normal number; NaN stays NaN, so
/// that a diverged run is seen.
///
/// # Source
/// Range reduction and coefficients of `expf` in Moshier's Cephes library.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // Comparisons and not min and max: those would turn NaN into a bound.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    // ln 2 in two parts: the first has few enough bits for an exact product.
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    (p.mul_add(r * r, r) + 1.0) * power
}

/// Returns 1 / (1 + e^-x).
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_rounding() {
        let mut worst = 0.0f64;
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < 1.5e-7, "worst relative error {worst}");
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(f32::INFINITY).is_finite());
    }

    #[test]
    fn sums_and_maxima_take_every_element() {
        for length in [0, 1, 15, 16, 17, 100] {
            let row: Vec<f32> = (0..length).map(|i| i as f32).collect();
            let exact = row.iter().map(|x| x * x).sum::<f32>();
            assert_eq!(dot(&row, &row), exact);
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(largest(&row), top);
        }
    }
}
