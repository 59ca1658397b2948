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

/// Adds the updates [k0, k1) of `o` to a slab of the result's shape. `type` is a constant at every
/// call.
CK_INLINE void add_updates(const ck_scatter_args *a, const scatter_box *box, int64_t o, float *slab,
                           int64_t k0, int64_t k1, ck_dtype type) {
  const bool runs = a->index_inner == 0 || a->inner == 1;
  const int64_t width = box->i1 - box->i0, size = (int64_t)ck_dtype_bytes(type);
  const char *updates = (const char *)a->updates + (o * a->count * a->inner + box->i0) * size;
  slab += box->i0;
  if (runs && width == 1) {
    for (int64_t k = k0; k < k1; ++k) {
      const int64_t row = scatter_row(a, box, o, k, 0);
      if (row >= 0) slab[row * a->inner] += update_at(updates + k * a->inner * size, type);
    }
  } else if (runs) {
    for (int64_t k = k0; k < k1; ++k) {
      const int64_t row = scatter_row(a, box, o, k, 0);
      if (row >= 0) add_run(slab + row * a->inner, updates + k * a->inner * size, type, width);
    }
  } else {
    for (int64_t k = k0; k < k1; ++k) {
      const char *update = updates + k * a->inner * size;
      for (int64_t i = 0; i < width; ++i) {
        const int64_t row = scatter_row(a, box, o, k, box->i0 + i);
        if (row >= 0) slab[row * a->inner + i] += update_at(update + i * size, type);
      }
    }
  }
}

/// sum += block, and what rounding leaves out (Knuth, "The Art of Computer Programming", 4.2.2) to
/// `rest`; n elements. The block becomes 0.
CK_INLINE void add_block(float *sum, float *rest, float *block, int64_t n) {
  for (int64_t i = 0; i < n; i += CK_LANES) {
    const int count = n - i < CK_LANES ? (int)(n - i) : CK_LANES;
    const ck_v16f s = ck_load_n(sum + i, count), b = ck_load_n(block + i, count);
    const ck_v16f next = s + b, part = next - s;
    const ck_v16f e = (s - (next - part)) + (b - part);
    // Not finite where the sum is not.
    const ck_v16f lost = ck_select(e == e, e, ck_splat(0));
    ck_store_n(rest + i, ck_load_n(rest + i, count) + lost, count);
    ck_store_n(sum + i, next, count);
    ck_store_n(block + i, ck_splat(0), count);
  }
}

CK_INLINE void add_rest(float *sum, const float *rest, int64_t n) {
  for (int64_t i = 0; i < n; i += CK_LANES) {
    const int count = n - i < CK_LANES ? (int)(n - i) : CK_LANES;
    ck_store_n(sum + i, ck_load_n(sum + i, count) + ck_load_n(rest + i, count), count);
  }
}

/// The updates of `o`, a block after the other, each added up in the workspace.
CK_INLINE void add_in_blocks(const ck_scatter_args *a, const scatter_box *box, int64_t o,
                             float *slab, ck_dtype type) {
  const int64_t slab_size = a->axis * a->inner, size = scatter_block(a);
  float *block = (float *)a->workspace + o * slab_size;
  float *rest = (float *)a->workspace + (a->outer + o) * slab_size;
  // The box in runs that lie together: all of it, or row by row.
  const bool whole = box->i0 == 0 && box->i1 == a->inner;
  const int64_t runs = whole ? 1 : box->d1 - box->d0;
  const int64_t width = whole ? (box->d1 - box->d0) * a->inner : box->i1 - box->i0;
  const int64_t first = box->d0 * a->inner + box->i0;
  for (int64_t r = 0; r < runs; ++r) {
    memset(block + first + r * a->inner, 0, (size_t)width * sizeof(float));
    memset(rest + first + r * a->inner, 0, (size_t)width * sizeof(float));
  }
  for (int64_t k = 0; k < a->count; k += size) {
    const int64_t end = k + size < a->count ? k + size : a->count;
    add_updates(a, box, o, block, k, end, type);
    for (int64_t r = 0; r < runs; ++r) {
      const int64_t at = first + r * a->inner;
      add_block(slab + at, rest + at, block + at, width);
    }
  }
  for (int64_t r = 0; r < runs; ++r) {
    const int64_t at = first + r * a->inner;
    add_rest(slab + at, rest + at, width);
  }
}

CK_INLINE void scatter_add(const ck_scatter_args *a, const ck_thread *t, ck_dtype type) {
  const scatter_box box = scatter_share(a, t);
  scatter_start(a, &box, sizeof(float));
  const bool has_blocks = scatter_has_blocks(a);
  for (int64_t o = box.o0; o < box.o1; ++o) {
    float *slab = (float *)a->dst + o * a->axis * a->inner;
    if (has_blocks) {
      add_in_blocks(a, &box, o, slab, type);
    } else {
      add_updates(a, &box, o, slab, 0, a->count, type);
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
