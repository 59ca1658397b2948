// Pooling forward, written once; pool_<level>.c compiles it for its level.
//
// Lanes are channels of one place of the window, the last ones of an odd number of channels
// together with some that have been made before. Where channels are few, lanes are those of several
// places in a row, whose elements a step finds in two vectors.
#include "../core/ck_rows.h"
#include "pool_plan.h"

/// Bytes ahead of what is read that images beyond the cache are fetched: the processor by itself
/// does not look beyond the page.
#define POOL_AHEAD 4096
/// Fewer channels than this are taken for several places at a time.
#define POOL_FEW_CHANNELS 9

/// Which elements lanes stand for: `count` channels, or, `packed`, channels of places in a row,
/// lane i being element `pattern[i]` from the first one on.
typedef struct pool_lanes {
  int count;
  bool packed;
  ck_v16i pattern;
} pool_lanes;

/// A window as a loop over what lies in the image: spans of steps, and from step to step the bytes
/// and the number of the step.
typedef struct pool_window {
  pool_span d, h, w;
  int64_t plane, row, column;
  int64_t plane_steps, row_steps;
} pool_window;

/// The lanes' elements from p on; nothing from `end` on is touched.
CK_INLINE ck_v16f pool_load(const char *p, const char *end, const pool_lanes *lanes,
                            ck_dtype type) {
  if (!lanes->packed) {
    if (lanes->count == CK_LANES || type != CK_F32) return load_lanes(p, 0, lanes->count, type);
    return ck_load_n(p, lanes->count);
  }
  const int64_t left = (end - p) / (int64_t)ck_dtype_bytes(type);
  const ck_v16f a = load_lanes(p, 0, lanes_left(left), type);
  const ck_v16f b =
      left > CK_LANES ? load_lanes(p, CK_LANES, lanes_left(left - CK_LANES), type) : ck_splat(0);
  return ck_select(lanes->pattern < CK_LANES, ck_pick(a, lanes->pattern),
                   ck_pick(b, lanes->pattern));
}

/// What a window makes of the elements from p on, the window's own first one if it were within the
/// image; `end` is that of p's row. `at` holds the indices, written or read.
CK_INLINE ck_v16f pool_over(ck_pool_op op, const char *p, const char *end, const pool_window *w,
                            const pool_lanes *lanes, float divisor, ck_v16i *at, ck_dtype type) {
  ck_v16f best = ck_splat(op == CK_POOL_MAX ? -INFINITY : 0);
  if (op == CK_POOL_MAX) {
    const int64_t first = w->d.first * w->plane_steps + w->h.first * w->row_steps + w->w.first;
    const bool is_empty =
        w->d.first == w->d.end || w->h.first == w->h.end || w->w.first == w->w.end;
    *at = ck_splat_i32(is_empty ? 0 : (int32_t)first);
  }
  for (int64_t d = w->d.first; d < w->d.end; ++d) {
    for (int64_t h = w->h.first; h < w->h.end; ++h) {
      const int64_t offset = d * w->plane + h * w->row;
      const int64_t step = d * w->plane_steps + h * w->row_steps;
      ck_v16f line = ck_splat(0);
      for (int64_t t = w->w.first; t < w->w.end; ++t) {
        const ck_v16f v = pool_load(p + offset + t * w->column, end + offset, lanes, type);
        const ck_v16i number = ck_splat_i32((int32_t)(step + t));
        if (op == CK_POOL_MAX) {
          // A NaN is not below, and none comes after the first.
          const ck_v16i wins = ~(v <= best) & (best == best);
          best = ck_select(wins, v, best);
          *at = ck_select_i32(wins, number, *at);
        } else if (op == CK_POOL_MAX_TAKE) {
          best = ck_select(*at == number, v, best);
        } else {
          line += v;
        }
      }
      if (op == CK_POOL_AVERAGE) best += line;
    }
  }
  return op == CK_POOL_AVERAGE ? best / ck_splat(divisor) : best;
}

CK_INLINE ck_v16i pool_load_indices(const void *indices, int64_t i, int count, ck_dtype type) {
  if (type == CK_U8) {
    const uint8_t *p = (const uint8_t *)indices + i;
    return __builtin_convertvector(count == CK_LANES ? ck_load_u8(p) : ck_load_u8_n(p, count),
                                   ck_v16i);
  }
  return ck_load_i32_n((const int32_t *)indices + i, count);
}

CK_INLINE void pool_store_indices(void *indices, int64_t i, ck_v16i at, int count, ck_dtype type) {
  if (type == CK_U8) {
    const ck_v16b bytes = __builtin_convertvector(at, ck_v16b);
    uint8_t *p = (uint8_t *)indices + i;
    if (count == CK_LANES) {
      ck_store_u8(p, bytes);
    } else {
      ck_store_u8_n(p, bytes, count);
    }
  } else {
    ck_store_i32_n((int32_t *)indices + i, at, count);
  }
}

/// `types` of what is written are no constants: it is written once, and read many times.
CK_INLINE void pool_store(const ck_pool_args *a, int64_t i, ck_v16f v, int count, bool streams) {
  if (a->out_dtype == CK_BF16) {
    store_lanes(a->out, i, v, count, CK_BF16, streams);
  } else {
    store_lanes(a->out, i, v, count, CK_F32, streams);
  }
}

/// A window whose steps all lie in the image, of a known size: its loops become straight code.
CK_INLINE pool_window pool_whole(const pool_window *w, int64_t size) {
  return (pool_window){{0, 0, 1}, {0, 0, size}, {0, 0, size}, 0, w->row, w->column, 0, size};
}

/// Lanes from element `i` of y on, of x from p on. `whole` is the size of a square window that lies
/// in the image and is compiled by itself up to `most`, a constant.
CK_INLINE void pool_lanes_of(ck_pool_op op, const ck_pool_args *a, const char *p, const char *end,
                             const pool_window *w, int whole, int most, const pool_lanes *lanes,
                             int64_t i, float divisor, ck_dtype type) {
  const ck_dtype index_type = (ck_dtype)a->index_dtype;
  ck_v16i at = {0};
  if (op == CK_POOL_MAX_TAKE) {
    at = pool_load_indices(a->indices, i, lanes->count, index_type);
  }
  ck_v16f y;
  if (most >= 2 && whole == 2) {
    const pool_window known = pool_whole(w, 2);
    y = pool_over(op, p, end, &known, lanes, divisor, &at, type);
  } else if (most >= 3 && whole == 3) {
    const pool_window known = pool_whole(w, 3);
    y = pool_over(op, p, end, &known, lanes, divisor, &at, type);
  } else {
    y = pool_over(op, p, end, w, lanes, divisor, &at, type);
  }
  pool_store(a, i, y, lanes->count, false);
  if (op == CK_POOL_MAX) pool_store_indices(a->indices, i, at, lanes->count, index_type);
}

/// A row of y while it is made.
typedef struct pool_row {
  const char *x;  // the first element that the window's first row would have
  int64_t i;      // the first element of y
  int64_t count;  // steps along the other axes that an average counts
  int whole;      // the size of a window whose rows lie in the image, where there is code for it
  bool fetches;
  bool one_divisor;
  float divisor;
} pool_row;

/// Fetches what a step to the side has of the rows that the places above have not read.
CK_INLINE void pool_fetch(const ck_pool_args *a, const char *p, const pool_window *w,
                          int64_t bytes) {
  const int64_t known = a->axes[1].size - a->axes[1].stride;
  for (int64_t h = known > w->h.first ? known : w->h.first; h < w->h.end; ++h) {
    for (int64_t k = 0; k < bytes; k += 64) __builtin_prefetch(p + h * w->row + k);
  }
}

/// Places [o, o_end) of a row, each by itself.
CK_INLINE void pool_places(ck_pool_op op, const ck_pool_args *a, const pool_row *row, pool_window w,
                           int64_t o, int64_t o_end, ck_dtype type) {
  const ck_pool_axis *axis = &a->axes[2];
  const bool adaptive = a->is_adaptive;
  // A gradient's gradient is rare.
  const int most = op == CK_POOL_MAX_TAKE ? 0 : 3;
  const int64_t c = a->c, size = (int64_t)ck_dtype_bytes(type);
  for (; o < o_end; ++o) {
    w.w = pool_span_of(axis, adaptive, o);
    const int whole = pool_is_whole(axis, w.w) ? row->whole : 0;
    float divisor = row->divisor;
    if (op == CK_POOL_AVERAGE && !row->one_divisor) {
      divisor = pool_divisor(row->count * pool_count(axis, adaptive, a->counts_padding, o));
    }
    const char *p = row->x + w.w.start * c * size;
    const char *end = row->x + axis->image * c * size;
    const int64_t i = row->i + o * c;
    if (row->fetches) pool_fetch(a, p + POOL_AHEAD, &w, axis->stride * c * size);
    for (int64_t k = 0; k < c; k += CK_LANES) {
      if (k + CK_LANES > c && c > CK_LANES) k = c - CK_LANES;
      const char *q = p + k * size;
      if (c >= CK_LANES) {
        const pool_lanes lanes = {CK_LANES, false, {0}};
        pool_lanes_of(op, a, q, end, &w, whole, most, &lanes, i + k, divisor, type);
      } else {
        const pool_lanes lanes = {(int)c, false, {0}};
        pool_lanes_of(op, a, q, end, &w, 0, 0, &lanes, i, divisor, type);
      }
    }
  }
}

/// Lanes for as many places at a time as there are channels for.
CK_INLINE pool_lanes pool_packed_lanes(const ck_pool_args *a) {
  const int32_t c = (int32_t)a->c, stride = (int32_t)a->axes[2].stride;
  int32_t pattern[CK_LANES];
  for (int32_t i = 0; i < CK_LANES; ++i) {
    // Lanes without an element have one that others have.
    const int32_t lane = i < CK_LANES / c * c ? i : 0;
    pattern[i] = lane / c * stride * c + lane % c;
  }
  return (pool_lanes){0, true, ck_load_i32(pattern)};
}

/// The places [o, o_end), whose windows lie within the image.
CK_INLINE void pool_packed_places(ck_pool_op op, const ck_pool_args *a, const pool_row *row,
                                  pool_window w, pool_lanes lanes, int64_t o, int64_t o_end,
                                  ck_dtype type) {
  const ck_pool_axis *axis = &a->axes[2];
  const int64_t c = a->c, size = (int64_t)ck_dtype_bytes(type);
  const int64_t together = CK_LANES / c;
  w.w = (pool_span){0, 0, axis->size};
  const char *end = row->x + axis->image * c * size;
  for (; o < o_end; o += together) {
    const int64_t places = o_end - o < together ? o_end - o : together;
    lanes.count = (int)(places * c);
    const char *p = row->x + (o * axis->stride - axis->before) * c * size;
    pool_lanes_of(op, a, p, end, &w, row->whole, op == CK_POOL_MAX_TAKE ? 0 : 2, &lanes,
                  row->i + o * c, row->divisor, type);
  }
}

CK_INLINE void pool_forward(ck_pool_op op, const ck_pool_args *a, const ck_thread *t,
                            ck_dtype type) {
  const ck_pool_axis *D = &a->axes[0], *H = &a->axes[1], *W = &a->axes[2];
  const bool adaptive = a->is_adaptive;
  const int64_t line = W->image * a->c * (int64_t)ck_dtype_bytes(type);
  pool_row row = {.divisor = 1};
  row.one_divisor = op != CK_POOL_AVERAGE || pool_has_one_divisor(a, &row.divisor);
  const int64_t bytes = a->n * D->image * H->image * line;
  row.fetches = D->size == 1 && a->c >= CK_LANES && bytes >= ck_cache_bytes() / 4 * 3;
  pool_window w = {.plane = D->dilation * H->image * line,
                   .row = H->dilation * line,
                   .column = W->dilation * (line / W->image),
                   .plane_steps = H->size * W->size,
                   .row_steps = W->size};
  const bool is_square = D->size == 1 && H->size == W->size && !adaptive;
  const int known = is_square && (W->size == 2 || W->size == 3) ? (int)W->size : 0;
  // Places whose windows lie within the image along w, where several are taken at a time.
  int64_t first = 0, last = 0;
  if (a->c < POOL_FEW_CHANNELS && W->stride <= 2 && !adaptive && row.one_divisor) {
    const int64_t room = W->image + W->before - (W->size - 1) * W->dilation;
    first = (W->before + W->stride - 1) / W->stride;
    last = room > 0 ? (room - 1) / W->stride + 1 : 0;
    if (last > W->outputs) last = W->outputs;
    if (first > last) first = last;
  }
  pool_lanes packed = {0};
  if (first < last) packed = pool_packed_lanes(a);
  int64_t u, u_end;
  ck_share(a->n * D->outputs * H->outputs, t, &u, &u_end);
  int64_t h = u % H->outputs, d = u / H->outputs % D->outputs, n = u / H->outputs / D->outputs;
  for (; u < u_end; ++u) {
    w.d = pool_span_of(D, adaptive, d);
    w.h = pool_span_of(H, adaptive, h);
    row.x = (const char *)a->in + ((n * D->image + w.d.start) * H->image + w.h.start) * line;
    row.i = u * W->outputs * a->c;
    row.whole = w.d.end - w.d.first == 1 && pool_is_whole(H, w.h) ? known : 0;
    if (!row.one_divisor) {
      row.count = pool_count(D, adaptive, a->counts_padding, d) *
                  pool_count(H, adaptive, a->counts_padding, h);
    }
    for (int part = 0; part < 3; ++part) {
      const int64_t from = part == 0 ? 0 : part == 1 ? first : last;
      const int64_t to = part == 0 ? first : part == 1 ? last : W->outputs;
      if (part == 1) {
        pool_packed_places(op, a, &row, w, packed, from, to, type);
      } else {
        pool_places(op, a, &row, w, from, to, type);
      }
    }
    if (++h < H->outputs) continue;
    h = 0;
    if (++d == D->outputs) d = 0, ++n;
  }
}

/// `op` with the element type of what is read as a constant.
#define POOL_WITH_TYPE(body, op, args, t) \
  do {                                    \
    const ck_pool_args *a = (args);       \
    if (a->in_dtype == CK_BF16) {         \
      body(op, a, t, CK_BF16);            \
    } else {                              \
      body(op, a, t, CK_F32);             \
    }                                     \
  } while (0)

void CK_NAME(ck_max_pool)(const void *args, const ck_thread *t) {
  POOL_WITH_TYPE(pool_forward, CK_POOL_MAX, args, t);
}
void CK_NAME(ck_max_pool_take)(const void *args, const ck_thread *t) {
  POOL_WITH_TYPE(pool_forward, CK_POOL_MAX_TAKE, args, t);
}
void CK_NAME(ck_average_pool)(const void *args, const ck_thread *t) {
  POOL_WITH_TYPE(pool_forward, CK_POOL_AVERAGE, args, t);
}
