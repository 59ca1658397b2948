// Integer scans, for every level: counts and offsets, not a training step's hot path. Sums and
// products wrap around, so they are done unsigned.
#include "ck_scan.h"

void ck_scan_i32_ref(const void *args, const ck_thread *t);
void ck_scan_i64_ref(const void *args, const ck_thread *t);

static int32_t apply_i32(int32_t kind, int32_t a, int32_t b) {
  switch (kind) {
    case CK_SCAN_SUM:
      return (int32_t)((uint32_t)a + (uint32_t)b);
    case CK_SCAN_PRODUCT:
      return (int32_t)((uint32_t)a * (uint32_t)b);
    case CK_SCAN_MAX:
      return a > b ? a : b;
    default:
      return a < b ? a : b;
  }
}

static int64_t apply_i64(int32_t kind, int64_t a, int64_t b) {
  switch (kind) {
    case CK_SCAN_SUM:
      return (int64_t)((uint64_t)a + (uint64_t)b);
    case CK_SCAN_PRODUCT:
      return (int64_t)((uint64_t)a * (uint64_t)b);
    case CK_SCAN_MAX:
      return a > b ? a : b;
    default:
      return a < b ? a : b;
  }
}

void ck_scan_i32_ref(const void *args, const ck_thread *t) {
  const ck_scan_args *a = args;
  const int32_t neutral[] = {0, 1, INT32_MIN, INT32_MAX};
  int64_t begin, end;
  ck_share(a->outer * a->inner, t, &begin, &end);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t base = item / a->inner * a->axis * a->inner + item % a->inner;
    int32_t sum = neutral[a->kind];
    for (int64_t k = 0; k < a->axis; ++k) {
      const int64_t at = base + (a->reverse ? a->axis - 1 - k : k) * a->inner;
      const int32_t next = apply_i32(a->kind, sum, ((const int32_t *)a->x)[at]);
      ((int32_t *)a->y)[at] = a->exclusive ? sum : next;
      sum = next;
    }
  }
}

void ck_scan_i64_ref(const void *args, const ck_thread *t) {
  const ck_scan_args *a = args;
  const int64_t neutral[] = {0, 1, INT64_MIN, INT64_MAX};
  int64_t begin, end;
  ck_share(a->outer * a->inner, t, &begin, &end);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t base = item / a->inner * a->axis * a->inner + item % a->inner;
    int64_t sum = neutral[a->kind];
    for (int64_t k = 0; k < a->axis; ++k) {
      const int64_t at = base + (a->reverse ? a->axis - 1 - k : k) * a->inner;
      const int64_t next = apply_i64(a->kind, sum, ((const int64_t *)a->x)[at]);
      ((int64_t *)a->y)[at] = a->exclusive ? sum : next;
      sum = next;
    }
  }
}
