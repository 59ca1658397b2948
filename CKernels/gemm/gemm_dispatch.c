// The matrix products' list: which entry a level runs, and what it needs.
#include "gemm_internal.h"

static const ck_gemm_row rows[] = {
#define CK_GEMM(isa, name, rows, columns, consistent) {isa, #name, name, rows, columns, consistent},
#include "gemm_kernels.inc"
#undef CK_GEMM
};

const ck_gemm_row *ck_gemm_rows(size_t *count) {
  *count = sizeof rows / sizeof *rows;
  return rows;
}

ck_kernel ck_gemm(ck_isa isa) {
  const ck_gemm_row *row = rows;
  while (row->isa > isa) row++;
  return row->kernel;
}

const gemm_level *gemm_level_of(ck_isa isa) {
#if defined(__x86_64__)
  if (isa >= CK_ISA_AVX512) return &gemm_avx512;
  if (isa >= CK_ISA_AVX2) return &gemm_avx2;
#endif
  (void)isa;
  return NULL;
}

size_t ck_gemm_scratch_bytes(const ck_gemm_args *args, ck_isa isa) {
  const gemm_level *level = gemm_level_of(isa);
  if (level) return gemm_scratch_bytes(args, level);
  const ck_loop_args *epilogue = ck_gemm_epilogue(args);
  if (!epilogue) return 0;
  return (size_t)gemm_ref_row(args) * sizeof(float) + ck_loop_scratch_bytes(epilogue);
}

size_t ck_gemm_workspace_bytes(const ck_gemm_args *args, ck_isa isa) {
  (void)args, (void)isa;
  return 0;
}

// MARK: B packed beforehand

// The reference keeps plain rows: [K, N].
static void pack_ref(const void *args, const ck_thread *t) {
  const ck_gemm_pack_args *g = args;
  int64_t begin, end;
  ck_share(g->count * g->K, t, &begin, &end);
  for (int64_t row = begin; row < end; row++)
    for (int64_t j = 0; j < g->N; j++)
      g->packed[row * g->N + j] =
          g->b[row / g->K * g->b_batch + row % g->K * g->b_row + j * g->b_col];
}

#if defined(__x86_64__)
static void pack_avx2(const void *args, const ck_thread *t) { gemm_pack_run(args, t, &gemm_avx2); }
static void pack_avx512(const void *args, const ck_thread *t) {
  gemm_pack_run(args, t, &gemm_avx512);
}
#endif

ck_kernel ck_gemm_pack_b(ck_isa isa) {
#if defined(__x86_64__)
  if (isa >= CK_ISA_AVX512) return pack_avx512;
  if (isa >= CK_ISA_AVX2) return pack_avx2;
#endif
  (void)isa;
  return pack_ref;
}

size_t ck_gemm_packed_floats(int64_t K, int64_t N, ck_isa isa) {
  const gemm_level *level = gemm_level_of(isa);
  const int64_t vector = level ? level->vector : 1;
  return (size_t)((N + vector - 1) / vector * vector * K);
}
