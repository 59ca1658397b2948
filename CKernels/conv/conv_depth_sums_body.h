// The kernels of the gradient of a depthwise convolution's weights: the part of conv_depth_body.h
// that makes them.

// MARK: Windows of three

// Rows of three taps slide over a row of the image: an element is read once, and meets the
// gradients of the places whose windows it lies in, which are in registers. At iteration j those
// are dy[j] and the ones before it; the elements are the first STEP taps of place j.

/// What a pass over a block is made of, for V vectors of channels.
typedef struct slide {
  const depth_sums *s;
  const float *x, *dy;            // of a line, at iteration 0
  const float *near_x, *near_dy;  // of a line that is read soon
} slide;

/// Rows [FIRST, FIRST + R) of the window, at one iteration: the taps of `taps`, or all of them.
INLINE void slide_step(vec sum[SLIDE_VECTORS][3][3], vec dy[SLIDE_VECTORS][3],
                       const float *const x[3], const int FIRST, const int R, const int STEP,
                       const int V, const int PART, int count, int64_t pixel, const bool ALL,
                       unsigned taps) {
  UNROLLED for (int e = 0; e < STEP; e++) {
    if (ALL) {
      UNROLLED for (int r = FIRST; r < FIRST + R; r++) UNROLLED for (int v = 0; v < V; v++) {
        const vec element = load_lanes(x[r] + e * pixel + v * VECTOR, PART, count);
        UNROLLED for (int q = e; q < 3; q += STEP) sum[v][r][q] =
            __builtin_elementwise_fma(dy[v][q / STEP], element, sum[v][r][q]);
      }
    } else {
      UNROLLED for (int q = e; q < 3; q += STEP) {
        if ((taps >> q & 1) == 0) continue;
        UNROLLED for (int r = FIRST; r < FIRST + R; r++) UNROLLED for (int v = 0; v < V; v++)
            sum[v][r][q] = __builtin_elementwise_fma(
                dy[v][q / STEP], load_lanes(x[r] + e * pixel + v * VECTOR, PART, count),
                sum[v][r][q]);
      }
    }
  }
}

/// One line.
INLINE void slide_line(const slide *at, vec sum[SLIDE_VECTORS][3][3], const int FIRST, const int R,
                       const int STEP, const int V, const int PART, int count) {
  const depth_sums *s = at->s;
  const int64_t step = s->step, dy_step = s->dy_step, pixel = s->tap_step;
  const int64_t places = s->places, iterations = places + (STEP == 1 ? 2 : 1);
  const int64_t fast = s->fast.begin, fast_end = s->fast.end;
  const float *x[3], *d = at->dy, *near_x = at->near_x, *near_dy = at->near_dy;
  const int64_t row = s->offset[2] - s->offset[1];
  UNROLLED for (int r = 0; r < 3; r++) x[r] = at->x + s->offset[r];
  vec dy[SLIDE_VECTORS][3];
  UNROLLED for (int v = 0; v < V; v++) UNROLLED for (int m = 0; m < 3; m++) dy[v][m] = (vec)0.0f;
#define SLIDE_ON                                                   \
  do {                                                             \
    UNROLLED for (int r = FIRST; r < FIRST + R; r++) x[r] += step; \
    UNROLLED for (int v = 0; v < V; v++) {                         \
      dy[v][2] = dy[v][1];                                         \
      dy[v][1] = dy[v][0];                                         \
    }                                                              \
    d += dy_step;                                                  \
  } while (0)
  int64_t j = 0;
  for (;;) {
    const int64_t end = j < fast ? fast : iterations;
    ROLLED for (; j < end; j++) {
      if (j < places)
        UNROLLED for (int v = 0; v < V; v++) dy[v][0] = load_lanes(d + v * VECTOR, PART, count);
      slide_step(sum, dy, x, FIRST, R, STEP, V, PART, count, pixel, false, s->slide_taps[j]);
      SLIDE_ON;
    }
    if (j >= iterations) break;
    near_x += fast * step;
    near_dy += fast * dy_step;
    ROLLED for (; j < fast_end; j++) {
      UNROLLED for (int v = 0; v < V; v++) dy[v][0] = load_lanes(d + v * VECTOR, PART, count);
      slide_step(sum, dy, x, FIRST, R, STEP, V, PART, count, pixel, true, 0);
      UNROLLED for (int v = 0; v < V; v++) {
        __builtin_prefetch(near_dy + v * VECTOR);
        UNROLLED for (int e = 0; e < STEP; e++) {
          __builtin_prefetch(near_x + e * pixel + v * VECTOR);
          if (STEP == 2) __builtin_prefetch(near_x + row + e * pixel + v * VECTOR);
        }
      }
      near_x += step;
      near_dy += dy_step;
      SLIDE_ON;
    }
  }
#undef SLIDE_ON
}

/// V vectors of channels, through all lines. Where they end, those of `then` floats on begin; 0:
/// those of the next block.
INLINE void slide_lanes(const depth_sums *s, const int STEP, const int V, const int PART,
                        int64_t channel, int64_t then) {
  const int count = (int)(s->channels - channel);
  vec sum[SLIDE_VECTORS][3][3];
  UNROLLED for (int v = 0; v < V; v++) UNROLLED for (int r = 0; r < 3; r++)
      UNROLLED for (int q = 0; q < 3; q++) sum[v][r][q] = (vec)0.0f;
  // The last rows of a window are new to a line.
  const int64_t new_row = s->offset[STEP == 1 ? 2 : 1];
  for (int64_t line = 0; line < s->lines; line++) {
    const unsigned rows = (unsigned)(s->line_masks[line] >> s->first_row) & 7;
    const int64_t soon = line + s->near_lines, beyond = soon - s->lines;
    const bool goes_on = beyond < 0, comes_back = !goes_on && then != 0 && beyond < s->lines;
    const int64_t near_line = goes_on ? soon : comes_back ? beyond : s->lines - 1;
    const int64_t x_on = goes_on || comes_back ? 0 : (beyond + 1) * s->x_line;
    const int64_t dy_on = goes_on || comes_back ? 0 : (beyond + 1) * s->dy_line;
    const int64_t near = goes_on ? channel : comes_back ? channel + then : 0;
    const slide at = {
        .s = s,
        .x = s->x + (s->at[line] + channel),
        .dy = s->dy + (line * s->dy_line + channel),
        .near_x = s->x + (s->at[near_line] + x_on + new_row + near),
        .near_dy = s->dy + (near_line * s->dy_line + dy_on + near),
    };
    switch (rows) {
      case 7:
        slide_line(&at, sum, 0, 3, STEP, V, PART, count);
        break;
      case 6:
        slide_line(&at, sum, 1, 2, STEP, V, PART, count);
        break;
      case 3:
        slide_line(&at, sum, 0, 2, STEP, V, PART, count);
        break;
      default:
        if (rows & 1) slide_line(&at, sum, 0, 1, STEP, V, PART, count);
        if (rows & 2) slide_line(&at, sum, 1, 1, STEP, V, PART, count);
        if (rows & 4) slide_line(&at, sum, 2, 1, STEP, V, PART, count);
    }
  }
  UNROLLED for (int r = 0; r < 3; r++) UNROLLED for (int q = 0; q < 3; q++)
      UNROLLED for (int v = 0; v < V; v++)
          store(s->sums + r * s->sum_row + q * s->sum_step + channel + v * VECTOR, sum[v][r][q]);
}

INLINE void slide_body(const depth_sums *s, const int STEP) {
  int64_t channel = 0, wide = SLIDE_VECTORS * VECTOR;
  for (; channel + wide <= s->channels; channel += wide)
    slide_lanes(s, STEP, SLIDE_VECTORS, 0, channel, channel + wide < s->channels ? wide : 0);
#if SLIDE_VECTORS > 1
  if (channel + VECTOR <= s->channels) {
    slide_lanes(s, STEP, 1, 0, channel, channel + VECTOR < s->channels ? VECTOR : 0);
    channel += VECTOR;
  }
#endif
  if (channel < s->channels) slide_lanes(s, STEP, 1, 1, channel, 0);
}

static void slide_1(const depth_sums *s) { slide_body(s, 1); }
static void slide_2(const depth_sums *s) { slide_body(s, 2); }

// MARK: Any window

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
  if (s->slides) {
    (s->step == s->tap_step ? slide_1 : slide_2)(s);
    return;
  }
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

// MARK: Sums of sums

static void add(float *to, const float *from, int64_t count) {
  for (int64_t i = 0; i < count; i += VECTOR) store(to + i, load(to + i) + load(from + i));
}

INLINE void total_taps(float to[4][16], const float *from, int64_t groups, int64_t group,
                       const int TAPS, int64_t row) {
  UNROLLED for (int i = 0; i < 16; i += VECTOR) {
    vec sum[4];
    UNROLLED for (int t = 0; t < TAPS; t++) sum[t] = load(from + t * row + i);
    for (int64_t k = 1; k < groups; k++)
      UNROLLED for (int t = 0; t < TAPS; t++) sum[t] += load(from + k * group + t * row + i);
    UNROLLED for (int t = 0; t < TAPS; t++) store(to[t] + i, sum[t]);
  }
}

static void total(float to[4][16], const float *from, int64_t groups, int64_t group, int64_t taps,
                  int64_t row) {
  if (taps == 4) {
    total_taps(to, from, groups, group, 4, row);
  } else {
    for (int64_t t = 0; t < taps; t++) total_taps(to + t, from + t * row, groups, group, 1, row);
  }
}

// Rows of a window whose sums are in registers together, by the taps of each.
#if VECTOR == 16
#define ROWS_TOGETHER \
  { 0, 3, 3, 3, 2, 5, 1, 4 }
#else
#define ROWS_TOGETHER \
  { 0, 3, 3, 3, 2, 2, 1, 1 }
#endif
