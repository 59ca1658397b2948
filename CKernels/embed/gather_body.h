// Gathering rows of f32 as bf16 and the other way round, written once; embed_<level>.c compiles it
// for its level.
#include "../core/index.h"
#include "ck_gather.h"

/// d = s in another element type, n elements. The types are constants at every call.
CK_INLINE void cast_run(char *restrict d, ck_dtype d_type, const char *restrict s, ck_dtype s_type,
                        int64_t n) {
  const int64_t d_size = (int64_t)ck_dtype_bytes(d_type), s_size = (int64_t)ck_dtype_bytes(s_type);
  int64_t i = 0;
  for (; i + CK_LANES <= n; i += CK_LANES) {
    ck_store_as(d + i * d_size, d_type, ck_load_as_f32(s + i * s_size, s_type));
  }
  const int rest = (int)(n - i);
  if (rest == 0) return;
  ck_store_as_n(d + i * d_size, d_type, ck_load_as_f32_n(s + i * s_size, s_type, rest), rest);
}

void CK_NAME(ck_gather_cast)(const void *args, const ck_thread *t) {
  const ck_gather_args *a = args;
  const bool narrows = a->element_size == 4;
  const int64_t width = a->inner * (narrows ? 2 : 4), stride = a->inner * (narrows ? 4 : 2);
  int64_t begin, end;
  ck_share(a->outer * a->count, t, &begin, &end);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t o = item / a->count, k = item % a->count;
    const char *slab = (const char *)a->src + o * a->axis * stride;
    char *dst = (char *)a->dst + item * width;
    if (k + 1 < a->count) {
      // The rows lie anywhere: the processor does not guess where the next one starts.
      const int64_t next =
          index_at(a->indices, a->index_dtype, o * a->index_outer + (k + 1) * a->index_count);
      if (next >= 0 && next < a->axis) {
        for (int64_t i = 0; i < stride && i < 512; i += 64) {
          __builtin_prefetch(slab + next * stride + i);
        }
      }
    }
    const int64_t at = o * a->index_outer + k * a->index_count;
    const int64_t index = index_at(a->indices, a->index_dtype, at);
    if (index < 0 || index >= a->axis) {
      note_bad_index(a->error, at, index);
      memset(dst, 0, (size_t)width);
    } else if (narrows) {
      cast_run(dst, CK_BF16, slab + index * stride, CK_F32, a->inner);
    } else {
      cast_run(dst, CK_F32, slab + index * stride, CK_BF16, a->inner);
    }
  }
}
