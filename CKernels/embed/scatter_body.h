// Scatter-add of floats, written once; scatter_<level>.c compiles it for its level.
#include "scatter_plan.h"

/// d += u, n elements.
CK_INLINE void add_run(float *restrict d, const float *restrict u, int64_t n) {
  int64_t i = 0;
  for (; i + CK_LANES <= n; i += CK_LANES) ck_store(d + i, ck_load(d + i) + ck_load(u + i));
  const int rest = (int)(n - i);
  if (rest > 0) ck_store_n(d + i, ck_load_n(d + i, rest) + ck_load_n(u + i, rest), rest);
}

void CK_NAME(ck_scatter_add_f32)(const void *args, const ck_thread *t) {
  const ck_scatter_args *a = args;
  const scatter_box box = scatter_share(a, t);
  scatter_start(a, &box, sizeof(float));
  const bool runs = a->index_inner == 0 || a->inner == 1;
  const int64_t width = box.i1 - box.i0;
  for (int64_t o = box.o0; o < box.o1; ++o) {
    float *slab = (float *)a->dst + o * a->axis * a->inner;
    const float *updates = (const float *)a->updates + o * a->count * a->inner;
    for (int64_t k = 0; k < a->count; ++k) {
      const float *update = updates + k * a->inner;
      if (runs) {
        const int64_t row = scatter_row(a, &box, o, k, 0);
        if (row < 0) continue;
        float *dst = slab + row * a->inner + box.i0;
        if (width == 1) {
          *dst += update[box.i0];
        } else {
          add_run(dst, update + box.i0, width);
        }
      } else {
        for (int64_t i = box.i0; i < box.i1; ++i) {
          const int64_t row = scatter_row(a, &box, o, k, i);
          if (row >= 0) slab[row * a->inner + i] += update[i];
        }
      }
    }
  }
}
