// Scatter-add of floats, written once; embed_<level>.c compiles it for its level.
#include "scatter_plan.h"

/// d += u, n elements.
CK_INLINE void add_run(float *restrict d, const char *restrict u, ck_dtype type, int64_t n) {
  const int64_t size = (int64_t)ck_dtype_bytes(type);
  int64_t i = 0;
  for (; i + CK_LANES <= n; i += CK_LANES) {
    ck_store(d + i, ck_load(d + i) + ck_load_as_f32(u + i * size, type));
  }
  const int rest = (int)(n - i);
  if (rest == 0) return;
  ck_store_n(d + i, ck_load_n(d + i, rest) + ck_load_as_f32_n(u + i * size, type, rest), rest);
}

/// One update.
CK_INLINE float update_at(const char *u, ck_dtype type) {
  uint32_t bits;
  uint16_t half;
  if (type == CK_BF16) {
    memcpy(&half, u, 2);
    bits = (uint32_t)half << 16;
  } else {
    memcpy(&bits, u, 4);
  }
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

/// `type` is a constant at every call.
CK_INLINE void scatter_add(const ck_scatter_args *a, const ck_thread *t, ck_dtype type) {
  const scatter_box box = scatter_share(a, t);
  scatter_start(a, &box, sizeof(float));
  const bool runs = a->index_inner == 0 || a->inner == 1;
  const int64_t width = box.i1 - box.i0, size = (int64_t)ck_dtype_bytes(type);
  for (int64_t o = box.o0; o < box.o1; ++o) {
    float *slab = (float *)a->dst + o * a->axis * a->inner;
    const char *updates = (const char *)a->updates + o * a->count * a->inner * size;
    for (int64_t k = 0; k < a->count; ++k) {
      const char *update = updates + k * a->inner * size;
      if (runs) {
        const int64_t row = scatter_row(a, &box, o, k, 0);
        if (row < 0) continue;
        float *dst = slab + row * a->inner + box.i0;
        if (width == 1) {
          *dst += update_at(update + box.i0 * size, type);
        } else {
          add_run(dst, update + box.i0 * size, type, width);
        }
      } else {
        for (int64_t i = box.i0; i < box.i1; ++i) {
          const int64_t row = scatter_row(a, &box, o, k, i);
          if (row >= 0) slab[row * a->inner + i] += update_at(update + i * size, type);
        }
      }
    }
  }
}

void CK_NAME(ck_scatter_add_f32)(const void *args, const ck_thread *t) {
  const ck_scatter_args *a = args;
  if (a->update_dtype == CK_BF16) {
    scatter_add(a, t, CK_BF16);
  } else {
    scatter_add(a, t, CK_F32);
  }
}
