// The vector parts of attention: softmax of a block, its gradient, and the operands' forms;
// attention_<level>.c compiles them for its level.
//
// Rows of a block are taken one after the other; all sums of a row are in one order at every level.
#include "../core/ck_math.h"
#include "../core/ck_rows.h"
#include "../random/philox.h"
#include "attention_internal.h"

// MARK: Forms of operands

enum { AHEAD = 12 };  // rows that are brought near beforehand

static void load_block(float *to, int64_t to_row, const void *from, ck_dtype type, int64_t from_row,
                       int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; r++) {
    const void *row = row_of(from, r, from_row, type);
    // Rows of a head lie apart: the processor does not see the next one coming.
    const char *next = row_of(row, AHEAD, from_row, type);
    float *out = to + r * to_row;
    int64_t c = 0;
    for (; c + CK_LANES <= width; c += CK_LANES) {
      __builtin_prefetch(next + c * (int64_t)ck_dtype_bytes(type));
      const ck_v16f x = type == CK_BF16 ? load_lanes(row, c, CK_LANES, CK_BF16)
                                        : load_lanes(row, c, CK_LANES, CK_F32);
      ck_store(out + c, x);
    }
    if (c < width) {
      ck_v16f x;
      load_end(&x, (const char *)row + c * (int64_t)ck_dtype_bytes(type), (int)(width - c), type);
      ck_store(out + c, x);
    }
  }
}

CK_INLINE void dots_of(float *out, const float *q, const void *rows, ck_dtype type, int64_t row,
                       int64_t count, int64_t width) {
  for (int64_t j = 0; j < count; j++) {
    const void *x = row_of(rows, j, row, type);
    const char *next = row_of(x, AHEAD, row, type);
    ck_v16f even = {0}, odd = {0};
    int64_t c = 0;
    for (; c + 2 * CK_LANES <= width; c += 2 * CK_LANES) {
      __builtin_prefetch(next + c * (int64_t)ck_dtype_bytes(type));
      if (type == CK_F32) __builtin_prefetch(next + c * 4 + 64);
      even = ck_fma(ck_load(q + c), load_lanes(x, c, CK_LANES, type), even);
      odd = ck_fma(ck_load(q + c + CK_LANES), load_lanes(x, c + CK_LANES, CK_LANES, type), odd);
    }
    for (; c < width; c += CK_LANES) {
      even = ck_fma(ck_load(q + c), load_lanes(x, c, lanes_left(width - c), type), even);
    }
    out[j] = ck_sum(even + odd);
  }
}

static void dots_block(float *out, const float *q, const void *rows, ck_dtype type, int64_t row,
                       int64_t count, int64_t width) {
  if (type == CK_BF16) {
    dots_of(out, q, rows, CK_BF16, row, count, width);
  } else {
    dots_of(out, q, rows, CK_F32, row, count, width);
  }
}

CK_INLINE void weigh_of(float *to, const float *p, const void *rows, ck_dtype type, int64_t row,
                        int64_t count, int64_t width) {
  int64_t c = 0;
  for (; c + 4 * CK_LANES <= width; c += 4 * CK_LANES) {
    ck_v16f sums[4];
    for (int i = 0; i < 4; i++) sums[i] = ck_load(to + c + i * CK_LANES);
    for (int64_t j = 0; j < count; j++) {
      const void *x = row_of(rows, j, row, type);
      const char *next =
          (const char *)row_of(x, AHEAD, row, type) + c * (int64_t)ck_dtype_bytes(type);
      for (int i = 0; i < (type == CK_BF16 ? 2 : 4); i++) __builtin_prefetch(next + 64 * i);
      for (int i = 0; i < 4; i++) {
        sums[i] = ck_fma(ck_splat(p[j]), load_lanes(x, c + i * CK_LANES, CK_LANES, type), sums[i]);
      }
    }
    for (int i = 0; i < 4; i++) ck_store(to + c + i * CK_LANES, sums[i]);
  }
  for (; c < width; c += CK_LANES) {
    const int lanes = lanes_left(width - c);
    ck_v16f sum = ck_load(to + c);
    for (int64_t j = 0; j < count; j++) {
      const void *x = row_of(rows, j, row, type);
      sum = ck_fma(ck_splat(p[j]), load_lanes(x, c, lanes, type), sum);
    }
    ck_store(to + c, sum);
  }
}

static void weigh_block(float *to, const float *p, const void *rows, ck_dtype type, int64_t row,
                        int64_t count, int64_t width) {
  if (type == CK_BF16) {
    weigh_of(to, p, rows, CK_BF16, row, count, width);
  } else {
    weigh_of(to, p, rows, CK_F32, row, count, width);
  }
}

static void narrow_block(float *to, int64_t to_row, const float *from, int64_t row, int64_t rows) {
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t c = 0; c < 2 * to_row; c += CK_LANES) {
      ck_store_u16((uint16_t *)(to + r * to_row) + c, ck_to_bf16(ck_load(from + r * row + c)));
    }
  }
}

/// Words whose lower halves are bf16 of a, the upper ones of b.
CK_INLINE ck_v16u paired(ck_v16f a, ck_v16f b) {
  return __builtin_convertvector(ck_to_bf16(a), ck_v16u) |
         __builtin_convertvector(ck_to_bf16(b), ck_v16u) << 16;
}

static void interleave_block(float *to, int64_t to_row, const float *from, int64_t row,
                             int64_t rows) {
  for (int64_t r = 0; r + 1 < rows; r += 2) {
    for (int64_t c = 0; c < to_row; c += CK_LANES) {
      const ck_v16u both = paired(ck_load(from + r * row + c), ck_load(from + (r + 1) * row + c));
      ck_store(to + r / 2 * to_row + c, (ck_v16f)both);
    }
  }
}

static void store_block(void *to, ck_dtype type, int64_t to_row, const float *from, int64_t row,
                        int64_t rows, int64_t width, float factor) {
  for (int64_t r = 0; r < rows; r++) {
    char *out = (char *)to + r * to_row * (int64_t)ck_dtype_bytes(type);
    const char *next = out + AHEAD * to_row * (int64_t)ck_dtype_bytes(type);
    int64_t c = 0;
    for (; c + CK_LANES <= width; c += CK_LANES) {
      __builtin_prefetch(next + c * (int64_t)ck_dtype_bytes(type), 1);
      const ck_v16f x = ck_load(from + r * row + c) * factor;
      if (type == CK_BF16) {
        ck_store_as(out + 2 * c, CK_BF16, x);
      } else {
        ck_store(out + 4 * c, x);
      }
    }
    if (c < width) {
      const ck_v16f x = ck_load(from + r * row + c) * factor;
      store_end(out + c * (int64_t)ck_dtype_bytes(type), &x, (int)(width - c), type);
    }
  }
}

static void add_block(float *to, const float *from, int64_t count) {
  for (int64_t i = 0; i < count; i += CK_LANES)
    ck_store(to + i, ck_load(to + i) + ck_load(from + i));
}

static void rescale_block(float *rows, int64_t row, int64_t words, const float *factors,
                          int32_t count) {
  for (int32_t r = 0; r < count; r++) {
    if (factors[r] == 1.0f) continue;
    for (int64_t c = 0; c < words; c += CK_LANES) {
      ck_store(rows + r * row + c, ck_load(rows + r * row + c) * factors[r]);
    }
  }
}

static void logarithms_of(float *out, const float *greatest, const float *sums, int32_t count) {
  for (int32_t r = 0; r < count; r += CK_LANES) {
    const int n = lanes_left(count - r);
    const ck_v16f sum = ck_load_n(sums + r, n), m = ck_load_n(greatest + r, n);
    const ck_v16i none = sum == 0;
    const ck_v16f l = m + ck_vlog(ck_select(none, ck_splat(1), sum));
    ck_store_n(out + r, ck_select(none, ck_splat(0), l), n);
  }
}

// MARK: Scores

/// Dropout's factors for the columns of a row: 0, or what stays is multiplied by.
typedef struct draws {
  schedule schedule;
  ck_v16i bound;
  ck_v16f kept;
} draws;

static draws draws_of(const attention_block *b) {
  draws d = {0};
  if (!b->has_words) return d;
  const ck_random_args args = {.state = b->random, .stream = b->stream};
  const double keep = 1.0 - (double)b->dropout;
  d.schedule = make_schedule(&args);
  d.bound = ck_splat_i32(bound_of(keep));
  d.kept = ck_splat(keep > 0 ? (float)(1.0 / keep) : 0.0f);
  return d;
}

enum { AT_ONCE = 32 * TOGETHER };  // columns whose words are drawn together

/// factors[c] for columns begin ..< end, rounded outwards to AT_ONCE.
static void draw_factors(const attention_block *b, const draws *d, int64_t row, int begin, int end,
                         float *factors) {
  const uint64_t first = b->first_word_block + (uint64_t)row * b->row_word_blocks;
  for (int c = begin / AT_ONCE * AT_ONCE; c < end; c += AT_ONCE) {
    ck_v16u words[2 * TOGETHER];
    philox(&d->schedule, first + (uint64_t)c / 4, TOGETHER, words);
    for (int v = 0; v < 2 * TOGETHER; v++) {
      const ck_v16i stays = (ck_v16i)(words[v] >> 8) < d->bound;
      ck_store(factors + c + v * CK_LANES, ck_select(stays, d->kept, ck_splat(0)));
    }
  }
}

CK_INLINE ck_v16i is_inside(int c, attention_range range) {
  const ck_v16i lanes = ck_lanes();
  return (lanes >= ck_splat_i32(range.lo - c)) & (lanes < ck_splat_i32(range.hi - c));
}

/// A score's lanes with what is added to it.
CK_INLINE ck_v16f biased(const attention_block *b, int64_t row, int c, ck_v16f x) {
  if (b->has_slope) {
    const ck_v16i distance = ck_lanes() + ck_splat_i32((int32_t)(b->distance + c - row));
    x = ck_fma(ck_splat(b->slope), ck_from_i32(distance), x);
  }
  if (b->mask == NULL) return x;
  const int count = lanes_left(b->columns - c);
  const int64_t at = row * b->mask_query + c * b->mask_key;
  if (b->mask_dtype == CK_BOOL) {
    const uint8_t *p = (const uint8_t *)b->mask + at;
    const ck_v16b seen = b->mask_key == 0    ? (ck_v16b)*p
                         : count == CK_LANES ? ck_load_u8(p)
                                             : ck_load_u8_n(p, count);
    const ck_v16i keeps = __builtin_convertvector(seen, ck_v16i) != 0;
    return ck_select(keeps, x, ck_splat(-INFINITY));
  }
  const float *p = (const float *)b->mask + at;
  return x + (b->mask_key == 0    ? ck_splat(*p)
              : count == CK_LANES ? ck_load(p)
                                  : ck_load_n(p, count));
}

CK_INLINE void fill_zeros(float *row, int begin, int end) {
  for (int c = begin; c < end; c += CK_LANES) ck_store(row + c, ck_splat(0));
}

/// Scores as they are meant, in place; -∞ where the query does not see. Returns the greatest.
CK_INLINE float finish_scores(const attention_block *b, int64_t r, float *row, bool has_bias) {
  const attention_range range = b->ranges[r];
  ck_v16f top = ck_splat(-INFINITY);
  for (int c = range.lo & ~15; c < range.hi; c += CK_LANES) {
    ck_v16f x = ck_load(row + c) * b->scale;
    if (has_bias) x = biased(b, r, c, x);
    if (c < range.lo || c + CK_LANES > range.hi) {
      x = ck_select(is_inside(c, range), x, ck_splat(-INFINITY));
    }
    ck_store(row + c, x);
    top = ck_max_second(top, x);
  }
  const ck_v8f a = top.lo > top.hi ? top.lo : top.hi;
  const ck_v4f q = a.lo > a.hi ? a.lo : a.hi;
  const float x = q.x > q.z ? q.x : q.z, y = q.y > q.w ? q.y : q.w;
  return x > y ? x : y;
}

// MARK: Forwards

/// p of a row, and its sum.
CK_INLINE float exponentials(const attention_block *b, int64_t r, float *row, float shift,
                             const float *factors, int steps) {
  const attention_range range = b->ranges[r];
  const int first = range.lo & ~15, last = (range.hi + 15) & ~15;
  uint16_t *narrow = (uint16_t *)(b->pairs + r * HALF_ROW);
  if (steps == 1) {
    fill_zeros(row, range.from, first);
    fill_zeros(row, last, range.to);
  } else {
    const ck_v16h zero = {0};
    for (int c = range.from; c < first; c += CK_LANES) ck_store_u16(narrow + c, zero);
    for (int c = last; c < range.to; c += CK_LANES) ck_store_u16(narrow + c, zero);
  }
  ck_v16f sum = {0};
  for (int c = first; c < last; c += CK_LANES) {
    ck_v16f p = ck_exp_falling(ck_load(row + c) - shift, 0);
    sum += p;
    if (factors != NULL) p = ck_load(factors + c) > 0 ? p : ck_splat(0);
    if (steps == 1) {
      ck_store(row + c, p);
    } else {
      ck_store_u16(narrow + c, ck_to_bf16(p));
    }
  }
  return ck_sum(sum);
}

CK_INLINE void forward_rows(const attention_block *b, bool has_bias, bool has_words, int steps) {
  float tops[QUERIES] __attribute__((aligned(64)));
  for (int64_t r = 0; r < b->rows; r++) {
    const attention_range range = b->ranges[r];
    tops[r] = range.lo < range.hi ? finish_scores(b, r, b->scores + r * ROW, has_bias) : -INFINITY;
  }
  // Sixteen rows at a time: what they are shifted by from now on, and what was summed before
  // shrinks.
  for (int r = 0; r < b->rows; r += CK_LANES) {
    const int n = lanes_left(b->rows - r);
    const ck_v16f before = ck_load_n(b->greatest + r, n);
    const ck_v16f now = ck_max_second(ck_load_n(tops + r, n), before);
    const ck_v16f shift = ck_select(now == ck_splat(-INFINITY), ck_splat(0), now);
    const ck_v16f factor = ck_exp_falling(before - shift, 0);
    ck_store_n(b->greatest + r, now, n);
    ck_store_n(tops + r, shift, n);
    // Nothing has been summed before the first.
    ck_store_n(b->factors + r, ck_select(before == now, ck_splat(1), factor), n);
  }
  draws d;
  if (has_words) d = draws_of(b);
  float drawn[KEYS] __attribute__((aligned(64)));
  for (int64_t r = 0; r < b->rows; r++) {
    const attention_range range = b->ranges[r];
    if (range.from == range.to) continue;
    if (has_words) draw_factors(b, &d, r, range.lo, range.hi, drawn);
    const float sum =
        exponentials(b, r, b->scores + r * ROW, tops[r], has_words ? drawn : NULL, steps);
    b->sums[r] = b->sums[r] * b->factors[r] + sum;
  }
}

CK_INLINE void forward_block(const attention_block *b, int steps) {
  const bool has_bias = b->mask != NULL || b->has_slope;
  if (b->has_words) {
    if (has_bias) forward_rows(b, true, true, steps);
    if (!has_bias) forward_rows(b, false, true, steps);
  } else {
    if (has_bias) forward_rows(b, true, false, steps);
    if (!has_bias) forward_rows(b, false, false, steps);
  }
}

// MARK: Backwards

/// p m and ds of a row, in place; zeros where the query does not see.
CK_INLINE void gradient_row(const attention_block *b, int64_t r, const float *factors,
                            bool has_bias) {
  float *row = b->scores + r * ROW, *flow = b->flows + r * ROW;
  const attention_range range = b->ranges[r];
  const int end = (b->columns + PANEL - 1) / PANEL * PANEL;
  const int first = range.lo & ~15, last = (range.hi + 15) & ~15;
  fill_zeros(row, 0, first);
  fill_zeros(flow, 0, first);
  fill_zeros(row, last, end);
  fill_zeros(flow, last, end);
  const ck_v16f logarithm = ck_splat(b->logarithms[r]), delta = ck_splat(b->delta[r]);
  for (int c = first; c < last; c += CK_LANES) {
    ck_v16f x = ck_load(row + c) * b->scale;
    if (has_bias) x = biased(b, r, c, x);
    ck_v16f p = ck_exp_falling(x - logarithm, 0);
    ck_v16f g = ck_load(flow + c);
    if (c < range.lo || c + CK_LANES > range.hi) {
      const ck_v16i inside = is_inside(c, range);
      p = ck_select(inside, p, ck_splat(0));
      g = ck_select(inside, g, ck_splat(0));
    }
    if (factors != NULL) {
      const ck_v16f m = ck_load(factors + c);
      ck_store(row + c, p * m);
      ck_store(flow + c, p * ck_fma(g, m, -delta));
    } else {
      ck_store(row + c, p);
      ck_store(flow + c, p * (g - delta));
    }
  }
}

/// Both in bf16: pairs of rows, and of ds rows as well.
CK_INLINE void pair_rows(const attention_block *b) {
  const int end = (b->columns + PANEL - 1) / PANEL * PANEL;
  for (int64_t r = 0; r < b->rows; r += 2) {
    const bool both = r + 1 < b->rows;
    const float *p = b->scores + r * ROW, *ds = b->flows + r * ROW;
    for (int c = 0; c < end; c += CK_LANES) {
      const ck_v16f second = both ? ck_load(p + ROW + c) : ck_splat(0);
      ck_store(b->pairs + r / 2 * ROW + c, (ck_v16f)paired(ck_load(p + c), second));
      const ck_v16h low = ck_to_bf16(ck_load(ds + c));
      const ck_v16h high = ck_to_bf16(both ? ck_load(ds + ROW + c) : ck_splat(0));
      ck_store_u16((uint16_t *)(b->flow_rows + r * HALF_ROW) + c, low);
      if (both) ck_store_u16((uint16_t *)(b->flow_rows + (r + 1) * HALF_ROW) + c, high);
      const ck_v16u words =
          __builtin_convertvector(low, ck_v16u) | __builtin_convertvector(high, ck_v16u) << 16;
      ck_store(b->flow_pairs + r / 2 * ROW + c, (ck_v16f)words);
    }
  }
}

CK_INLINE void backward_rows(const attention_block *b, bool has_bias, bool has_words) {
  draws d;
  if (has_words) d = draws_of(b);
  float drawn[KEYS] __attribute__((aligned(64)));
  for (int64_t r = 0; r < b->rows; r++) {
    const attention_range range = b->ranges[r];
    if (has_words) draw_factors(b, &d, r, range.lo, range.hi, drawn);
    gradient_row(b, r, has_words ? drawn : NULL, has_bias);
  }
}

CK_INLINE void backward_block(const attention_block *b, int steps) {
  const bool has_bias = b->mask != NULL || b->has_slope;
  if (b->has_words) {
    if (has_bias) backward_rows(b, true, true);
    if (!has_bias) backward_rows(b, false, true);
  } else {
    if (has_bias) backward_rows(b, true, false);
    if (!has_bias) backward_rows(b, false, false);
  }
  if (steps == 2) pair_rows(b);
}

// MARK: The level

#ifndef ATTENTION_STEPS
#define ATTENTION_STEPS 1
#endif

static void forward_any(const attention_block *b) { forward_block(b, ATTENTION_STEPS); }
static void backward_any(const attention_block *b) { backward_block(b, ATTENTION_STEPS); }

/// The level with these products.
CK_INLINE attention_level level_of(int32_t max_rows, int32_t columns,
                                   void (*tile)(const gemm_tile *),
                                   void (*pack)(float *, int64_t, int64_t, int64_t, const float *,
                                                int64_t, int64_t)) {
  return (attention_level){.steps = ATTENTION_STEPS,
                           .max_rows = max_rows,
                           .columns = columns,
                           .tile = tile,
                           .pack = pack,
                           .load = load_block,
                           .narrow = narrow_block,
                           .interleave = interleave_block,
                           .store = store_block,
                           .add = add_block,
                           .forward = forward_any,
                           .backward = backward_any,
                           .rescale = rescale_block,
                           .dots = dots_block,
                           .weigh = weigh_block,
                           .logarithms = logarithms_of};
}
