// Rotary positions, written once; rotary_<level>.c compiles it for its level.
#include "../core/ck_rows.h"
#include "ck_rotary.h"

/// The pair (a, b) turned.
CK_INLINE void turn(ck_v16f *a, ck_v16f *b, ck_v16f c, ck_v16f s) {
  const ck_v16f first = ck_fnma(*b, s, *a * c);
  *b = ck_fma(*a, s, *b * c);
  *a = first;
}

/// Elements `i` and on of two vectors' neighbours, `count` of each, apart.
CK_INLINE void load_pairs(const void *x, int64_t i, int count, ck_dtype type, ck_v16f *a,
                          ck_v16f *b) {
  const int first = lanes_left(2 * count), rest = 2 * count - first;
  const ck_v16f u = load_lanes(x, i, first, type);
  const ck_v16f v = rest > 0 ? load_lanes(x, i + CK_LANES, rest, type) : ck_splat(0);
  *a = __builtin_shufflevector(u, v, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  *b = __builtin_shufflevector(u, v, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

CK_INLINE void store_pairs(void *x, int64_t i, int count, ck_dtype type, ck_v16f a, ck_v16f b) {
  const int first = lanes_left(2 * count), rest = 2 * count - first;
  store_lanes(x, i,
              __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
              first, type, false);
  if (rest == 0) return;
  const ck_v16f high =
      __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  store_lanes(x, i + CK_LANES, high, rest, type, false);
}

CK_INLINE void rotate_row(const ck_rotary_args *r, void *out, const void *x, const float *cosines,
                          const float *sines, ck_dtype in, ck_dtype to) {
  const int64_t half = r->rotated / 2;
  const ck_v16f sign = ck_splat(r->is_inverse ? -1.0f : 1.0f);
  for (int64_t p = 0; p < half; p += CK_LANES) {
    const int count = lanes_left(half - p);
    const ck_v16f c = load_lanes(cosines, p, count, CK_F32);
    const ck_v16f s = load_lanes(sines, p, count, CK_F32) * sign;
    ck_v16f a, b;
    if (r->is_interleaved) {
      load_pairs(x, 2 * p, count, in, &a, &b);
      turn(&a, &b, c, s);
      store_pairs(out, 2 * p, count, to, a, b);
    } else {
      a = load_lanes(x, p, count, in);
      b = load_lanes(x, half + p, count, in);
      turn(&a, &b, c, s);
      store_lanes(out, p, a, count, to, false);
      store_lanes(out, half + p, b, count, to, false);
    }
  }
  for (int64_t p = r->rotated; p < r->width; p += CK_LANES) {
    const int count = lanes_left(r->width - p);
    store_lanes(out, p, load_lanes(x, p, count, in), count, to, false);
  }
}

CK_INLINE void rotate(const ck_rotary_args *r, const ck_thread *t, ck_dtype in, ck_dtype to) {
  int64_t item, end;
  ck_share(r->batch * r->time, t, &item, &end);
  for (; item < end; item++) {
    const int64_t b = item / r->time, time = item % r->time;
    const int64_t table = b * r->table_batch + time * (r->rotated / 2);
    const void *x = row_of(r->x, 1, b * r->x_batch + time * r->x_time, in);
    for (int64_t head = 0; head < r->heads; head++) {
      rotate_row(r, (void *)row_of(r->out, item * r->heads + head, r->width, to),
                 row_of(x, head, r->x_head, in), r->cosines + table, r->sines + table, in, to);
    }
  }
}

void CK_NAME(ck_rotary)(const void *args, const ck_thread *t) {
  const ck_rotary_args *r = args;
  const bool narrow_in = r->x_dtype == CK_BF16, narrow_out = r->out_dtype == CK_BF16;
  if (narrow_in && narrow_out) rotate(r, t, CK_BF16, CK_BF16);
  if (narrow_in && !narrow_out) rotate(r, t, CK_BF16, CK_F32);
  if (!narrow_in && narrow_out) rotate(r, t, CK_F32, CK_BF16);
  if (!narrow_in && !narrow_out) rotate(r, t, CK_F32, CK_F32);
}
