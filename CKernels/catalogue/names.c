// The names of all kernels, by their addresses: the families' lists looked through.
#include "CKernels.h"

typedef const ck_entry *(*list)(size_t *count);

static const list lists[] = {
    ck_allreduce_entries,     ck_attention_entries,
    ck_batch_norm_entries,    ck_bound_entries,
    ck_conv_entries,          ck_copy_entries,
    ck_cross_entropy_entries, ck_gather_entries,
    ck_gemm_pack_entries,     ck_linear_cross_entropy_entries,
    ck_lstm_entries,          ck_norm_entries,
    ck_optim_entries,         ck_pixels_entries,
    ck_pool_entries,          ck_random_entries,
    ck_resample_entries,      ck_rotary_entries,
    ck_scan_entries,          ck_softmax_entries,
    ck_sort_entries,
};

const char *ck_kernel_name(ck_kernel kernel) {
  size_t count;
  for (size_t i = 0; i < sizeof lists / sizeof lists[0]; ++i) {
    const ck_entry *entries = lists[i](&count);
    for (size_t k = 0; k < count; ++k) {
      if (entries[k].kernel == kernel) return entries[k].name;
    }
  }
  const ck_gemm_row *products = ck_gemm_rows(&count);
  for (size_t k = 0; k < count; ++k) {
    if (products[k].kernel == kernel) return products[k].name;
  }
  int32_t levels;
  const ck_loop_kernel_row *loops = ck_loop_kernel_rows(&levels);
  for (int32_t k = 0; k < levels; ++k) {
    if (loops[k].kernel == kernel) return loops[k].name;
    if (loops[k].multi == kernel) return loops[k].multi_name;
  }
  if (kernel == ck_loop_outer) return "ck_loop_outer";
  if (kernel == ck_repeat) return "ck_repeat";
  return NULL;
}
