// Scatter-add of doubles (the interpreter's precision) and integers (counts, histograms), for every
// level: none of them is on a training step's hot path.
#include <string.h>

#include "scatter_plan.h"

void ck_scatter_add_f64_ref(const void *args, const ck_thread *t);
void ck_scatter_add_i32_ref(const void *args, const ck_thread *t);
void ck_scatter_add_i64_ref(const void *args, const ck_thread *t);

void ck_scatter_add_f64_ref(const void *args, const ck_thread *t) {
  const ck_scatter_args *a = args;
  const scatter_box box = scatter_share(a, t);
  scatter_start(a, &box, sizeof(double));
  for (int64_t o = box.o0; o < box.o1; ++o) {
    double *slab = (double *)a->dst + o * a->axis * a->inner;
    const double *updates = (const double *)a->updates + o * a->count * a->inner;
    for (int64_t k = 0; k < a->count; ++k) {
      for (int64_t i = box.i0; i < box.i1; ++i) {
        const int64_t row = scatter_row(a, &box, o, k, i);
        if (row >= 0) slab[row * a->inner + i] += updates[k * a->inner + i];
      }
    }
  }
}

// Integer sums wrap around, so they are done unsigned.

void ck_scatter_add_i32_ref(const void *args, const ck_thread *t) {
  const ck_scatter_args *a = args;
  const scatter_box box = scatter_share(a, t);
  scatter_start(a, &box, sizeof(uint32_t));
  for (int64_t o = box.o0; o < box.o1; ++o) {
    uint32_t *slab = (uint32_t *)a->dst + o * a->axis * a->inner;
    const uint32_t *updates = (const uint32_t *)a->updates + o * a->count * a->inner;
    for (int64_t k = 0; k < a->count; ++k) {
      for (int64_t i = box.i0; i < box.i1; ++i) {
        const int64_t row = scatter_row(a, &box, o, k, i);
        if (row >= 0) slab[row * a->inner + i] += updates[k * a->inner + i];
      }
    }
  }
}

void ck_scatter_add_i64_ref(const void *args, const ck_thread *t) {
  const ck_scatter_args *a = args;
  const scatter_box box = scatter_share(a, t);
  scatter_start(a, &box, sizeof(uint64_t));
  for (int64_t o = box.o0; o < box.o1; ++o) {
    uint64_t *slab = (uint64_t *)a->dst + o * a->axis * a->inner;
    const uint64_t *updates = (const uint64_t *)a->updates + o * a->count * a->inner;
    for (int64_t k = 0; k < a->count; ++k) {
      for (int64_t i = box.i0; i < box.i1; ++i) {
        const int64_t row = scatter_row(a, &box, o, k, i);
        if (row >= 0) slab[row * a->inner + i] += updates[k * a->inner + i];
      }
    }
  }
}
