// The kernels of depthwise convolutions, written once; conv_depth_<level>.c compiles them for its
// level. The including file defines `vec` (a vector of floats), VECTOR (its length), SLIDE_VECTORS
// (that the weights' sums take together), `load_part`, `store_part`, `relu`, `gate` and `stream`.
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

/// The epilogue of channels [channel, channel + VECTOR) of P places, or of the last ones, `beside`
/// floats from where they lie.
INLINE void finish_beside(const depth_tile *t, int64_t line, vec *sum, const int P, const int PART,
                          int64_t channel, int64_t beside) {
  const int count = PART ? (int)(t->channel_end - channel) : VECTOR;
  const int64_t c_row = t->c_row, at = line * t->c_line + channel + beside;
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

INLINE void finish(const depth_tile *t, int64_t line, vec *sum, const int P, const int PART,
                   int64_t channel) {
  finish_beside(t, line, sum, P, PART, channel, 0);
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

/// Which of the first and the last elements that a tile reads in a row lie within the image.
typedef struct edges {
  bool first[DEPTH_TAPS / 2], last[DEPTH_TAPS / 2];
} edges;

/// What lies beside the image. It is read from memory, because a load whose mask is empty takes
/// many times as long as any other (measured on Zen 5).
static const float nothing[VECTOR] __attribute__((aligned(64)));

INLINE vec load_if(const float *x, bool is_inside) {
  return load(__builtin_unpredictable(is_inside) ? x : nothing);
}

INLINE edges edges_of(const depth_tile *t, const int P, const int K, const int S) {
  const int E = (P - 1) * S + K;
  edges known;
  UNROLLED for (int i = 0; i < K / 2; i++) {
    known.first[i] = i >= t->inside.begin;
    known.last[i] = E - 1 - i < t->inside.end;
  }
  return known;
}

/// Element e of a row of E. `at` walks from every third one to the next, which are addressed from
/// it.
INLINE vec element(const edges *edges, const float **at, int64_t pixel, const int e, const int E,
                   const int K) {
  if (e > 0 && e % 3 == 0) {
    *at += 3 * pixel;
    // What is known of the address is forgotten, or each would have a register of its own.
    __asm__("" : "+r"(*at));
  }
  const float *x = *at + e % 3 * pixel;
  if (e < K / 2) return load_if(x, edges->first[e]);
  if (E - 1 - e < K / 2) return load_if(x, edges->last[E - 1 - e]);
  return load(x);
}

/// A row of the window with K neighbouring taps, S elements from place to place: an element is read
/// once for all places.
INLINE void add_row(const depth_tile *t, const edges *edges, vec *sum, const float *x,
                    const float *w, const int P, const int K, const int S) {
  const int E = (P - 1) * S + K;
  vec weight[DEPTH_TAPS];
  UNROLLED for (int q = 0; q < K; q++) weight[q] = load(w + q * t->tap_step);
  UNROLLED for (int e = 0; e < E; e++) {
    const vec x_e = element(edges, &x, t->pixel, e, E, K);
    UNROLLED for (int i = 0; i < P; i++) {
      const int q = e - i * S;
      if (q >= 0 && q < K) sum[i] = __builtin_elementwise_fma(x_e, weight[q], sum[i]);
    }
  }
}

/// A row of the image that is one of the window at `w` for one line, the row before for the next.
INLINE void add_pair(const depth_tile *t, const edges *edges, vec *sum, vec *next, const float *x,
                     const float *w, const int P, const int K) {
  const int E = P - 1 + K;
  vec weight[DEPTH_TAPS], before[DEPTH_TAPS];
  UNROLLED for (int q = 0; q < K; q++) {
    weight[q] = load(w + q * t->tap_step);
    before[q] = load(w - t->window_row + q * t->tap_step);
  }
  UNROLLED for (int e = 0; e < E; e++) {
    const vec x_e = element(edges, &x, t->pixel, e, E, K);
    UNROLLED for (int i = 0; i < P; i++) {
      const int q = e - i;
      if (q < 0 || q >= K) continue;
      sum[i] = __builtin_elementwise_fma(x_e, weight[q], sum[i]);
      next[i] = __builtin_elementwise_fma(x_e, before[q], next[i]);
    }
  }
}

/// What a line reads soon: P * S elements of a row are new to a tile.
INLINE void bring_near(const depth_tile *t, const float *row, const int elements) {
  UNROLLED for (int e = 0; e < elements; e++) {
    if (e > 0 && e % 3 == 0) {
      row += 3 * t->pixel;
      __asm__("" : "+r"(row));
    }
    __builtin_prefetch(row + e % 3 * t->pixel);
  }
}

INLINE void known_lanes(const depth_tile *t, const edges *edges, int64_t line, const int P,
                        const int K, const int S, int64_t channel) {
  const int64_t rows = t->counts[line];
  const float *const *sources = (const float *const *)(t->sources + line * t->most);
  const float *const *weights = t->weights + line * t->most;
  const int64_t first = t->column + channel;
  vec sum[DEPTH_PLACES];
  UNROLLED for (int i = 0; i < P; i++) sum[i] = (vec)0.0f;
  for (int64_t r = 0; r < rows; r++)
    add_row(t, edges, sum, sources[r] + first, weights[r] + channel, P, K, S);
  // S rows are new to a line.
  UNROLLED for (int r = 1; r <= S; r++) {
    if (rows < r) break;
    bring_near(t, sources[rows - r] + (first + t->ahead), P * S);
  }
  finish(t, line, sum, P, 0, channel);
}

/// The same of a line and the next one, whose windows have rows in common.
INLINE void pair_lanes(const depth_tile *t, const edges *edges, int64_t line, const int P,
                       const int K, int64_t channel) {
  const int64_t top = t->top + line, rows = t->pairs;
  const int64_t begin = top < 0 ? -top : 0;
  const int64_t end = t->image_rows - top < rows + 1 ? t->image_rows - top : rows + 1;
  const float *x = t->image + ((top + begin) * t->image_row + t->column + channel);
  const float *w = t->window + (begin * t->window_row + channel);
  vec sum[DEPTH_PLACES], next[DEPTH_PLACES];
  UNROLLED for (int i = 0; i < P; i++) sum[i] = next[i] = (vec)0.0f;
  int64_t r = begin;
  if (r == 0 && r < end) {
    add_row(t, edges, sum, x, w, P, K, 1);
    r++, x += t->image_row, w += t->window_row;
  }
  const int64_t both = end < rows ? end : rows;
  ROLLED for (; r < both; r++, x += t->image_row, w += t->window_row)
      add_pair(t, edges, sum, next, x, w, P, K);
  if (r < end) {
    add_row(t, edges, next, x, w - t->window_row, P, K, 1);
    x += t->image_row;
  }
  const float *soon = x + (t->ahead - t->image_row);
  bring_near(t, soon, P);
  bring_near(t, soon - t->image_row, P);
  finish(t, line, sum, P, 0, channel);
  finish(t, line + 1, next, P, 0, channel);
}

/// Two results for each element, of three taps a row: the middle one makes the first; the last one,
/// and the first one with the element behind, make the second.
INLINE void double_lanes(const depth_tile *t, int64_t line, const int P, const int PART,
                         int64_t channel) {
  const int count = PART ? (int)(t->channel_end - channel) : VECTOR;
  const int64_t rows = t->counts[line];
  vec sum[DEPTH_PLACES], second[DEPTH_PLACES];
  UNROLLED for (int i = 0; i < P; i++) sum[i] = second[i] = (vec)0.0f;
  for (int64_t r = 0; r < rows; r++) {
    const float *x = (const float *)t->sources[line * t->most + r] + (t->column + channel);
    const float *w = t->weights[line * t->most + r] + channel;
    const vec last = load(w), middle = load(w + t->tap_step / 2), first = load(w + t->tap_step);
    vec element = load_lanes(x, PART, count);
    UNROLLED for (int i = 0; i < P; i++) {
      sum[i] = __builtin_elementwise_fma(element, middle, sum[i]);
      second[i] = __builtin_elementwise_fma(element, last, second[i]);
      x += t->pixel;
      if (i < P - 1) {
        element = load_lanes(x, PART, count);
      } else if (PART) {
        element = (vec)0.0f;
        if (P < t->inside.end) element = load_lanes(x, PART, count);
      } else {
        element = load_if(x, P < t->inside.end);
      }
      second[i] = __builtin_elementwise_fma(element, first, second[i]);
    }
  }
  // A row of the source is new to every second line.
  if (!PART && rows > 1)
    bring_near(
        t, (const float *)t->sources[line * t->most + rows - 1] + (t->column + channel + t->ahead),
        P);
  finish_beside(t, line, sum, P, PART, channel, 0);
  finish_beside(t, line, second, P, PART, channel, t->beside);
}

INLINE void double_body(const depth_tile *tile, const int P) {
  const depth_tile copy = *tile;  // which no store to `c` can change
  const depth_tile *t = &copy;
  for (int64_t line = 0; line < t->lines; line++) {
    int64_t channel = t->channel;
    for (; channel + VECTOR <= t->channel_end; channel += VECTOR)
      double_lanes(t, line, P, 0, channel);
    if (channel < t->channel_end) double_lanes(t, line, P, 1, channel);
  }
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
  const edges edges = edges_of(t, P, K, S);
  for (int64_t line = 0; line < t->lines;) {
    const int64_t together = S == 1 && t->pairs > 0 && line + 2 <= t->lines ? 2 : 1;
    int64_t channel = t->channel;
    if (together == 2) {
      for (; channel + VECTOR <= t->channel_end; channel += VECTOR)
        pair_lanes(t, &edges, line, P, K, channel);
    } else {
      for (; channel + VECTOR <= t->channel_end; channel += VECTOR)
        known_lanes(t, &edges, line, P, K, S, channel);
    }
    for (const int64_t end = line + together; line < end; line++)
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
static void doubles(const depth_tile *t) { OF_PLACES(double_body) }

static void tile(const depth_tile *t) {
  static void (*const known[2][DEPTH_TAPS + 1])(const depth_tile *) = {
      {NULL, known_1_1, known_2_1, known_3_1, known_4_1, known_5_1, NULL, known_7_1},
      {NULL, NULL, NULL, known_3_2, NULL, known_5_2, NULL, known_7_2},
  };
  if (t->beside) {
    doubles(t);
  } else if (t->is_known) {
    known[t->step - 1][t->taps](t);
  } else {
    listed(t);
  }
}

#include "conv_depth_sums_body.h"
