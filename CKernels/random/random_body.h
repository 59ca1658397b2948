// The distributions of random numbers; random_<level>.c compiles them.
#include "philox.h"

#define TILE 4096  // elements a work item

/// 24 bits as a number in [0, 1), exactly.
CK_INLINE ck_v16f unit(ck_v16u word) {
  return __builtin_convertvector((ck_v16i)(word >> 8), ck_v16f) * 0x1p-24f;
}

/// cos and sin of 2 π u, for u in [0, 1): the nearest quarter turn exactly,
/// then Taylor-like minimax polynomials on [-π/4, π/4] (Moshier, Cephes).
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

/// Normal numbers from 32 words: pairs of neighbours.
CK_INLINE void normals(ck_v16u v[2]) {
  ck_v16u a = __builtin_shufflevector(v[0], v[1], 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26,
                                      28, 30);
  ck_v16u b = __builtin_shufflevector(v[0], v[1], 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27,
                                      29, 31);
  box_muller(a, b, &a, &b);
  v[0] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  v[1] =
      __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/// The elements from `block` on, as they are written (4 bytes each).
CK_INLINE void draw(const schedule *s, ck_random_op op, uint64_t block, ck_v16u out[VECTORS]) {
  for (int g = 0; g < GROUPS; g += TOGETHER) {
    philox(s, block + (uint64_t)(8 * g), TOGETHER, out + 2 * g);
  }
  if (op == CK_RANDOM_NORMAL || op == CK_RANDOM_SCALED_NORMAL) {
    for (int j = 0; j < VECTORS; j += 2) normals(out + j);
  }
  if (op == CK_RANDOM_UNIFORM || op == CK_RANDOM_SCALED_UNIFORM) {
    for (int j = 0; j < VECTORS; ++j) out[j] = (ck_v16u)unit(out[j]);
  }
}

CK_INLINE void fill(const ck_random_args *a, ck_random_op op, const ck_thread *t) {
  int64_t begin, end;
  ck_share((a->count + TILE - 1) / TILE, t, &begin, &end);
  end = end * TILE < a->count ? end * TILE : a->count;
  const schedule s = make_schedule(a);
  uint32_t *out = a->out;
  for (int64_t i = begin * TILE; i < end; i += DRAWN) {
    ck_v16u v[VECTORS];
    draw(&s, op, (uint64_t)i / 4, v);
    for (int j = 0; j < VECTORS; ++j) {
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

/// Numbers scaled and shifted, for what has any bounds or moments: first values of parameters.
CK_INLINE void scaled(const ck_random_args *a, ck_random_op op, const ck_thread *t, bool streams) {
  int64_t begin, end;
  ck_share((a->count + TILE - 1) / TILE, t, &begin, &end);
  end = end * TILE < a->count ? end * TILE : a->count;
  const schedule s = make_schedule(a);
  const ck_v16f scale = ck_splat(a->scale), shift = ck_splat(a->shift);
  float *out = a->out;
  for (int64_t i = begin * TILE; i < end; i += DRAWN) {
    ck_v16u v[VECTORS];
    draw(&s, op, (uint64_t)i / 4, v);
    for (int j = 0; j < VECTORS; ++j) {
      const int64_t at = i + j * CK_LANES;
      const ck_v16f y = ck_fma(scale, (ck_v16f)v[j], shift);
      if (at + CK_LANES <= end) {
        if (streams) {
          ck_stream(out + at, y);
        } else {
          ck_store(out + at, y);
        }
      } else if (at < end) {
        ck_store_n(out + at, y, (int)(end - at));
      }
    }
  }
}

/// An array larger than the cache is written past it.
CK_INLINE void fill_scaled(const ck_random_args *a, ck_random_op op, const ck_thread *t) {
  if (ck_streams(a->out, a->count / CK_LANES, CK_LANES)) {
    scaled(a, op, t, true);
    ck_stream_end();
  } else {
    scaled(a, op, t, false);
  }
}

void CK_NAME(ck_random_scaled_uniform_f32)(const void *args, const ck_thread *t) {
  fill_scaled(args, CK_RANDOM_SCALED_UNIFORM, t);
}

void CK_NAME(ck_random_scaled_normal_f32)(const void *args, const ck_thread *t) {
  fill_scaled(args, CK_RANDOM_SCALED_NORMAL, t);
}

void CK_NAME(ck_random_bernoulli)(const void *args, const ck_thread *t) {
  const ck_random_args *a = args;
  const ck_v16i bound = ck_splat_i32(bound_of(a->p));
  int64_t begin, end;
  ck_share((a->count + TILE - 1) / TILE, t, &begin, &end);
  end = end * TILE < a->count ? end * TILE : a->count;
  const schedule s = make_schedule(a);
  uint8_t *out = a->out;
  for (int64_t i = begin * TILE; i < end; i += DRAWN) {
    ck_v16u v[VECTORS];
    draw(&s, CK_RANDOM_BITS, (uint64_t)i / 4, v);
    for (int j = 0; j < VECTORS; ++j) {
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

CK_INLINE void dropout(const ck_random_args *a, const ck_thread *t, bool streams) {
  const schedule s = make_schedule(a);
  const double keep = 1.0 - (double)a->p;
  const ck_v16i bound = ck_splat_i32(bound_of(keep));
  const ck_v16f scale = ck_splat(keep > 0 ? (float)(1.0 / keep) : 0.0f);
  int64_t begin, end;
  ck_share((a->count + TILE - 1) / TILE, t, &begin, &end);
  end = end * TILE < a->count ? end * TILE : a->count;
  const float *x = a->x;
  float *out = a->out;
  int64_t i = begin * TILE;
  for (; i + DRAWN <= end; i += DRAWN) {
    ck_v16u v[VECTORS];
    draw(&s, CK_RANDOM_BITS, (uint64_t)i / 4, v);
    for (int j = 0; j < VECTORS; ++j) {
      const int64_t at = i + j * CK_LANES;
      const ck_v16i hit = (ck_v16i)(v[j] >> 8) < bound;
      const ck_v16f kept = ck_select(hit, ck_load(x + at) * scale, ck_splat(0));
      if (streams) {
        ck_stream(out + at, kept);
      } else {
        ck_store(out + at, kept);
      }
    }
  }
  if (i >= end) return;
  ck_v16u v[VECTORS];
  draw(&s, CK_RANDOM_BITS, (uint64_t)i / 4, v);
  for (int j = 0; j < VECTORS && i < end; ++j, i += CK_LANES) {
    const int n = end - i < CK_LANES ? (int)(end - i) : CK_LANES;
    const ck_v16i hit = (ck_v16i)(v[j] >> 8) < bound;
    ck_store_n(out + i, ck_select(hit, ck_load_n(x + i, n) * scale, ck_splat(0)), n);
  }
}

void CK_NAME(ck_dropout_f32)(const void *args, const ck_thread *t) {
  const ck_random_args *a = args;
  if (a->out != a->x && ck_streams(a->out, a->count / CK_LANES, CK_LANES)) {
    dropout(a, t, true);
    ck_stream_end();
  } else {
    dropout(a, t, false);
  }
}
