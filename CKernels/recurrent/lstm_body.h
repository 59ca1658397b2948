// The cells of an LSTM, over vectors of 16 lanes: included by a file for each level, which has
// defined LSTM_PRODUCT.
#include "../core/ck_math.h"
#include "lstm_internal.h"

static void cells(const lstm_cells *s) {
  const int64_t H = s->hidden;
  for (int64_t r = 0; r < s->rows; ++r) {
    float *gates = s->gates + r * 4 * H;
    for (int64_t j = 0; j < s->units; j += CK_LANES) {
      const int n = s->units - j < CK_LANES ? (int)(s->units - j) : CK_LANES;
      const ck_v16f i = ck_vsigmoid(ck_load_n(gates + j, n));
      const ck_v16f f = ck_vsigmoid(ck_load_n(gates + H + j, n));
      const ck_v16f g = ck_vtanh(ck_load_n(gates + 2 * H + j, n));
      const ck_v16f o = ck_vsigmoid(ck_load_n(gates + 3 * H + j, n));
      const ck_v16f c = f * ck_load_n(s->c_before + r * H + j, n) + i * g;
      ck_store_n(gates + j, i, n);
      ck_store_n(gates + H + j, f, n);
      ck_store_n(gates + 2 * H + j, g, n);
      ck_store_n(gates + 3 * H + j, o, n);
      ck_store_n(s->c + r * H + j, c, n);
      ck_store_n(s->h + r * H + j, o * ck_vtanh(c), n);
    }
  }
}

static void cell_gradients(const lstm_cell_gradients *s) {
  const int64_t H = s->hidden;
  for (int64_t r = 0; r < s->rows; ++r) {
    const float *gates = s->gates + r * 4 * H;
    float *dx = s->dx + r * 4 * H;
    for (int64_t j = 0; j < s->units; j += CK_LANES) {
      const int n = s->units - j < CK_LANES ? (int)(s->units - j) : CK_LANES;
      const int64_t at = r * H + j;
      const ck_v16f i = ck_load_n(gates + j, n), f = ck_load_n(gates + H + j, n);
      const ck_v16f g = ck_load_n(gates + 2 * H + j, n), o = ck_load_n(gates + 3 * H + j, n);
      const ck_v16f tanh_c = ck_vtanh(ck_load_n(s->c + at, n));
      const ck_v16f dh = ck_load_n(s->dh + at, n) + ck_load_n(s->dh_after + at, n);
      const ck_v16f dc = ck_load_n(s->dc + at, n) + dh * o * (1.0f - tanh_c * tanh_c);
      ck_store_n(dx + j, dc * g * i * (1.0f - i), n);
      ck_store_n(dx + H + j, dc * ck_load_n(s->c_before + at, n) * f * (1.0f - f), n);
      ck_store_n(dx + 2 * H + j, dc * i * (1.0f - g * g), n);
      ck_store_n(dx + 3 * H + j, dh * tanh_c * o * (1.0f - o), n);
      ck_store_n(s->dc + at, dc * f, n);
    }
  }
}

static const lstm_level level = {LSTM_PRODUCT, cells, cell_gradients};

void CK_NAME(ck_lstm_forward)(const void *args, const ck_thread *t) {
  lstm_forward(args, t, &level);
}

void CK_NAME(ck_lstm_backward)(const void *args, const ck_thread *t) {
  lstm_backward(args, t, &level);
}
