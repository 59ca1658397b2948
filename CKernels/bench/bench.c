// The table of bench_kernels.inc, and the choice from it.
#include "ck_bench.h"

#define CK_BENCH(isa, fma, copy, read, dot, lanes) \
  void fma(const void *args, const ck_thread *t);  \
  void copy(const void *args, const ck_thread *t); \
  void read(const void *args, const ck_thread *t);
#include "bench_kernels.inc"
#undef CK_BENCH

#if defined(__x86_64__)
void ck_bench_dot_bf16_avx512bf16(const void *args, const ck_thread *t);
#endif

static const ck_bench_row rows[] = {
#define CK_BENCH(isa, fma, copy, read, dot, lanes) {isa, #fma, fma, copy, read, dot, lanes},
#include "bench_kernels.inc"
#undef CK_BENCH
};

enum { row_count = sizeof rows / sizeof rows[0] };

const ck_bench_row *ck_bench_rows(size_t *count) {
  *count = row_count;
  return rows;
}

static const ck_bench_row *row_for(ck_isa isa) {
  for (int i = 0; i < row_count - 1; i++) {
    if (rows[i].isa <= isa) return &rows[i];
  }
  return &rows[row_count - 1];
}

ck_kernel ck_bench_fma(ck_isa isa) { return row_for(isa)->fma; }
ck_kernel ck_bench_dot(ck_isa isa) { return row_for(isa)->dot; }
ck_kernel ck_bench_copy(ck_isa isa) { return row_for(isa)->copy; }
ck_kernel ck_bench_read(ck_isa isa) { return row_for(isa)->read; }
int64_t ck_bench_fma_lanes(ck_isa isa) { return row_for(isa)->lanes; }
const char *ck_bench_compiler(void) { return __VERSION__; }
