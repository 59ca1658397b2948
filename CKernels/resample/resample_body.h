// Resampling along an axis, written once; resample_<level>.c compiles it for its level.
#include "../core/ck_rows.h"
#include "ck_resample.h"

/// One place along the axis: `inner` elements.
CK_INLINE void resample_row(const ck_resample_args *a, void *y, const void *x,
                            const ck_resample_tap *taps, int64_t count, ck_dtype y_type,
                            ck_dtype x_type) {
  for (int64_t i = 0; i < a->inner; i += CK_LANES) {
    const int lanes = lanes_left(a->inner - i);
    ck_v16f sum = ck_splat(0);
    for (int64_t k = 0; k < count; ++k) {
      const void *row = row_of(x, taps[k].index, a->inner, x_type);
      const ck_v16f v = load_any(row, i, lanes, x_type), w = ck_splat(taps[k].weight);
      // The first by itself: what only moves keeps its sign of 0.
      sum = k == 0 ? v * w : ck_fma(v, w, sum);
    }
    store_any(y, i, sum, lanes, y_type);
  }
}

CK_INLINE void resample_rows(const ck_resample_args *a, const ck_thread *t, ck_dtype y_type,
                             ck_dtype x_type) {
  const int64_t *first = ck_resample_first(a);
  const ck_resample_tap *taps = ck_resample_taps(a);
  int64_t begin, end;
  ck_share(a->outer * a->results, t, &begin, &end);
  for (int64_t row = begin; row < end; ++row) {
    const int64_t place = row % a->results;
    const void *x = row_of(a->x, row / a->results * a->extent, a->inner, x_type);
    void *y = (void *)row_of(a->y, row, a->inner, y_type);
    resample_row(a, y, x, taps + first[place], first[place + 1] - first[place], y_type, x_type);
  }
}

void CK_NAME(ck_resample_axis)(const void *args, const ck_thread *t) {
  const ck_resample_args *a = args;
  if (a->y_dtype == CK_F32 && a->x_dtype == CK_F32) {
    resample_rows(a, t, CK_F32, CK_F32);
  } else {
    resample_rows(a, t, (ck_dtype)a->y_dtype, (ck_dtype)a->x_dtype);
  }
}
