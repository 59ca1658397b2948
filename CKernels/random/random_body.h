// Philox4x32-10 sixteen blocks at a time, and the distributions; random_<level>.c compiles it.
//
// Lane 4L + j computes block 4j + L of its sixteen: then the four words of a lane come to lie side
// by side after two rounds of unpacking, without crossing 128-bit lanes.
#include "../core/ck_math.h"

#define TILE 4096  // elements a work item

typedef uint64_t v8u64 __attribute__((ext_vector_type(8)));

/// The low and high halves of a times m, lane by lane.
CK_INLINE void multiply_wide(ck_v16u a, uint32_t m, ck_v16u *high, ck_v16u *low) {
  const v8u64 even = ((v8u64)a & 0xffffffffu) * (v8u64)(uint64_t)m;
  const v8u64 odd = ((v8u64)a >> 32) * (v8u64)(uint64_t)m;
  *low = __builtin_shufflevector((ck_v16u)even, (ck_v16u)odd, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10,
                                 26, 12, 28, 14, 30);
  *high = __builtin_shufflevector((ck_v16u)even, (ck_v16u)odd, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25,
                                  11, 27, 13, 29, 15, 31);
}

/// The words of the sixteen blocks from `block` on: words[w] holds word w of each lane's block.
CK_INLINE void philox16(const ck_random_args *a, uint64_t block, ck_v16u words[4]) {
  const ck_v16u place = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
  const uint64_t key = (uint64_t)a->state[0], step = (uint64_t)a->state[1];
  const uint64_t counter = ((uint64_t)a->stream << 40) + block;
  const ck_v16u base = (ck_v16u)(uint32_t)counter;
  ck_v16u c0 = base + place;
  ck_v16u c1 = (ck_v16u)(uint32_t)(counter >> 32) - (ck_v16u)(c0 < base);  // carry: a mask is -1
  ck_v16u c2 = (ck_v16u)(uint32_t)step, c3 = (ck_v16u)(uint32_t)(step >> 32);
  uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
  for (int round = 0; round < 10; ++round) {
    ck_v16u h0, l0, h2, l2;
    multiply_wide(c0, 0xD2511F53u, &h0, &l0);
    multiply_wide(c2, 0xCD9E8D57u, &h2, &l2);
    c0 = h2 ^ c1 ^ k0;
    c1 = l2;
    c2 = h0 ^ c3 ^ k1;
    c3 = l0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

/// Words by lane to elements in order.
CK_INLINE void interleave(const ck_v16u w[4], ck_v16u out[4]) {
  const ck_v16u a =
      __builtin_shufflevector(w[0], w[1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  const ck_v16u b = __builtin_shufflevector(w[0], w[1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27,
                                            14, 30, 15, 31);
  const ck_v16u c =
      __builtin_shufflevector(w[2], w[3], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  const ck_v16u d = __builtin_shufflevector(w[2], w[3], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27,
                                            14, 30, 15, 31);
  out[0] = __builtin_shufflevector(a, c, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  out[1] =
      __builtin_shufflevector(a, c, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  out[2] = __builtin_shufflevector(b, d, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  out[3] =
      __builtin_shufflevector(b, d, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
}

/// 24 bits as a number in [0, 1), exactly.
CK_INLINE ck_v16f unit(ck_v16u word) {
  return __builtin_convertvector((ck_v16i)(word >> 8), ck_v16f) * 0x1p-24f;
}

/// cos and sin of 2 π u, for u in [0, 1): the nearest quarter turn exactly, then Taylor-like
/// minimax polynomials on [-π/4, π/4] (Moshier, Cephes).
CK_INLINE void turn(ck_v16f u, ck_v16f *cosine, ck_v16f *sine) {
  const ck_v16f quarter = ck_round(u * 4.0f);
  const ck_v16f angle = ck_fnma(quarter, ck_splat(0.25f), u) * 6.283185307179586f;
  const ck_v16f z = angle * angle;
  ck_v16f s = ck_fma(ck_splat(-1.9515295891e-4f), z, ck_splat(8.3321608736e-3f));
  s = ck_fma(s, z, ck_splat(-1.6666654611e-1f));
  s = ck_fma(s * z, angle, angle);
  ck_v16f c = ck_fma(ck_splat(2.443315711809948e-5f), z, ck_splat(-1.388731625493765e-3f));
  c = ck_fma(c, z, ck_splat(4.166664568298827e-2f));
  c = ck_fma(c * z, z, ck_fma(ck_splat(-0.5f), z, ck_splat(1.0f)));
  const ck_v16i k = ck_to_i32(quarter);
  const ck_v16i swap = (k & 1) != 0;
  const ck_v16u cosine_sign = (ck_v16u)((k + 1) & 2) << 30, sine_sign = (ck_v16u)(k & 2) << 30;
  *cosine = (ck_v16f)((ck_v16u)ck_select(swap, s, c) ^ cosine_sign);
  *sine = (ck_v16f)((ck_v16u)ck_select(swap, c, s) ^ sine_sign);
}

/// A pair of independent normal numbers from each pair of words.
CK_INLINE void box_muller(ck_v16u a, ck_v16u b, ck_v16u *first, ck_v16u *second) {
  const ck_v16f wide = __builtin_convertvector(a, ck_v16f);
  const ck_v16f u = ck_fma(wide, ck_splat(0x1p-32f), ck_splat(0x1p-33f));
  const ck_v16f radius = ck_sqrt(ck_vlog(u) * -2.0f);
  ck_v16f cosine, sine;
  turn(unit(b), &cosine, &sine);
  *first = (ck_v16u)(radius * cosine);
  *second = (ck_v16u)(radius * sine);
}

/// The 64 elements from `block` on, as they are written (4 bytes each).
CK_INLINE void draw(const ck_random_args *a, ck_random_op op, uint64_t block, ck_v16u out[4]) {
  ck_v16u words[4];
  philox16(a, block, words);
  if (op == CK_RANDOM_NORMAL) {
    box_muller(words[0], words[1], &words[0], &words[1]);
    box_muller(words[2], words[3], &words[2], &words[3]);
  }
  interleave(words, out);
  if (op == CK_RANDOM_UNIFORM) {
    for (int j = 0; j < 4; ++j) out[j] = (ck_v16u)unit(out[j]);
  }
}

/// u < p for a uniform u of 24 bits is an integer comparison: with this bound.
CK_INLINE int32_t bound_of(double p) { return (int32_t)ceil(p * 0x1p24); }

CK_INLINE void fill(const ck_random_args *a, ck_random_op op, const ck_thread *t) {
  int64_t begin, end;
  ck_share((a->count + TILE - 1) / TILE, t, &begin, &end);
  end = end * TILE < a->count ? end * TILE : a->count;
  uint32_t *out = a->out;
  for (int64_t i = begin * TILE; i < end; i += 64) {
    ck_v16u v[4];
    draw(a, op, (uint64_t)i / 4, v);
    for (int j = 0; j < 4; ++j) {
      const int64_t at = i + j * CK_LANES;
      if (at + CK_LANES <= end) {
        ck_store(out + at, (ck_v16f)v[j]);
      } else if (at < end) {
        ck_store_n(out + at, (ck_v16f)v[j], (int)(end - at));
      }
    }
  }
}

void CK_NAME(ck_random_bits)(const void *args, const ck_thread *t) {
  fill(args, CK_RANDOM_BITS, t);
}

void CK_NAME(ck_random_uniform_f32)(const void *args, const ck_thread *t) {
  fill(args, CK_RANDOM_UNIFORM, t);
}

void CK_NAME(ck_random_normal_f32)(const void *args, const ck_thread *t) {
  fill(args, CK_RANDOM_NORMAL, t);
}

void CK_NAME(ck_random_bernoulli)(const void *args, const ck_thread *t) {
  const ck_random_args *a = args;
  const ck_v16i bound = ck_splat_i32(bound_of(a->p));
  int64_t begin, end;
  ck_share((a->count + TILE - 1) / TILE, t, &begin, &end);
  end = end * TILE < a->count ? end * TILE : a->count;
  uint8_t *out = a->out;
  for (int64_t i = begin * TILE; i < end; i += 64) {
    ck_v16u v[4];
    draw(a, CK_RANDOM_BITS, (uint64_t)i / 4, v);
    for (int j = 0; j < 4; ++j) {
      const int64_t at = i + j * CK_LANES;
      const ck_v16b hit = __builtin_convertvector(((ck_v16i)(v[j] >> 8) < bound) & 1, ck_v16b);
      if (at + CK_LANES <= end) {
        ck_store_u8(out + at, hit);
      } else if (at < end) {
        ck_store_u8_n(out + at, hit, (int)(end - at));
      }
    }
  }
}

void CK_NAME(ck_dropout_f32)(const void *args, const ck_thread *t) {
  const ck_random_args *a = args;
  const double keep = 1.0 - (double)a->p;
  const ck_v16i bound = ck_splat_i32(bound_of(keep));
  const ck_v16f scale = ck_splat(keep > 0 ? (float)(1.0 / keep) : 0.0f);
  int64_t begin, end;
  ck_share((a->count + TILE - 1) / TILE, t, &begin, &end);
  end = end * TILE < a->count ? end * TILE : a->count;
  float *out = a->out;
  for (int64_t i = begin * TILE; i < end; i += 64) {
    ck_v16u v[4];
    draw(a, CK_RANDOM_BITS, (uint64_t)i / 4, v);
    for (int j = 0; j < 4; ++j) {
      const int64_t at = i + j * CK_LANES;
      const ck_v16i hit = (ck_v16i)(v[j] >> 8) < bound;
      if (at + CK_LANES <= end) {
        ck_store(out + at, ck_select(hit, ck_load(a->x + at) * scale, ck_splat(0)));
      } else if (at < end) {
        const int n = (int)(end - at);
        ck_store_n(out + at, ck_select(hit, ck_load_n(a->x + at, n) * scale, ck_splat(0)), n);
      }
    }
  }
}
