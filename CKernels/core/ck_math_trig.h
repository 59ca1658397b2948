// Sine, cosine, tangent and their inverses over 16 lanes. A part of ck_math.h.
#ifndef CK_MATH_TRIG_H
#define CK_MATH_TRIG_H

/// The first 224 bits of 2 / pi, after 32 zero bits.
static const uint32_t ck_two_over_pi[8] = {0,           0xa2f9836eu, 0x4e441529u, 0xfc2757d1u,
                                           0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu};

/// The angle a >= 2^15 less the nearest multiple of pi / 2, and which multiple, modulo 4 (Payne &
/// Hanek): a is m 2^e, and only 96 bits of 2 / pi reach the bits of a 2 / pi that matter.
static inline float ck_angle_large(float a, int32_t *quadrant, float *low_part) {
  uint32_t bits;
  memcpy(&bits, &a, 4);
  if (bits >= 0x7f800000u) {
    *quadrant = 0;
    *low_part = NAN;
    return NAN;
  }
  const int e = (int)(bits >> 23) - 150;
  const uint64_t m = (bits & 0x007fffffu) | 0x00800000u;
  const int start = e - 2 + 32;  // the first bit of 2 / pi that is kept, counted in the table
  const uint32_t *word = ck_two_over_pi + start / 32;
  const int shift = start % 32;
  uint64_t window[3];
  for (int i = 0; i < 3; i++) {
    window[i] = ((((uint64_t)word[i] << 32) | word[i + 1]) << shift) >> 32;
  }
  // m times the window, modulo 2^96; the top 64 bits are 2 of whole quarter turns and 62 below.
  const uint64_t low = m * window[2], middle = m * window[1], high = m * window[0];
  const uint64_t turns = (high << 32) + middle + (low >> 32);
  const uint64_t nearest = (turns + (1ull << 61)) >> 62;
  *quadrant = (int32_t)(nearest & 3);
  const double angle =
      (double)(int64_t)(turns - (nearest << 62)) * (0x1.921fb54442d18p+0 * 0x1p-62);
  *low_part = (float)(angle - (float)angle);
  return (float)angle;
}

/// a >= 0 less the nearest multiple of pi / 2, and which multiple in the low two bits of *quadrant.
/// The result's rounding error goes to *low_part.
CK_INLINE ck_v16f ck_angle_reduce(ck_v16f a, ck_v16i *quadrant, ck_v16f *low_part) {
  const ck_v16f magic = ck_splat(0x1.8p23f);
  const ck_v16f shifted = ck_fma(a, ck_splat(0x1.45f306p-1f), magic);
  const ck_v16f n = shifted - magic;
  ck_v16i q = (ck_v16i)((ck_v16u)shifted - (ck_v16u)magic);
  const ck_v16f first = ck_fnma(n, ck_splat(0x1.921fb6p+0f), a);
  const ck_v16f middle = ck_splat(-0x1.777a5cp-25f), last = ck_splat(-0x1.ee59dap-50f);
  ck_v16f r = ck_fnma(n, last, ck_fnma(n, middle, first));
  // The same without rounding: the product in two parts, the difference in two parts (Knuth).
  const ck_v16f product = n * middle;
  const ck_v16f product_rest = ck_fma(n, middle, -product);
  const ck_v16f difference = first - product;
  const ck_v16f taken = first - difference;
  const ck_v16f rest = (first - (difference + taken)) + (taken - product);
  ck_v16f low = (difference - r) + ck_fnma(n, last, rest - product_rest);
  const ck_v16i large = ~(a < 0x1p15f);
  if (__builtin_expect(ck_any(large), 0)) {
    for (int i = 0; i < 16; i++) {
      if (large[i]) {
        int32_t which;
        float error;
        r[i] = ck_angle_large(a[i], &which, &error);
        q[i] = which;
        low[i] = error;
      }
    }
  }
  *quadrant = q;
  *low_part = low;
  return r;
}

CK_INLINE ck_v16f ck_sin_small(ck_v16f r, ck_v16f z) {
  const float c[] = {-0x1.555556p-3f, 0x1.111174p-7f, -0x1.a05960p-13f, 0x1.7c33b0p-19f};
  return ck_fma(r * z, CK_HORNER(z, c), r);
}
CK_INLINE ck_v16f ck_cos_small(ck_v16f z) {
  const float c[] = {0x1.555556p-5f, -0x1.6c175ep-10f, 0x1.a071bep-16f, -0x1.361852p-22f};
  return ck_fma(z * z, CK_HORNER(z, c), ck_fma(z, ck_splat(-0.5f), ck_splat(1.0f)));
}

CK_INLINE ck_v16f ck_vsin(ck_v16f x) {
  ck_v16i q;
  ck_v16f low;
  const ck_v16f r = ck_angle_reduce(ck_abs(x), &q, &low);
  const ck_v16f z = r * r;
  const ck_v16f y = (q & 1) != 0 ? ck_cos_small(z) : ck_sin_small(r, z);
  return (ck_v16f)((ck_v16u)y ^ (((ck_v16u)q & 2u) << 30) ^ ((ck_v16u)x & 0x80000000u));
}

CK_INLINE ck_v16f ck_vcos(ck_v16f x) {
  ck_v16i q;
  ck_v16f low;
  const ck_v16f r = ck_angle_reduce(ck_abs(x), &q, &low);
  const ck_v16f z = r * r;
  const ck_v16f y = (q & 1) != 0 ? ck_sin_small(r, z) : ck_cos_small(z);
  return (ck_v16f)((ck_v16u)y ^ ((((ck_v16u)q + 1u) & 2u) << 30));
}

CK_INLINE ck_v16f ck_vtan(ck_v16f x) {
  const float c[] = {0x1.555560p-2f, 0x1.110d9cp-3f,  0x1.bada4cp-5f, 0x1.5cba1ap-6f,
                     0x1.62f220p-7f, 0x1.817c52p-14f, 0x1.1ec918p-8f};
  ck_v16i q;
  ck_v16f low;
  const ck_v16f r = ck_angle_reduce(ck_abs(x), &q, &low);
  const ck_v16f z = r * r;
  const ck_v16f t = ck_fma(r * z, CK_HORNER(z, c), ck_fma(low, z, low)) + r;
  const ck_v16f y = (q & 1) != 0 ? -1.0f / t : t;
  return (ck_v16f)((ck_v16u)y ^ ((ck_v16u)x & 0x80000000u));
}

/// asin s - s for a root s of z = s^2 <= 1/4.
CK_INLINE ck_v16f ck_asin_rest(ck_v16f s, ck_v16f z) {
  const float c[] = {0x1.55554cp-3f, 0x1.3338acp-4f, 0x1.6ca750p-5f,
                     0x1.04d36ap-5f, 0x1.d511e8p-7f, 0x1.34cfb0p-5f};
  return s * z * CK_HORNER(z, c);
}

/// Above 1/2, asin a = pi / 2 - 2 asin sqrt((1 - a) / 2).
CK_INLINE ck_v16f ck_vasin(ck_v16f x) {
  const ck_v16f a = ck_abs(x);
  const ck_v16i large = a > 0.5f;
  const ck_v16f z = large ? 0.5f * (1.0f - a) : a * a;
  const ck_v16f s = large ? ck_sqrt(z) : a;
  const ck_v16f rest = ck_asin_rest(s, z);
  const ck_v16f turned = (0x1.921fb6p+0f - 2.0f * s) - (2.0f * rest + 0x1.777a5cp-25f);
  return ck_copysign(large ? turned : s + rest, x);
}

CK_INLINE ck_v16f ck_vacos(ck_v16f x) {
  const ck_v16f a = ck_abs(x);
  const ck_v16i large = a > 0.5f;
  const ck_v16f z = large ? 0.5f * (1.0f - a) : a * a;
  const ck_v16f s = large ? ck_sqrt(z) : a;
  const ck_v16f y = s + ck_asin_rest(s, z);
  const ck_v16f far = 0x1.921fb6p+1f - (2.0f * y + 0x1.777a5cp-24f);
  const ck_v16f near = 0x1.921fb6p+0f - (ck_copysign(y, x) + 0x1.777a5cp-25f);
  return large ? (x > 0 ? 2.0f * y : far) : near;
}

/// atan of 0 <= t <= 1.
CK_INLINE ck_v16f ck_atan_small(ck_v16f t) {
  const float c[] = {-0x1.555552p-2f, 0x1.99981cp-3f, -0x1.247620p-3f, 0x1.c5116ep-4f,
                     -0x1.6953a6p-4f, 0x1.1509a0p-4f, -0x1.707f10p-5f, 0x1.752c44p-6f,
                     -0x1.e6971ap-8f, 0x1.295eb6p-10f};
  const ck_v16f z = t * t;
  return ck_fma(t * z, CK_HORNER(z, c), t);
}

CK_INLINE ck_v16f ck_vatan(ck_v16f x) {
  const ck_v16f a = ck_abs(x);
  const ck_v16i large = a > 1.0f;
  const ck_v16f y = ck_atan_small(large ? 1.0f / a : a);
  return ck_copysign(large ? 0x1.921fb6p+0f - (y + 0x1.777a5cp-25f) : y, x);
}

/// The angle of the point (x, y), all quadrants and signed zeros as C's atan2.
CK_INLINE ck_v16f ck_vatan2(ck_v16f y, ck_v16f x) {
  const ck_v16f ax = ck_abs(x), ay = ck_abs(y);
  const ck_v16i steep = ay > ax;
  const ck_v16f low = steep ? ax : ay, high = steep ? ay : ax;
  const ck_v16f ratio = low / high;
  // 0/0 is the axis, Inf/Inf the diagonal; NaNs stay.
  const ck_v16f t = high == 0 ? ck_splat(0) : (low == INFINITY ? ck_splat(1) : ratio);
  ck_v16f angle = ck_atan_small(t);
  angle = steep ? 0x1.921fb6p+0f - (angle + 0x1.777a5cp-25f) : angle;
  angle = (ck_v16i)x < 0 ? 0x1.921fb6p+1f - (angle + 0x1.777a5cp-24f) : angle;
  const ck_v16f turn = ck_copysign(angle, y);
  return x != x ? x : (y != y ? y : turn);
}

#endif
