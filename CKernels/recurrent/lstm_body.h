// The cells of an LSTM, over vectors of 16 lanes: included by a file for each level, which has
// defined LSTM_PRODUCT, LSTM_PACK and LSTM_STEPS, the terms in a word.
#include "../core/ck_math.h"
#include "lstm_internal.h"

enum { word_element_bytes = 4 / LSTM_STEPS };

static inline __attribute__((always_inline)) ck_v16f load(const void *p, ck_dtype type, int64_t at,
                                                          int n) {
  if (type == CK_BF16) return ck_load_as_f32_n((const uint16_t *)p + at, CK_BF16, n);
  return ck_load_n((const float *)p + at, n);
}

static inline __attribute__((always_inline)) void store(void *p, ck_dtype type, int64_t at,
                                                        ck_v16f v, int n) {
  if (type == CK_BF16) {
    ck_store_as_n((uint16_t *)p + at, CK_BF16, v, n);
  } else {
    ck_store_n((float *)p + at, v, n);
  }
}

static inline __attribute__((always_inline)) void store_word(void *words, int64_t at, ck_v16f v,
                                                             int n) {
  store(words, LSTM_STEPS == 1 ? CK_F32 : CK_BF16, at, v, n);
}

static void convert(void *words, const float *source, int64_t count) {
  for (int64_t i = 0; i < count; i += CK_LANES) {
    const int n = count - i < CK_LANES ? (int)(count - i) : CK_LANES;
    store_word(words, i, ck_load_n(source + i, n), n);
  }
}

/// The vector of units that begins at `j`, of row `r`.
static inline __attribute__((always_inline)) void cell(const lstm_cells *s, int64_t r, int64_t j,
                                                       int n) {
  const int64_t H = s->hidden, at = r * H + j, gate = lstm_gates * r * H + j;
  const float *sums = s->sums + r * lstm_gates * lstm_columns + j;
  ck_v16f v[lstm_gates];
#pragma clang loop unroll(full)
  for (int k = 0; k < lstm_gates; ++k) {
    const ck_v16f x =
        ck_load_n(sums + k * lstm_columns, n) + load(s->x, s->x_type, gate + k * H, n);
    v[k] = k == 2 ? ck_vtanh(x) : ck_vsigmoid(x);
    store(s->gates, s->gates_type, gate + k * H, v[k], n);
  }
  const ck_v16f c = v[1] * ck_load_n(s->cell + at, n) + v[0] * v[2];
  const ck_v16f h = v[3] * ck_vtanh(c);
  ck_store_n(s->cell + at, c, n);
  ck_store_n(s->c + at, c, n);
  if (s->before) store(s->before, s->before_type, at, ck_load_n(s->h_last + at, n), n);
  ck_store_n(s->h_last + at, h, n);
  store(s->h, s->h_type, at, h, n);
  store_word(s->words, r * s->words_row + j, h, n);
}

static void cells(const lstm_cells *s) {
  for (int64_t r = 0; r < s->rows; ++r) {
    int64_t j = 0;
    for (; j + CK_LANES <= s->units; j += CK_LANES) cell(s, r, j, CK_LANES);
    if (j < s->units) cell(s, r, j, (int)(s->units - j));
  }
}

static inline __attribute__((always_inline)) void cell_gradient(const lstm_cell_gradients *s,
                                                                int64_t r, int64_t j, int n) {
  const int64_t H = s->hidden, at = r * H + j, gate = lstm_gates * r * H + j;
  ck_v16f v[lstm_gates];
#pragma clang loop unroll(full)
  for (int k = 0; k < lstm_gates; ++k) v[k] = load(s->gates, s->gates_type, gate + k * H, n);
  const ck_v16f i = v[0], f = v[1], g = v[2], o = v[3];
  const ck_v16f tanh_c = ck_vtanh(ck_load_n(s->c + at, n));
  const ck_v16f dh = load(s->dh, s->dh_type, at, n) + ck_load_n(s->dh_after + at, n);
  const ck_v16f dc = ck_load_n(s->dc + at, n) + dh * o * (1.0f - tanh_c * tanh_c);
  v[0] = dc * g * i * (1.0f - i);
  v[1] = dc * ck_load_n(s->c_before + at, n) * f * (1.0f - f);
  v[2] = dc * i * (1.0f - g * g);
  v[3] = dh * tanh_c * o * (1.0f - o);
#pragma clang loop unroll(full)
  for (int k = 0; k < lstm_gates; ++k) {
    store(s->dx, s->dx_type, gate + k * H, v[k], n);
    store_word(s->words, r * s->words_row + k * H + j, v[k], n);
  }
  ck_store_n(s->dc + at, dc * f, n);
}

static void cell_gradients(const lstm_cell_gradients *s) {
  for (int64_t r = 0; r < s->rows; ++r) {
    int64_t j = 0;
    for (; j + CK_LANES <= s->units; j += CK_LANES) cell_gradient(s, r, j, CK_LANES);
    if (j < s->units) cell_gradient(s, r, j, (int)(s->units - j));
  }
}

static lstm_level level(void) {
  return (lstm_level){LSTM_PRODUCT, LSTM_STEPS, LSTM_PACK, convert, cells, cell_gradients};
}

void CK_NAME(ck_lstm_forward)(const void *args, const ck_thread *t) {
  const lstm_level own = level();
  lstm_forward(args, t, &own);
}

void CK_NAME(ck_lstm_backward)(const void *args, const ck_thread *t) {
  const lstm_level own = level();
  lstm_backward(args, t, &own);
}
