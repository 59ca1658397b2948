// Powers and remainders over 16 lanes. A part of ck_math.h.
#ifndef CK_MATH_POWER_H
#define CK_MATH_POWER_H

CK_INLINE ck_v16d ck_horner_f64(ck_v16d x, const double *c, int count) {
  ck_v16d y = (ck_v16d)c[count - 1];
#pragma clang loop unroll(full)
  for (int i = count - 2; i >= 0; i--) y = __builtin_elementwise_fma(y, x, (ck_v16d)c[i]);
  return y;
}

/// log2 of positive finite doubles that come from floats, to 1e-13.
CK_INLINE ck_v16d ck_log2_f64(ck_v16d x) {
  // 2 / ln 2 atanh(s) / s in s^2, s = (m - 1) / (m + 1), m in [sqrt(1/2), sqrt 2).
  const double c[] = {0x1.71547652b8250p+1, 0x1.ec709dc53e65cp-1, 0x1.2776c290f7e96p-1,
                      0x1.a61a30956d6bfp-2, 0x1.47950ca58650ep-2, 0x1.21b5050bb147fp-2};
  const uint64_t root = 0x3fe6a09e667f3bcdull;
  const ck_v16ul bits = (ck_v16ul)x - root;
  const ck_v16l e = (ck_v16l)bits >> 52;
  const ck_v16d m = (ck_v16d)((bits & 0xfffffffffffffull) + root);
  const ck_v16d s = (m - 1.0) / (m + 1.0);
  const ck_v16d log = s * ck_horner_f64(s * s, c, 6);
  // Exponents are small: through 32 bits, which every level converts.
  return __builtin_convertvector(__builtin_convertvector(e, ck_v16i), ck_v16d) + log;
}

/// 2^t rounded to float; Inf above 128, 0 below -150. A NaN stays.
CK_INLINE ck_v16f ck_exp2_f64(ck_v16d t) {
  const double c[] = {0x1.62e42fef89c74p-1,  0x1.ebfbdff8ee347p-3,  0x1.c6b08dcef0949p-5,
                      0x1.3b2ab5ed20d4cp-7,  0x1.5d874ce276e77p-10, 0x1.430aa8d08c738p-13,
                      0x1.00d86c2cd5b70p-16, 0x1.61c4dad2abf85p-20};
  t = t > 200.0 ? (ck_v16d)200.0 : t;
  t = t < -200.0 ? (ck_v16d)-200.0 : t;
  const ck_v16d magic = (ck_v16d)0x1.8p52;
  const ck_v16d shifted = t + magic;
  const ck_v16ul n = (ck_v16ul)shifted - (ck_v16ul)magic;
  const ck_v16d r = t - (shifted - magic);
  const ck_v16d p = __builtin_elementwise_fma(r, ck_horner_f64(r, c, 8), (ck_v16d)1.0);
  const ck_v16d y = (ck_v16d)((ck_v16ul)p + (n << 52));
  return __builtin_convertvector(t != t ? t : y, ck_v16f);
}

/// x^y with the special cases of C's Annex F; log and exp in double, so that the error stays at a
/// rounding even where y log x is large.
CK_INLINE ck_v16f ck_vpow(ck_v16f x, ck_v16f y) {
  const ck_v16f a = ck_abs(x);
  const ck_v16f b = ck_abs(y);
  ck_v16d log = ck_log2_f64(__builtin_convertvector(a, ck_v16d));
  // A denormal counts as 0, whose logarithm this is.
  ck_v16f edge = a < 0x1p-126f ? ck_splat(-INFINITY) : a;
  const ck_v16i plain = (a >= 0x1p-126f) & (a < INFINITY);
  log = __builtin_convertvector(plain, ck_v16l) ? log : __builtin_convertvector(edge, ck_v16d);
  const ck_v16f power = ck_exp2_f64(log * __builtin_convertvector(y, ck_v16d));

  // An odd integer y carries the sign of x; a y that is no integer has no real power of x < 0.
  const ck_v16i whole = ck_trunc(y) == y;
  const ck_v16f half = 0.5f * y;
  const ck_v16i odd = whole & (b < 0x1p24f) & (ck_trunc(half) != half);
  const ck_v16u sign = (ck_v16u)odd & (ck_v16u)x & 0x80000000u;
  ck_v16f z = (ck_v16f)((ck_v16u)power | sign);
  z = ((x <= -0x1p-126f) & (x > -INFINITY) & ~whole) ? ck_splat(NAN) : z;
  z = ((a == 1) & (b == INFINITY)) ? ck_splat(1) : z;
  return ((y == 0) | (x == 1)) ? ck_splat(1) : z;
}

/// C's fmod: x less the whole multiple of y toward zero, exact. Lane by lane.
CK_INLINE ck_v16f ck_vfmod(ck_v16f x, ck_v16f y) {
  ck_v16f r;
  for (int i = 0; i < 16; i++) r[i] = fmodf(x[i], y[i]);
  return r;
}

#endif
