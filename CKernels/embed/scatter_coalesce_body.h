// Updates of one row added up, written once; embed_<level>.c compiles it for its level, behind
// scatter_body.h, whose additions it makes.
//
// One thread sorts the indices by row, and by place within a row; then every thread adds up the
// rows that begin in its share of them.
#include "../core/packed_sort.h"

#ifndef CK_EMBED_ABSENT
// Behind every row: an index that is none.
#define CK_EMBED_ABSENT UINT32_MAX
#endif

CK_INLINE void sort_indices(const ck_coalesce_args *a) {
  uint64_t *keys = a->workspace;
  for (int64_t k = 0; k < a->count; ++k) {
    const int64_t row = index_at(a->indices, a->index_dtype, k);
    const bool is_row = row >= 0 && row < a->axis;
    if (!is_row) note_bad_index(a->error, k, row);
    keys[k] = (uint64_t)(is_row ? (uint32_t)row : CK_EMBED_ABSENT) << 32 | (uint64_t)k;
  }
  uint64_t *sorted = sort_packed(keys, keys + a->count, a->count);
  if (sorted != keys) memcpy(keys, sorted, (size_t)a->count * sizeof *keys);
}

CK_INLINE void coalesce(const ck_coalesce_args *a, const ck_thread *t, ck_dtype type) {
  const uint64_t *keys = a->workspace;
  const int64_t size = (int64_t)ck_dtype_bytes(type);
  int64_t begin, end;
  ck_share(a->count, t, &begin, &end);
  for (int64_t at = begin; at < end; ++at) {
    const uint32_t row = (uint32_t)(keys[at] >> 32);
    const int64_t place = (int64_t)(keys[at] & UINT32_MAX);
    const bool is_first =
        row != CK_EMBED_ABSENT && (at == 0 || (uint32_t)(keys[at - 1] >> 32) != row);
    float *sum = a->sums + place * a->inner;
    memset(sum, 0, (size_t)a->inner * sizeof(float));
    a->rows[place] = is_first ? (int32_t)row : -1;
    if (!is_first) continue;
    for (int64_t i = at; i < a->count && (uint32_t)(keys[i] >> 32) == row; ++i) {
      const int64_t from = (int64_t)(keys[i] & UINT32_MAX);
      add_run(sum, (const char *)a->updates + from * a->inner * size, type, a->inner);
    }
  }
}

void CK_NAME(ck_coalesce)(const void *args, const ck_thread *t) {
  const ck_coalesce_args *a = args;
  if (a->count == 0) return;
  if (t->index == 0) sort_indices(a);
  ck_barrier(t);
  if (a->update_dtype == CK_BF16) {
    coalesce(a, t, CK_BF16);
  } else {
    coalesce(a, t, CK_F32);
  }
}
