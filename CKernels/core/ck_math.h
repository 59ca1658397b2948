// The elementary functions over 16 lanes, written once; the same bits at every level.
//
// Not correctly rounded: within 2 ulp (pow, erf: 4) of the true value over the whole float range,
// exact at NaN, Inf and the zeros' signs. A result below FLT_MIN may be 0, because the runtime
// flushes denormals. Reductions of the argument follow Cody & Waite, "Software Manual for the
// Elementary Functions" (1980), and Payne & Hanek, "Radian Reduction" (1983) for large angles; the
// polynomials are minimax fits with coefficients rounded to float one after the other.
#ifndef CK_MATH_H
#define CK_MATH_H

#include "ck_vector.h"

/// c[0] + c[1] x + ... by Horner's rule, contracted.
#define CK_HORNER(x, c) ck_horner(x, c, (int)(sizeof(c) / sizeof(*(c))))
CK_INLINE ck_v16f ck_horner(ck_v16f x, const float *c, int count) {
  ck_v16f y = ck_splat(c[count - 1]);
#pragma clang loop unroll(full)
  for (int i = count - 2; i >= 0; i--) y = ck_fma(y, x, ck_splat(c[i]));
  return y;
}

// MARK: Exponentials

/// Splits x = n ln 2 + r with |r| <= ln 2 / 2: returns r, puts n's bits into *n. A NaN stays one.
CK_INLINE ck_v16f ck_exp_reduce(ck_v16f x, ck_v16i *n) {
  const ck_v16f magic = ck_splat(0x1.8p23f);
  const ck_v16f shifted = ck_fma(x, ck_splat(0x1.715476p+0f), magic);
  *n = (ck_v16i)((ck_v16u)shifted - (ck_v16u)magic);
  const ck_v16f whole = shifted - magic;
  const ck_v16f high = ck_fnma(whole, ck_splat(0x1.62e430p-1f), x);
  return ck_fnma(whole, ck_splat(-0x1.05c610p-29f), high);
}

/// 2^n for -126 <= n <= 127.
CK_INLINE ck_v16f ck_exp2_int(ck_v16i n) { return (ck_v16f)(((ck_v16u)n + 127u) << 23); }

/// e^r near 1.
CK_INLINE ck_v16f ck_exp_small(ck_v16f r) {
  const float c[] = {0x1.fffffcp-2f, 0x1.555492p-3f, 0x1.5558acp-5f, 0x1.12397cp-7f,
                     0x1.6a5134p-10f};
  return ck_fma(r * r, CK_HORNER(r, c), r) + 1.0f;
}

/// p 2^n by adding to p's exponent; both the result and p must be normal.
CK_INLINE ck_v16f ck_scale(ck_v16f p, ck_v16i n) {
  return (ck_v16f)((ck_v16u)p + ((ck_v16u)n << 23));
}

/// e^x for |x| <= 87: no edges.
CK_INLINE ck_v16f ck_exp_inside(ck_v16f x) {
  ck_v16i n;
  const ck_v16f r = ck_exp_reduce(x, &n);
  return ck_scale(ck_exp_small(r), n);
}

CK_INLINE ck_v16f ck_vexp(ck_v16f x) {
#if CK_HAS_AVX512
  // VSCALEFPS keeps a NaN and overflows to Inf by itself; the argument is cut where its whole part
  // still is a float's integer, and compared once more for what would be denormal.
  const ck_v16f inside = 89.0f < x ? ck_splat(89.0f) : x;
  const ck_v16f magic = ck_splat(0x1.8p23f);
  const ck_v16f whole = ck_fma(inside, ck_splat(0x1.715476p+0f), magic) - magic;
  const ck_v16f high = ck_fnma(whole, ck_splat(0x1.62e430p-1f), inside);
  const ck_v16f y = ck_exp_small(ck_fnma(whole, ck_splat(-0x1.05c610p-29f), high));
  const __mmask16 normal =
      _mm512_cmp_ps_mask((__m512)x, (__m512)ck_splat(-0x1.5d589ep+6f), _CMP_NLT_UQ);
  return (ck_v16f)_mm512_maskz_scalef_ps(normal, (__m512)y, (__m512)whole);
#else
  const ck_v16f y = ck_exp_inside(x);
  const ck_v16f top = x <= 0x1.62e42ep+6f ? y : x + INFINITY;
  return x < -0x1.5d589ep+6f ? ck_splat(0) : top;
#endif
}

/// e^x / 2 for x >= 0, finite as long as that fits.
CK_INLINE ck_v16f ck_half_exp(ck_v16f x) {
  ck_v16i n;
  const ck_v16f r = ck_exp_reduce(x, &n);
  const ck_v16f y = ck_scale(ck_exp_small(r), n - 1);
  return x <= 0x1.65a9f8p+6f ? y : x + INFINITY;
}

/// 2^(k / 16), where k stands in the low bits of `shifted`: a sum with 1.5 2^19, which rounds to
/// sixteenths. Bits of 0, and so 0, for 2^-127.
CK_INLINE ck_v16f ck_exp2_sixteenths(ck_v16f shifted) {
  // The bits of 2^(j / 16), less j << 19: the low bits of k stand there when k is shifted into the
  // exponent.
  const ck_v16i powers = {0x3f800000, 0x3f7daac3, 0x3f7b95c2, 0x3f79c3d3, 0x3f7837f0, 0x3f76f532,
                          0x3f75fed7, 0x3f75583f, 0x3f7504f3, 0x3f7508a4, 0x3f75672a, 0x3f76248c,
                          0x3f7744fd, 0x3f78ccdf, 0x3f7ac0c7, 0x3f7d257d};
  const ck_v16u power = (ck_v16u)ck_pick_i32(powers, (ck_v16i)shifted);
  return (ck_v16f)(power + ((ck_v16u)shifted << 19));
}

/// 2^n e^x for x <= 0, 0 where that is < FLT_MIN; a NaN stays. By a table of sixteen and a cubic:
/// Tang, "Table-driven implementation of the exponential function in IEEE floating-point
/// arithmetic" (1989).
CK_INLINE ck_v16f ck_exp_falling(ck_v16f x, int n) {
  const ck_v16f low = ck_max_second(ck_splat(-88.0f - 0.6875f * (float)n), x);
  const ck_v16f magic = ck_splat(0x1.8p19f + (float)n);
  const ck_v16f shifted = ck_fma(low, ck_splat(0x1.715476p+0f), magic);
  const ck_v16f whole = shifted - magic;
  const ck_v16f high = ck_fnma(whole, ck_splat(0x1.62e430p-1f), low);
  const ck_v16f r = ck_fnma(whole, ck_splat(-0x1.05c610p-29f), high);
  const ck_v16f scale = ck_exp2_sixteenths(shifted);
  // What the table's rounding lost of the powers, of their size.
  const ck_v16f lost = {0,           4.6285e-08f,  -1.1992e-08f, 4.7298e-08f,
                        3.1934e-08f, 3.6211e-08f,  -3.0991e-08f, -7.4752e-09f,
                        1.7114e-08f, -3.0477e-08f, 5.2333e-09f,  6.1076e-09f,
                        -1.472e-08f, -5.2588e-09f, -6.1283e-09f, 5.1406e-09f};
  const ck_v16f cubic = ck_fma(r, ck_splat(0x1.555556p-3f), ck_splat(0.5f));
  const ck_v16f rest = ck_fma(r * r, cubic, r + ck_pick(lost, (ck_v16i)shifted));
  return ck_fma(scale, rest, scale);
}

CK_INLINE ck_v16f ck_vexp2(ck_v16f x) {
  const float c[] = {0x1.62e430p-1f, 0x1.ebfbdcp-3f,  0x1.c6af7cp-5f,
                     0x1.3b2de0p-7f, 0x1.5f0838p-10f, 0x1.416b80p-13f};
  const ck_v16f magic = ck_splat(0x1.8p23f);
  const ck_v16f shifted = x + magic;
  const ck_v16i n = (ck_v16i)((ck_v16u)shifted - (ck_v16u)magic);
  const ck_v16f r = x - (shifted - magic);
  const ck_v16f y = ck_scale(ck_fma(r, CK_HORNER(r, c), ck_splat(1)), n);
  const ck_v16f top = x < 128.0f ? y : x + INFINITY;
  return x < -126.0f ? ck_splat(0) : top;
}

/// e^r - 1 for |r| <= ln 2 / 2.
CK_INLINE ck_v16f ck_expm1_small(ck_v16f r) {
  const float c[] = {0x1.000000p-1f, 0x1.555554p-3f,  0x1.5554f8p-5f,
                     0x1.1112dcp-7f, 0x1.6d3a38p-10f, 0x1.9e69e6p-13f};
  return ck_fma(r * r, CK_HORNER(r, c), r);
}

/// e^x - 1 = 2^n (e^r - 1) + (2^n - 1), halved on the way so that n = 128 fits.
CK_INLINE ck_v16f ck_vexpm1(ck_v16f x) {
  ck_v16i n;
  const ck_v16f low = -20.0f > x ? ck_splat(-20.0f) : x;  // e^-20 - 1 rounds to -1
  const ck_v16f q = ck_expm1_small(ck_exp_reduce(low, &n));
  const ck_v16f s = ck_exp2_int(n - 1);
  const ck_v16f y = ck_fma(s, q, s - 0.5f) * 2.0f;
  const ck_v16f inside = ck_copysign(n == 0 ? q : y, x);
  return x <= 0x1.62e42ep+6f ? inside : x + INFINITY;
}

/// Near 0 x + x^3 P(x^2); else 1 - 2 / (e^2x + 1), which is 1 from 9.01 on.
CK_INLINE ck_v16f ck_vtanh(ck_v16f x) {
  const float c[] = {-0x1.555532p-2f, 0x1.1106f6p-3f, -0x1.b835a4p-5f, 0x1.51f8cep-6f,
                     -0x1.750ce4p-8f};
  const ck_v16f magnitude = ck_abs(x);
  const ck_v16f a = 10.0f < magnitude ? ck_splat(10.0f) : magnitude;
  const ck_v16f z = x * x;
  const ck_v16f small = ck_fma(a * z, CK_HORNER(z, c), a);
  const ck_v16f large = 1.0f - 2.0f / (ck_exp_inside(a + a) + 1.0f);
  // A NaN takes the small side, which keeps it.
  return ck_copysign(a >= 0.625f ? large : small, x);
}

/// 1 / (1 + e^-x), for x < 0 as e^x / (1 + e^x). What rounding the denominator loses is given back:
/// beside a quotient just below a power of two it would weigh a whole ulp.
CK_INLINE ck_v16f ck_vsigmoid(ck_v16f x) {
  const ck_v16f e = ck_exp_falling(-ck_abs(x), 0);
  const ck_v16f d = 1.0f + e;
  const ck_v16f y = (x < 0 ? e : ck_splat(1)) / d;
  return ck_fnma(y, e - (d - 1.0f), y);
}

/// x / (1 + e^-x). Where e^-x overflows but the result does not yet underflow, x e^(x + 20) e^-20;
/// the sum is exact there.
CK_INLINE ck_v16f ck_vsilu(ck_v16f x) {
  const ck_v16f y = x / (1.0f + ck_vexp(-x));
  const ck_v16i tail = x < -88.0f;
  if (__builtin_expect(ck_any(tail), 0)) {
    const ck_v16f low = -100.0f > x ? ck_splat(-100.0f) : x;
    const ck_v16f small = low * ck_exp_inside(low + 20.0f) * 0x1.1b4866p-29f;
    return (tail & (x > -INFINITY)) ? small : y;
  }
  return y;
}

/// s + x s (1 - s) with s the sigmoid; with e = e^-|x| and q = 1 / (1 + e), for x < 0 e q (1 + x
/// q), else q (1 + x e q). e is kept 256 times as large, so that e x is not flushed before its
/// time.
CK_INLINE ck_v16f ck_vsilu_derivative(ck_v16f x) {
  const ck_v16i negative = x < 0;
  const ck_v16f a = ck_min_second(ck_splat(93.5f), ck_abs(x));
  const ck_v16f e = ck_exp_falling(-a, 8);
  const ck_v16f q = 1.0f / ck_fma(e, ck_splat(0x1p-8f), ck_splat(1));
  const ck_v16f eq = e * q;
  const ck_v16f slope = ck_fma(ck_copysign(a, x), negative ? q : eq * 0x1p-8f, ck_splat(1));
  return (negative ? eq : q * 0x1p8f) * (slope * 0x1p-8f);
}

CK_INLINE ck_v16f ck_vsinh(ck_v16f x) {
  const float c[] = {0x1.555556p-3f, 0x1.1110e0p-7f, 0x1.a022b6p-13f, 0x1.756df8p-19f};
  const ck_v16f a = ck_abs(x);
  const ck_v16f z = x * x;
  const ck_v16f small = ck_fma(a * z, CK_HORNER(z, c), a);
  const ck_v16f half = ck_half_exp(a);
  return ck_copysign(a < 1.0f ? small : half - 0.25f / half, x);
}

CK_INLINE ck_v16f ck_vcosh(ck_v16f x) {
  const ck_v16f half = ck_half_exp(ck_abs(x));
  return half + 0.25f / half;
}

// MARK: Logarithms

/// log(1 + f) - f for 1 + f in [2/3, 4/3].
CK_INLINE ck_v16f ck_log_rest(ck_v16f f) {
  const float c[] = {0x1.555556p-2f,  -0x1.ffff18p-3f, 0x1.9997eep-3f,
                     -0x1.55978ep-3f, 0x1.24eb70p-3f,  -0x1.f3afd0p-4f,
                     0x1.b91eb0p-4f,  -0x1.06c3bcp-3f, 0x1.e9d2e0p-4f};
  return f * f * ck_fma(f, CK_HORNER(f, c), ck_splat(-0.5f));
}

/// x = 2^e (1 + f): returns f. Denormals are scaled up first; x must be positive and finite.
CK_INLINE ck_v16f ck_log_reduce(ck_v16f x, ck_v16f *e) {
  const ck_v16i tiny = (ck_v16i)((ck_v16u)x < 0x00800000u);
  ck_v16f scaled = x;
  ck_v16f bias = ck_splat(0);
  if (__builtin_expect(ck_any(tiny), 0)) {
    scaled = tiny ? x * 0x1p23f : x;
    bias = tiny ? ck_splat(-23) : bias;
  }
  const ck_v16u bits = (ck_v16u)scaled - 0x3f2aaaabu;
  const ck_v16i exponent = (ck_v16i)bits >> 23;
  *e = ck_from_i32(exponent) + bias;
  return (ck_v16f)((bits & 0x007fffffu) + 0x3f2aaaabu) - 1.0f;
}

/// y where x is positive and finite; else what a logarithm gives.
CK_INLINE ck_v16f ck_log_edges(ck_v16f x, ck_v16f y) {
  const ck_v16i plain = (x > 0) & (x < INFINITY);
  if (__builtin_expect(ck_any(~plain), 0)) {
    ck_v16f edge = x > 0 ? x : ck_splat(NAN);
    edge = x == 0 ? ck_splat(-INFINITY) : edge;
    edge = x != x ? x : edge;
    return plain ? y : edge;
  }
  return y;
}

CK_INLINE ck_v16f ck_vlog(ck_v16f x) {
  ck_v16f e;
  const ck_v16f f = ck_log_reduce(x, &e);
  const ck_v16f rest = ck_fma(e, ck_splat(-0x1.05c610p-29f), ck_log_rest(f));
  return ck_log_edges(x, ck_fma(e, ck_splat(0x1.62e430p-1f), f + rest));
}

CK_INLINE ck_v16f ck_vlog2(ck_v16f x) {
  ck_v16f e;
  const ck_v16f f = ck_log_reduce(x, &e);
  const ck_v16f rest = ck_log_rest(f);
  // log2(e) in two parts, f's product first, so that nothing cancels near 1.
  const ck_v16f high = ck_splat(0x1.715476p+0f);
  const ck_v16f main = f * high;
  const ck_v16f error = ck_fma(f, high, -main);
  const ck_v16f low = ck_fma(f, ck_splat(0x1.4ae0c0p-26f), ck_fma(rest, high, error));
  return ck_log_edges(x, e + (main + low));
}

CK_INLINE ck_v16f ck_vlog10(ck_v16f x) {
  ck_v16f e;
  const ck_v16f f = ck_log_reduce(x, &e);
  const ck_v16f rest = ck_log_rest(f);
  const ck_v16f high = ck_splat(0x1.bcb7b2p-2f);
  const ck_v16f main = f * high;
  const ck_v16f error = ck_fma(f, high, -main);
  ck_v16f low = ck_fma(f, ck_splat(-0x1.5b235ep-27f), ck_fma(rest, high, error));
  low = ck_fma(e, ck_splat(-0x1.95ec10p-19f), low);
  return ck_log_edges(x, ck_fma(e, ck_splat(0x1.3442p-2f), main + low));
}

/// log(1 + x): with 2^e near 1 + x, f = (1 + x) / 2^e - 1 costs one rounding.
CK_INLINE ck_v16f ck_vlog1p(ck_v16f x) {
  const ck_v16u bits = (ck_v16u)(x + 1.0f) - 0x3f2aaaabu;
  const ck_v16i n = (ck_v16i)bits >> 23;
  const ck_v16f e = ck_from_i32(n);
  // 2^-n; for n = 127 and 128 it is not normal, and x 2^-n is made of two steps.
  const ck_v16i step = n >> 1;
  const ck_v16f down = ck_exp2_int(-step);
  const ck_v16f rest_down = ck_exp2_int(step - n);
  const ck_v16f f = ck_fma(x * down, rest_down, ck_fma(down, rest_down, ck_splat(-1.0f)));
  const ck_v16f rest = ck_fma(e, ck_splat(-0x1.05c610p-29f), ck_log_rest(f));
  const ck_v16f y = ck_fma(e, ck_splat(0x1.62e430p-1f), f + rest);
  const ck_v16f inside = ck_copysign(n == 0 ? f + rest : y, x);  // of -0 too
  const ck_v16i plain = (x > -1.0f) & (x < INFINITY);
  if (__builtin_expect(ck_any(~plain), 0)) {
    ck_v16f edge = x > 0 ? x : ck_splat(NAN);
    edge = x == -1.0f ? ck_splat(-INFINITY) : edge;
    edge = x != x ? x : edge;
    return plain ? inside : edge;
  }
  return inside;
}

/// log(1 + e^x) = max(x, 0) + log1p(e^-|x|)
CK_INLINE ck_v16f ck_vsoftplus(ck_v16f x) {
  const ck_v16f rest = ck_vlog1p(ck_vexp(-ck_abs(x)));
  return (0.0f > x ? ck_splat(0) : x) + rest;
}

// Both forms below drop the 1 under the root where x is too large to square.

CK_INLINE ck_v16f ck_vasinh(ck_v16f x) {
  const ck_v16f a = ck_abs(x);
  const ck_v16i large = a > 0x1p30f;
  const ck_v16f z = a * a;
  const ck_v16f small = a + z / (1.0f + ck_sqrt(z + 1.0f));
  const ck_v16f y = ck_vlog1p(large ? a : small);
  return ck_copysign(large ? y + 0x1.62e430p-1f : y, x);
}

CK_INLINE ck_v16f ck_vacosh(ck_v16f x) {
  const ck_v16i large = x > 0x1p30f;
  const ck_v16f t = x - 1.0f;
  const ck_v16f y = ck_vlog1p(large ? x : t + ck_sqrt(ck_fma(t, t, 2.0f * t)));
  return large ? y + 0x1.62e430p-1f : (x < 1.0f ? ck_splat(NAN) : y);
}

CK_INLINE ck_v16f ck_vatanh(ck_v16f x) {
  const ck_v16f a = ck_abs(x);
  const ck_v16f y = 0.5f * ck_vlog1p(2.0f * a / (1.0f - a));
  const ck_v16f edge = a == 1.0f ? ck_splat(INFINITY) : ck_splat(NAN);
  return ck_copysign(a < 1.0f ? y : (a != a ? a : edge), x);
}

#include "ck_math_power.h"
#include "ck_math_trig.h"

// MARK: Error function and what stands on it

/// Below 0.92 a + a P(a^2); above, 1 - e^-G(a) with G fitted to -log erfc.
CK_INLINE ck_v16f ck_verf(ck_v16f x) {
  const float p[] = {0x1.06eba8p-3f, -0x1.812740p-2f,  0x1.ce2d64p-4f, -0x1.b8011ep-6f,
                     0x1.544a74p-8f, -0x1.a60f2cp-11f, 0x1.4f7e0ep-14f};
  const float g[] = {-0x1.68a77ep-13f, 0x1.212708p+0f, 0x1.44498ap-1f,   0x1.bb64f8p-4f,
                     -0x1.9b3e06p-6f,  0x1.10dfd2p-8f, -0x1.c5f88ep-12f, 0x1.5fb1dcp-16f};
  const ck_v16f magnitude = ck_abs(x);
  const ck_v16f a = 4.0f < magnitude ? ck_splat(4.0f) : magnitude;
  const ck_v16f small = ck_fma(a, CK_HORNER(a * a, p), a);
  const ck_v16f large = 1.0f - ck_exp_inside(-CK_HORNER(a, g));
  // A NaN takes the small side, which keeps it.
  return ck_copysign(a >= 0.92f ? large : small, x);
}

/// x (1 + tanh u) / 2 = x / (1 + e^-2u), u = sqrt(2 / pi) (x + 0.044715 x^3)
CK_INLINE ck_v16f ck_vgelu_tanh(ck_v16f x) {
  const ck_v16f u = x * ck_fma(x * x, ck_splat(0.044715f), ck_splat(1.0f));
  return x / (1.0f + ck_vexp(u * -0x1.988454p+0f));
}

/// Its derivative s + x s (1 - s) z', with z = 2u and s = 1 / (1 + e^-z): with e = e^-|z| and q = 1
/// / (1 + e), for x < 0 e q (1 + x z' q), else q (1 + x z' e q). From |x| = 11 on e is 0.
CK_INLINE ck_v16f ck_vgelu_tanh_derivative(ck_v16f x) {
  // A NaN stays.
  const ck_v16f a = ck_min_second(ck_splat(11.0f), ck_abs(x));
  const ck_v16f square = a * a;
  const ck_v16f z = a * ck_fma(square, ck_splat(-0x1.2444f2p-4f), ck_splat(-0x1.988454p+0f));
  const ck_v16f slope = a * ck_fma(square, ck_splat(0x1.b6676cp-3f), ck_splat(0x1.988454p+0f));
  const ck_v16f e = ck_exp_falling(z, 0);
  const ck_v16f q = 1.0f / (1.0f + e);
  const ck_v16f eq = e * q;
  const ck_v16i negative = x < 0;
  const ck_v16f by = negative ? -slope : slope;
  return (negative ? eq : q) * ck_fma(by, negative ? q : eq, ck_splat(1));
}

#include "ck_math_gelu.h"

// MARK: Small things

/// 1 / sqrt(x), two roundings.
CK_INLINE ck_v16f ck_vrsqrt(ck_v16f x) { return 1.0f / ck_sqrt(x); }
CK_INLINE ck_v16f ck_vrelu(ck_v16f x) { return 0.0f > x ? ck_splat(0) : x; }
/// x held between low and high; a NaN stays.
CK_INLINE ck_v16f ck_vclamp(ck_v16f x, ck_v16f low, ck_v16f high) {
  const ck_v16f y = low > x ? low : x;
  return high < y ? high : y;
}
CK_INLINE ck_v16f ck_vsign(ck_v16f x) {
  const ck_v16f one = ck_copysign(ck_splat(1), x);
  // Of 0, of what is flushed to it, and of NaN, which stays one.
  return ((x > 0) | (x < 0)) ? one : x * 0;
}
/// Klambauer et al., "Self-Normalizing Neural Networks" (2017).
CK_INLINE ck_v16f ck_vselu(ck_v16f x) {
  const float scale = 1.0507009873554805f, alpha = 1.6732632423543772f;
  return x > 0 ? scale * x : (scale * alpha) * ck_vexpm1(x);
}

// MARK: Integers

CK_INLINE ck_v16i ck_wrap_add_i32(ck_v16i a, ck_v16i b) {
  return (ck_v16i)((ck_v16u)a + (ck_v16u)b);
}
CK_INLINE ck_v16i ck_wrap_sub_i32(ck_v16i a, ck_v16i b) {
  return (ck_v16i)((ck_v16u)a - (ck_v16u)b);
}
CK_INLINE ck_v16i ck_wrap_mul_i32(ck_v16i a, ck_v16i b) {
  return (ck_v16i)((ck_v16u)a * (ck_v16u)b);
}
CK_INLINE ck_v16l ck_wrap_add_i64(ck_v16l a, ck_v16l b) {
  return (ck_v16l)((ck_v16ul)a + (ck_v16ul)b);
}
CK_INLINE ck_v16l ck_wrap_sub_i64(ck_v16l a, ck_v16l b) {
  return (ck_v16l)((ck_v16ul)a - (ck_v16ul)b);
}
CK_INLINE ck_v16l ck_wrap_mul_i64(ck_v16l a, ck_v16l b) {
  return (ck_v16l)((ck_v16ul)a * (ck_v16ul)b);
}
/// A 64-bit mask as a 32-bit one.
CK_INLINE ck_v16i ck_mask_i64(ck_v16l mask) { return __builtin_convertvector(mask, ck_v16i); }

// Toward zero; 0 where b is 0; INT_MIN / -1 wraps. Lane by lane: no level divides integers.
CK_INLINE ck_v16i ck_vdiv_i32(ck_v16i a, ck_v16i b) {
  ck_v16i q;
  for (int i = 0; i < 16; i++) q[i] = b[i] == 0 ? 0 : (int32_t)((int64_t)a[i] / b[i]);
  return q;
}
CK_INLINE ck_v16i ck_vrem_i32(ck_v16i a, ck_v16i b) {
  ck_v16i r;
  for (int i = 0; i < 16; i++) r[i] = b[i] == 0 ? 0 : (int32_t)((int64_t)a[i] % b[i]);
  return r;
}
CK_INLINE ck_v16l ck_vdiv_i64(ck_v16l a, ck_v16l b) {
  ck_v16l q;
  for (int i = 0; i < 16; i++) {
    q[i] = b[i] == 0 ? 0 : (b[i] == -1 ? (int64_t)(0 - (uint64_t)a[i]) : a[i] / b[i]);
  }
  return q;
}
CK_INLINE ck_v16l ck_vrem_i64(ck_v16l a, ck_v16l b) {
  ck_v16l r;
  for (int i = 0; i < 16; i++) r[i] = b[i] == 0 || b[i] == -1 ? 0 : a[i] % b[i];
  return r;
}

#endif
