// The Gaussian error linear unit x Φ(x) and its derivative; a part of ck_math.h.
//
// Both are a smooth function times e^(-a²/2), a = |x|, so that the negative tail keeps its digits.
// The smooth functions are polynomials in sixteen pieces; the exponential follows Tang,
// "Table-driven implementation of the exponential function in IEEE floating-point arithmetic"
// (1989). No division, and each table is one register with AVX-512. Within 3 ulp (the derivative:
// of its size or 1/16, whichever is more).
#ifndef CK_MATH_GELU_H
#define CK_MATH_GELU_H

/// 2^n e^(-a²/2) / w(a), 0 <= a < 13.4, with the w below. k = -a² / (2 ln 2) is rounded to
/// sixteenths; for u = a² + k L with L near 2 ln 2 the result is 2^(k + n) e^(-u ln 2 / L). L has
/// 13 bits and k eleven, so that nothing is lost before the one rounding of u, whatever a² would
/// lose. That L is not 2 ln 2 leaves the factor w(a) = e^(-a² (1/2 - ln 2 / L)), within 0.5 % of 1:
/// the polynomials have it.
CK_INLINE ck_v16f ck_bell(ck_v16f a, int n) {
  const ck_v16f magic = ck_splat(0x1.8p19f + (float)n);
  const ck_v16f shifted = ck_fma(a * a, ck_splat(-0x1.7158d2p-1f), magic);
  const ck_v16f u = ck_fma(a, a, (shifted - magic) * 0x1.62ep+0f);
  const ck_v16f scale = ck_exp2_sixteenths(shifted);
  const float c[] = {-0x1.000306p-1f, 0x1.00060ap-3f, -0x1.55616ap-6f};
  return ck_fma(scale, u * CK_HORNER(u, c), scale);
}

/// Σ_k c[k][i] (a - m_i)^k, where i is the piece of a. The pieces are the quarters of the octaves
/// of 1 + 1.12 a from 1 to 16, so that the bits of that number are i; m_i is the middle, of the
/// first piece its edge 0. In the tables octaves begin at 2.
CK_INLINE ck_v16f ck_bell_pieces(ck_v16f a, const ck_v16f c[6]) {
  const ck_v16f middles = {
      0x1.1db6dcp+0f,
      0x1.9p+0f,
      0x1.012492p+1f,
      0x1.3a4924p+1f,
      0x1.9p+1f,
      0x1.012492p+2f,
      0x1.3a4924p+2f,
      0x1.736db6p+2f,
      0x1.c92492p+2f,
      0x1.1db6dcp+3f,
      0x1.56db6ep+3f,
      0x1.9p+3f,
      0,
      0x1.56db6ep-2f,
      0x1.1db6dcp-1f,
      0x1.9p-1f,
  };
  const ck_v16f place = ck_fma(a, ck_splat(1.12f), ck_splat(1));
  const ck_v16i piece = (ck_v16i)((ck_v16u)place >> 21);
  const ck_v16f d = a - ck_pick(middles, piece);
  ck_v16f y = ck_pick(c[5], piece);
#pragma clang loop unroll(full)
  for (int k = 4; k >= 0; k--) y = ck_fma(y, d, ck_pick(c[k], piece));
  return y;
}

/// x Φ(x) = max(x, 0) - a Φ(-a). At -Inf the limit, -0.
CK_INLINE ck_v16f ck_vgelu(ck_v16f x) {
  // 2 a Φ(-a) e^(a²/2) w(a), and half the exponential: near 0 the product would be flushed where it
  // still is to be subtracted.
  const ck_v16f c[6] = {
      {0x1.19a57p-1f, 0x1.407482p-1f, 0x1.58b16ap-1f, 0x1.68962ep-1f, 0x1.779cdep-1f,
       0x1.830478p-1f, 0x1.898f3cp-1f, 0x1.8da4ap-1f, 0x1.916968p-1f, 0x1.9450f8p-1f,
       0x1.961ed4p-1f, 0x1.976a5ap-1f, 0, 0x1.0b87b6p-2f, 0x1.81257cp-2f, 0x1.d7d236p-2f},
      {0x1.bb09fap-3f, 0x1.0ded72p-3f, 0x1.5a8c62p-4f, 0x1.d1297ep-5f, 0x1.12333p-5f,
       0x1.2cea0ep-6f, 0x1.6a9848p-7f, 0x1.d6719p-8f, 0x1.12a716p-8f, 0x1.3cb41ap-9f,
       0x1.aaf332p-10f, 0x1.4740bp-10f, 0x1p+0f, 0x1.338544p-1f, 0x1.c12e3p-2f, 0x1.4e3dep-2f},
      {-0x1.0445bp-3f, -0x1.1af64cp-4f, -0x1.45e212p-5f, -0x1.8ab6ep-6f, -0x1.929d9ep-7f,
       -0x1.72665p-8f, -0x1.7b35ecp-9f, -0x1.a60a3ep-10f, -0x1.89bae8p-11f, -0x1.4bcd8ep-12f,
       -0x1.37ec32p-13f, -0x1.3362b8p-14f, -0x1.988352p-1f, -0x1.be864p-2f, -0x1.328b0ap-2f,
       -0x1.ad4596p-3f},
      {0x1.f282f6p-5f, 0x1.e9959p-6f, 0x1.ff9eap-7f, 0x1.1a4f06p-7f, 0x1.f9a9d6p-9f,
       0x1.8d3b16p-10f, 0x1.61a53ep-11f, 0x1.5b9648p-12f, 0x1.149fecp-13f, 0x1.8c3498p-15f,
       0x1.4f238ep-16f, 0x1.42e1d6p-17f, 0x1.ffae92p-2f, 0x1.01ad9cp-2f, 0x1.4f2214p-3f,
       0x1.bcdbbap-4f},
      {-0x1.a40a2ap-6f, -0x1.7670e8p-7f, -0x1.6b4152p-8f, -0x1.63bbc6p-9f, -0x1.240a46p-10f,
       -0x1.84ca86p-12f, -0x1.3a4602p-13f, -0x1.0e0cccp-14f, -0x1.64f9d4p-16f, -0x1.99b902p-18f,
       -0x1.12f7ap-19f, -0x1.7dccb8p-20f, -0x1.0bad72p-2f, -0x1.fecb82p-4f, -0x1.3cdfdap-4f,
       -0x1.950388p-5f},
      {0x1.3d58c6p-7f, 0x1.036c6ap-8f, 0x1.c3039ep-10f, 0x1.a99b3cp-11f, 0x1.2dbbb4p-12f,
       0x1.62909cp-14f, 0x1.df5dccp-16f, 0x1.70b5b6p-17f, 0x1.b02f4p-19f, 0x1.a41d34p-21f,
       0x1.0040e6p-22f, -0x1.7c3036p-23f, 0x1.980d68p-4f, 0x1.c52774p-5f, 0x1.0701a6p-5f,
       0x1.39ce4cp-6f},
  };
  // There the result is < FLT_MIN. A NaN is lost here, and comes back with x itself in the last
  // sum.
  const ck_v16f a = ck_min_second(ck_abs(x), ck_splat(13.2f));
  const ck_v16f y = ck_bell_pieces(a, c);
  return ck_fnma(y, ck_bell(a, -1), -0.0f > x ? ck_splat(-0.0f) : x);
}

/// Φ(x) + x φ(x), which is 1 less the same at -x. At -Inf the limit, -0.
CK_INLINE ck_v16f ck_vgelu_derivative(ck_v16f x) {
  // (Φ(-a) - a φ(a)) e^(a²/2) w(a) / 8, and eight times the exponential, which is flushed before
  // their product would be.
  const ck_v16f c[6] = {
      {-0x1.972f28p-6f, -0x1.b14096p-5f, -0x1.4496aap-4f, -0x1.ac2b26p-4f, -0x1.212d38p-3f,
       -0x1.826988p-3f, -0x1.e1c53ep-3f, -0x1.2005cap-2f, -0x1.6626d2p-2f, -0x1.c31caep-2f,
       -0x1.0fea82p-1f, -0x1.3e449ep-1f, 0x1p-4f, 0x1.06bb28p-5f, 0x1.d47d78p-7f, -0x1.13159ep-9f},
      {-0x1.0bb5f2p-4f, -0x1.f0a7e6p-5f, -0x1.d87a14p-5f, -0x1.c8a858p-5f, -0x1.b9c582p-5f,
       -0x1.ae9b4ap-5f, -0x1.a85d58p-5f, -0x1.a4a438p-5f, -0x1.a186cep-5f, -0x1.9fb48p-5f,
       -0x1.9f39e6p-5f, -0x1.9f7fdep-5f, -0x1.98845p-4f, -0x1.55a226p-4f, -0x1.383b52p-4f,
       -0x1.229152p-4f},
      {0x1.bab6b4p-8f, 0x1.0d74cp-8f, 0x1.59660ep-9f, 0x1.ce23b2p-10f, 0x1.0e6e7ep-10f,
       0x1.234fp-11f, 0x1.53332ep-12f, 0x1.9e6baep-13f, 0x1.9b99dcp-14f, 0x1.2153dap-15f,
       0x1.59299p-20f, -0x1.3c0c1ap-16f, 0x1.00014p-5f, 0x1.33822ap-6f, 0x1.c11d8ap-7f,
       0x1.4e2372p-7f},
      {-0x1.5b40cep-9f, -0x1.79bd2ap-10f, -0x1.b33fc2p-11f, -0x1.07fcb6p-11f, -0x1.0e0af8p-12f,
       -0x1.f41c3ep-14f, -0x1.03371ep-14f, -0x1.269d44p-15f, -0x1.200f5p-16f, -0x1.1070bap-17f,
       -0x1.394dcap-18f, -0x1.a046d2p-19f, -0x1.101548p-6f, -0x1.29bfc4p-7f, -0x1.98d05ap-8f,
       -0x1.1e5702p-8f},
      {0x1.f665fp-11f, 0x1.eff43ep-12f, 0x1.f3358cp-13f, 0x1.28af44p-13f, 0x1.00573ep-14f,
       0x1.85279ap-16f, 0x1.3740a4p-17f, 0x1.6225ap-18f, 0x1.0edde8p-19f, 0x1.348a08p-21f,
       0x1.16433ep-21f, 0x1.0b379ep-22f, 0x1.f4d98p-8f, 0x1.027b7p-8f, 0x1.5022aep-9f,
       0x1.be21bp-10f},
      {-0x1.513c9ap-12f, -0x1.24d62p-13f, -0x1.33a2dep-14f, -0x1.0c753cp-15f, -0x1.d34f88p-17f,
       -0x1.46b372p-18f, -0x1.0fac6p-19f, -0x1.6334a6p-21f, -0x1.3034f4p-22f, -0x1.a4a5f4p-24f,
       -0x1.958274p-29f, 0x1.9858c2p-29f, -0x1.52fb22p-9f, -0x1.979232p-10f, -0x1.048272p-10f,
       -0x1.2d7c1p-11f},
  };
  // As above, but that a NaN stays.
  const ck_v16f a = ck_min_second(ck_splat(13.375f), ck_abs(x));
  const ck_v16f y = ck_bell_pieces(a, c);
  const ck_v16u sign = ~(ck_v16u)x & 0x80000000u;
  const ck_v16f below = (ck_v16i)x < 0 ? ck_splat(-0.0f) : ck_splat(1);
  return ck_fma((ck_v16f)((ck_v16u)y ^ sign), ck_bell(a, 3), below);
}

#endif
