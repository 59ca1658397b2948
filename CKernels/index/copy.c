// The copy family's table, and the operations that are memcpy and fill: padding, concatenation,
// bytes as they lie.
//
// The strided copy is copy_body.h, compiled per level in copy_<level>.c.
#include "ck_copy.h"

#include <string.h>

#define CK_COPY(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "copy_kernels.inc"
#undef CK_COPY

static const ck_entry entries[] = {
#define CK_COPY(level, operation, function, same_bits) \
  {level, CK_COPY_##operation, same_bits, #function, function},
#include "copy_kernels.inc"
#undef CK_COPY
};

const ck_entry *ck_copy_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_copy(ck_copy_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}

static void fill(char *dst, int64_t n, int32_t size, uint64_t bits) {
  switch (size) {
    case 1:
      memset(dst, (int)(bits & 0xff), (size_t)n);
      break;
    case 2:
      for (int64_t i = 0; i < n; ++i) ((uint16_t *)dst)[i] = (uint16_t)bits;
      break;
    case 4:
      for (int64_t i = 0; i < n; ++i) ((uint32_t *)dst)[i] = (uint32_t)bits;
      break;
    default:
      for (int64_t i = 0; i < n; ++i) ((uint64_t *)dst)[i] = bits;
      break;
  }
}

static void spread(char *dst, const char *src, int64_t n, int64_t step, int32_t size) {
  for (int64_t i = 0; i < n; ++i) memcpy(dst + i * step * size, src + i * size, (size_t)size);
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

/// One row of the destination (its last dimension): fill, the source's row, fill.
static void pad_row(const ck_pad_args *a, char *dst, const char *src) {
  const int32_t d = a->rank - 1, size = a->element_size;
  const int64_t n = a->dst_sizes[d], m = a->src_sizes[d], low = a->low[d], step = a->step[d];
  // The source elements that land inside 0 ..< n.
  int64_t first = low >= 0 ? 0 : -floor_div(low, step);
  int64_t end = low >= n ? 0 : floor_div(n - 1 - low, step) + 1;
  if (end > m) end = m;
  if (src == NULL || first >= end) {
    fill(dst, n, size, a->fill);
    return;
  }
  const int64_t from = low + first * step, to = low + (end - 1) * step + 1;
  fill(dst, from, size, a->fill);
  if (step == 1) {
    memcpy(dst + from * size, src + first * size, (size_t)((end - first) * size));
  } else {
    fill(dst + from * size, to - from, size, a->fill);
    spread(dst + from * size, src + first * size, end - first, step, size);
  }
  fill(dst + to * size, n - to, size, a->fill);
}

void ck_copy_pad_ref(const void *args, const ck_thread *t) {
  const ck_pad_args *a = args;
  const int32_t last = a->rank - 1, size = a->element_size;
  const int64_t n = a->dst_sizes[last], m = a->src_sizes[last];
  int64_t rows = 1;
  for (int32_t d = 0; d < last; ++d) rows *= a->dst_sizes[d];
  if (n == 0 || rows == 0) return;
  int64_t begin, end;
  ck_share(rows, t, &begin, &end);
  for (int64_t row = begin; row < end; ++row) {
    // Which source row lands here, if any: one coordinate at a time, last to first.
    int64_t rest = row, source = 0, stride = 1;
    bool inside = m > 0;
    for (int32_t d = last - 1; d >= 0; --d) {
      const int64_t at = rest % a->dst_sizes[d] - a->low[d];
      rest /= a->dst_sizes[d];
      inside = inside && at >= 0 && at % a->step[d] == 0 && at / a->step[d] < a->src_sizes[d];
      if (inside) source += at / a->step[d] * stride;
      stride *= a->src_sizes[d];
    }
    pad_row(a, (char *)a->dst + row * n * size,
            inside ? (const char *)a->src + source * m * size : NULL);
  }
}

void ck_copy_concat_ref(const void *args, const ck_thread *t) {
  const ck_concat_args *a = args;
  int64_t row_bytes = 0;
  for (int32_t k = 0; k < a->count; ++k) row_bytes += a->bytes[k];
  // Whole rows where there are many, else pieces of each run.
  const int64_t piece = 1 << 16;
  int64_t pieces = 0, first[CK_CONCAT_MAX];
  for (int32_t k = 0; k < a->count; ++k) {
    first[k] = pieces;
    pieces += a->outer * ((a->bytes[k] + piece - 1) / piece);
  }
  int64_t begin, end;
  ck_share(pieces, t, &begin, &end);
  int64_t offset = 0;
  for (int32_t k = 0; k < a->count; ++k) {
    const int64_t per_row = (a->bytes[k] + piece - 1) / piece;
    const int64_t stop = first[k] + a->outer * per_row;
    for (int64_t i = begin > first[k] ? begin : first[k]; i < end && i < stop; ++i) {
      const int64_t o = (i - first[k]) / per_row, at = (i - first[k]) % per_row * piece;
      const int64_t n = a->bytes[k] - at < piece ? a->bytes[k] - at : piece;
      memcpy((char *)a->dst + o * row_bytes + offset + at,
             (const char *)a->src[k] + o * a->bytes[k] + at, (size_t)n);
    }
    offset += a->bytes[k];
  }
}

void ck_copy_bytes_ref(const void *args, const ck_thread *t) {
  const ck_bytes_args *a = args;
  int64_t begin, end;
  ck_share((a->count + CK_COPY_RUN - 1) / CK_COPY_RUN, t, &begin, &end);
  begin *= CK_COPY_RUN, end *= CK_COPY_RUN;
  if (end > a->count) end = a->count;
  if (begin < end)
    memcpy((char *)a->dst + begin, (const char *)a->src + begin, (size_t)(end - begin));
}
