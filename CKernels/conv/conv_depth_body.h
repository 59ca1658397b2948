// The kernels of depthwise convolutions, written once; conv_depth_<level>.c compiles them for its
// level. The including file defines `vec` (a vector of floats), VECTOR (its length), `load_part`,
// `store_part`, `relu`, `gate` and `stream`.
#include "conv_depth.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("clang loop unroll(full)")
#define ROLLED _Pragma("clang loop unroll(disable)")

INLINE vec load(const float *p) { return *(const vec_unaligned *)p; }
INLINE void store(float *p, vec x) { *(vec_unaligned *)p = x; }

/// A vector of channels, or the `count` that are left. PART is a constant.
INLINE vec load_lanes(const float *p, const int PART, int count) {
  return PART ? load_part(p, count) : load(p);
}
INLINE void store_lanes(float *p, vec x, const int PART, int count) {
  if (PART) {
    store_part(p, x, count);
  } else {
    store(p, x);
  }
}

// MARK: Forward and the gradient of data

/// The epilogue of channels [channel, channel + VECTOR) of P places, or of the last ones.
INLINE void finish(const depth_tile *t, int64_t line, vec *sum, const int P, const int PART,
                   int64_t channel) {
  const int count = PART ? (int)(t->channel_end - channel) : VECTOR;
  const int64_t c_row = t->c_row, at = line * t->c_line + channel;
  if (t->bias) {
    const vec bias = load_lanes(t->bias + channel, PART, count);
    UNROLLED for (int i = 0; i < P; i++) sum[i] += bias;
  }
  if (t->combination == CK_ADD) {
    UNROLLED for (int i = 0; i < P; i++) sum[i] +=
        load_lanes(t->other + at + i * c_row, PART, count);
    if (t->mask) {
      UNROLLED for (int i = 0; i < P; i++) sum[i] =
          gate(load_lanes(t->mask + at + i * c_row, PART, count), sum[i]);
    }
  } else if (t->combination == CK_GATE) {
    UNROLLED for (int i = 0; i < P; i++) sum[i] =
        gate(load_lanes(t->other + at + i * c_row, PART, count), sum[i]);
  }
  if (t->relu) {
    UNROLLED for (int i = 0; i < P; i++) sum[i] = relu(sum[i]);
  }
  float *c = t->c + at;
  if (!PART && t->streams) {
    UNROLLED for (int i = 0; i < P; i++) stream(c + i * c_row, sum[i]);
  } else {
    UNROLLED for (int i = 0; i < P; i++) store_lanes(c + i * c_row, sum[i], PART, count);
  }
}

/// Channels from `channel` on of P places, out of lists.
INLINE void listed_lanes(const depth_tile *t, int64_t line, const int P, const int PART,
                         int64_t channel) {
  const int count = (int)(t->channel_end - channel);
  vec sum[DEPTH_PLACES];
  UNROLLED for (int i = 0; i < P; i++) sum[i] = (vec)0.0f;
  for (int64_t r = 0; r < t->counts[line]; r++) {
    const float *const *at = t->sources[line * t->most + r];
    const float *w = t->weights[line * t->most + r] + channel;
    for (int64_t q = 0; q < t->taps; q++, at += P) {
      const vec weight = load(w + q * t->tap_step);
      UNROLLED for (int i = 0; i < P; i++) sum[i] =
          __builtin_elementwise_fma(load_lanes(at[i] + channel, PART, count), weight, sum[i]);
    }
  }
  finish(t, line, sum, P, PART, channel);
}

INLINE void listed_body(const depth_tile *t, const int P) {
  for (int64_t line = 0; line < t->lines; line++) {
    int64_t channel = t->channel;
    for (; channel + VECTOR <= t->channel_end; channel += VECTOR)
      listed_lanes(t, line, P, 0, channel);
    if (channel < t->channel_end) listed_lanes(t, line, P, 1, channel);
  }
}

/// A row of the window with K neighbouring taps, S elements from place to place: an element is read
/// once for all places.
INLINE void add_row(const depth_tile *t, vec *sum, const float *x, const float *w, const int P,
                    const int K, const int S) {
  const int E = (P - 1) * S + K;
  const int64_t begin = t->inside.begin, end = t->inside.end;
  vec weight[DEPTH_TAPS];
  UNROLLED for (int q = 0; q < K; q++) weight[q] = load(w + q * t->tap_step);
  UNROLLED for (int e = 0; e < E; e++) {
    vec element = (vec)0.0f;
    if ((e >= K / 2 || e >= begin) && (e < E - K / 2 || e < end)) element = load(x + e * t->pixel);
    UNROLLED for (int i = 0; i < P; i++) {
      const int q = e - i * S;
      if (q >= 0 && q < K) sum[i] = __builtin_elementwise_fma(element, weight[q], sum[i]);
    }
  }
}

INLINE void known_lanes(const depth_tile *t, int64_t line, const int P, const int K, const int S,
                        int64_t channel) {
  const int64_t rows = t->counts[line];
  const float *const *sources = (const float *const *)(t->sources + line * t->most);
  const float *const *weights = t->weights + line * t->most;
  const int64_t first = t->column + channel;
  vec sum[DEPTH_PLACES];
  UNROLLED for (int i = 0; i < P; i++) sum[i] = (vec)0.0f;
  for (int64_t r = 0; r < rows; r++)
    add_row(t, sum, sources[r] + first, weights[r] + channel, P, K, S);
  // S rows are new to a line, and S elements to a place.
  UNROLLED for (int r = 1; r <= S; r++) {
    if (rows < r) break;
    const float *ahead = sources[rows - r] + (first + t->ahead);
    UNROLLED for (int e = 0; e < P * S; e++) __builtin_prefetch(ahead + e * t->pixel);
  }
  finish(t, line, sum, P, 0, channel);
}

/// The last channels, less than a vector: small code, for all windows.
INLINE void last_lanes(const depth_tile *t, int64_t line, const int P, const int S,
                       int64_t channel) {
  const int count = (int)(t->channel_end - channel);
  vec sum[DEPTH_PLACES];
  UNROLLED for (int i = 0; i < P; i++) sum[i] = (vec)0.0f;
  for (int64_t r = 0; r < t->counts[line]; r++) {
    const float *x = (const float *)t->sources[line * t->most + r] + (t->column + channel);
    const float *w = t->weights[line * t->most + r] + channel;
    for (int64_t q = 0; q < t->taps; q++) {
      const vec weight = load(w + q * t->tap_step);
      UNROLLED for (int i = 0; i < P; i++) {
        const int64_t e = q + i * S;
        vec element = (vec)0.0f;
        if (e >= t->inside.begin && e < t->inside.end) element = load_part(x + e * t->pixel, count);
        sum[i] = __builtin_elementwise_fma(element, weight, sum[i]);
      }
    }
  }
  finish(t, line, sum, P, 1, channel);
}

#define LAST(P)                                                                            \
  static __attribute__((noinline)) void last_##P(const depth_tile *t, int64_t line, int S, \
                                                 int64_t channel) {                        \
    last_lanes(t, line, P, S, channel);                                                    \
  }

LAST(1)
LAST(2)
LAST(4)
LAST(7)
LAST(8)

INLINE void known_body(const depth_tile *tile, const int P, const int K, const int S) {
  const depth_tile copy = *tile;  // which no store to `c` can change
  const depth_tile *t = &copy;
  for (int64_t line = 0; line < t->lines; line++) {
    int64_t channel = t->channel;
    for (; channel + VECTOR <= t->channel_end; channel += VECTOR)
      known_lanes(t, line, P, K, S, channel);
    if (channel < t->channel_end)
      (P == 1   ? last_1
       : P == 2 ? last_2
       : P == 4 ? last_4
       : P == 7 ? last_7
                : last_8)(tile, line, S, channel);
  }
}

#define OF_PLACES(body, ...)            \
  switch (t->places) {                  \
    case 1:                             \
      return body(t, 1, ##__VA_ARGS__); \
    case 2:                             \
      return body(t, 2, ##__VA_ARGS__); \
    case 4:                             \
      return body(t, 4, ##__VA_ARGS__); \
    case 7:                             \
      return body(t, 7, ##__VA_ARGS__); \
    default:                            \
      return body(t, 8, ##__VA_ARGS__); \
  }

#define KNOWN(K, S) \
  static void known_##K##_##S(const depth_tile *t) { OF_PLACES(known_body, K, S) }

KNOWN(1, 1)
KNOWN(2, 1)
KNOWN(3, 1)
KNOWN(4, 1)
KNOWN(5, 1)
KNOWN(7, 1)
KNOWN(3, 2)
KNOWN(5, 2)
KNOWN(7, 2)
static void listed(const depth_tile *t) { OF_PLACES(listed_body) }

static void tile(const depth_tile *t) {
  static void (*const known[2][DEPTH_TAPS + 1])(const depth_tile *) = {
      {NULL, known_1_1, known_2_1, known_3_1, known_4_1, known_5_1, NULL, known_7_1},
      {NULL, NULL, NULL, known_3_2, NULL, known_5_2, NULL, known_7_2},
  };
  if (t->is_known) {
    known[t->step - 1][t->taps](t);
  } else {
    listed(t);
  }
}

// MARK: The gradient of weights

/// A place at the edge, where only the taps and rows of the masks meet the image.
INLINE void edge_place(vec sum[DEPTH_ROWS][DEPTH_TAPS], const float *dy,
                       const float *const x[DEPTH_ROWS], int64_t tap_step, unsigned taps,
                       unsigned rows, const int R, const int K, const int PART, int count) {
  const vec d = load_lanes(dy, PART, count);
  UNROLLED for (int r = 0; r < R; r++) {
    if ((rows >> r & 1) == 0) continue;
    UNROLLED for (int q = 0; q < K; q++) {
      if ((taps >> q & 1) == 0) continue;
      sum[r][q] =
          __builtin_elementwise_fma(d, load_lanes(x[r] + q * tap_step, PART, count), sum[r][q]);
    }
  }
}

/// R rows of the window by K taps, for a vector of channels.
INLINE void sum_lanes(const depth_sums *s, const int R, const int K, const int PART,
                      const int BESIDE, int64_t channel) {
  const int count = (int)(s->channels - channel);
  const int64_t step = s->step, tap_step = s->tap_step, dy_step = s->dy_step;
  const int64_t dy_line = s->dy_line;
  const int64_t ahead = s->is_last ? s->x_line : 0;
  const int64_t some = s->some.begin, some_end = s->some.end;
  const unsigned all_rows = (1u << R) - 1;
  vec sum[DEPTH_ROWS][DEPTH_TAPS];
  UNROLLED for (int r = 0; r < R; r++) UNROLLED for (int q = 0; q < K; q++) sum[r][q] = (vec)0.0f;
  for (int64_t line = 0; line < s->lines; line++) {
    const unsigned rows = (unsigned)(s->line_masks[line] >> s->first_row) & all_rows;
    if (rows == 0) continue;
    // A line at the edge is slow everywhere.
    const int64_t begin = rows == all_rows ? s->all.begin : some_end;
    const int64_t end = rows == all_rows ? s->all.end : some_end;
    const float *dy = s->dy + (line * dy_line + some * dy_step + channel);
    const float *x[DEPTH_ROWS];
    UNROLLED for (int r = 0; r < R; r++) x[r] =
        s->x + (s->at[line] + s->offset[r] + some * step + channel);
    int64_t j = some;
    ROLLED for (; j < begin; j++, dy += dy_step) {
      edge_place(sum, dy, x, tap_step, s->masks[j], rows, R, K, PART, count);
      UNROLLED for (int r = 0; r < R; r++) x[r] += step;
    }
    ROLLED for (; j < end; j++, dy += dy_step) {
      const vec d = load_lanes(dy, PART, count);
      UNROLLED for (int r = 0; r < R; r++) UNROLLED for (int q = 0; q < K; q++) sum[r][q] =
          __builtin_elementwise_fma(d, load_lanes(x[r] + q * tap_step, PART, count), sum[r][q]);
      __builtin_prefetch(dy + dy_line);
      __builtin_prefetch(x[R - 1] + ahead);
      if (BESIDE) __builtin_prefetch(x[R - 1] + ahead + s->beside);
      UNROLLED for (int r = 0; r < R; r++) x[r] += step;
    }
    ROLLED for (; j < some_end; j++, dy += dy_step) {
      edge_place(sum, dy, x, tap_step, s->masks[j], all_rows, R, K, PART, count);
      UNROLLED for (int r = 0; r < R; r++) x[r] += step;
    }
  }
  UNROLLED for (int r = 0; r < R; r++) UNROLLED for (int q = 0; q < K; q++)
      store(s->sums + r * s->sum_row + q * s->sum_step + channel, sum[r][q]);
}

INLINE void sum_body(const depth_sums *s, const int R, const int K) {
  int64_t channel = 0;
  if (s->beside == 0) {
    for (; channel + VECTOR <= s->channels; channel += VECTOR) sum_lanes(s, R, K, 0, 0, channel);
  } else {
    for (; channel + VECTOR <= s->channels; channel += VECTOR) sum_lanes(s, R, K, 0, 1, channel);
  }
  if (channel < s->channels) sum_lanes(s, R, K, 1, 0, channel);
}

#define SUMS(R, K) \
  static void sums_##R##_##K(const depth_sums *s) { sum_body(s, R, K); }

SUMS(1, 1)
SUMS(1, 2)
SUMS(1, 3)
SUMS(1, 4)
SUMS(1, 5)
SUMS(1, 6)
SUMS(1, 7)
SUMS(2, 1)
SUMS(2, 2)
SUMS(2, 3)
SUMS(2, 4)
SUMS(2, 5)
SUMS(3, 1)
SUMS(3, 2)
SUMS(3, 3)
#if VECTOR == 16
SUMS(2, 7)
SUMS(3, 5)
SUMS(3, 7)
SUMS(4, 5)
SUMS(4, 7)
SUMS(5, 5)
#endif

static void sums(const depth_sums *s) {
  static void (*const of[DEPTH_ROWS][DEPTH_TAPS + 1])(const depth_sums *) = {
#if VECTOR == 16
    {NULL, sums_1_1, sums_1_2, sums_1_3, sums_1_4, sums_1_5, sums_1_6, sums_1_7},
    {NULL, sums_2_1, sums_2_2, sums_2_3, sums_2_4, sums_2_5, NULL, sums_2_7},
    {NULL, sums_3_1, sums_3_2, sums_3_3, NULL, sums_3_5, NULL, sums_3_7},
    {NULL, NULL, NULL, NULL, NULL, sums_4_5, NULL, sums_4_7},
    {NULL, NULL, NULL, NULL, NULL, sums_5_5},
#else
    {NULL, sums_1_1, sums_1_2, sums_1_3, sums_1_4, sums_1_5, sums_1_6, sums_1_7},
    {NULL, sums_2_1, sums_2_2, sums_2_3, sums_2_4, sums_2_5},
    {NULL, sums_3_1, sums_3_2, sums_3_3},
#endif
  };
  of[s->rows - 1][s->taps](s);
}

// Rows of a window whose sums are in registers together, by the taps of each.
#if VECTOR == 16
#define ROWS_TOGETHER \
  { 0, 3, 3, 3, 2, 5, 1, 4 }
#else
#define ROWS_TOGETHER \
  { 0, 3, 3, 3, 2, 2, 1, 1 }
#endif
