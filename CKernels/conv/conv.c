// The convolutions' list: which entry a level runs, and what it needs.
#include "ck_rates.h"
#include "conv_depth.h"
#include "conv_internal.h"

static const ck_entry entries[] = {
#define CK_CONV(isa, op, name, consistent) {isa, CK_CONV_##op, consistent, #name, name},
#include "conv_kernels.inc"
#undef CK_CONV
};

const ck_entry *ck_conv_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_conv(ck_conv_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], op, isa);
}

/// NULL for the reference.
static const gemm_level *level_of(ck_isa isa) {
#if defined(__x86_64__)
  if (isa >= CK_ISA_AVX512) return &gemm_avx512;
  if (isa >= CK_ISA_AVX2) return &gemm_avx2;
#endif
  (void)isa;
  return NULL;
}

#if defined(__x86_64__)
static void gather(const ck_conv_args *g, ck_conv_op op, const ck_thread *t,
                   const gemm_level *level, const depth_level *depth) {
  if (conv_is_depthwise(g)) {
    conv_depth_run(g, op, t, depth);
  } else {
    conv_gather_run(g, op, t, level);
  }
}

static void sum_weights(const ck_conv_args *g, const ck_thread *t, const gemm_level *level,
                        const depth_level *depth) {
  if (conv_is_depthwise(g)) {
    conv_depth_weights_run(g, t, depth);
  } else {
    conv_weights_run(g, t, level);
  }
}

void ck_conv_forward_avx512(const void *args, const ck_thread *t) {
  gather(args, CK_CONV_FORWARD, t, &gemm_avx512, &depth_avx512);
}
void ck_conv_forward_avx2(const void *args, const ck_thread *t) {
  gather(args, CK_CONV_FORWARD, t, &gemm_avx2, &depth_avx2);
}
void ck_conv_data_avx512(const void *args, const ck_thread *t) {
  gather(args, CK_CONV_DATA, t, &gemm_avx512, &depth_avx512);
}
void ck_conv_data_avx2(const void *args, const ck_thread *t) {
  gather(args, CK_CONV_DATA, t, &gemm_avx2, &depth_avx2);
}
void ck_conv_weights_avx512(const void *args, const ck_thread *t) {
  sum_weights(args, t, &gemm_avx512, &depth_avx512);
}
void ck_conv_weights_avx2(const void *args, const ck_thread *t) {
  sum_weights(args, t, &gemm_avx2, &depth_avx2);
}
#endif

size_t ck_conv_scratch_bytes(const ck_conv_args *g, ck_conv_op op, ck_isa isa) {
  const gemm_level *level = level_of(isa);
  if (!level) {
    const ck_loop_args *program = ck_conv_program(g);
    if (!program) return 0;
    const int64_t channels = op == CK_CONV_DATA ? g->in_channels : g->out_channels;
    return (size_t)ceiling(channels, 16) * 64 + ck_loop_scratch_bytes(program);
  }
  if (conv_is_depthwise(g))
    return op == CK_CONV_WEIGHTS ? conv_depth_weights_scratch_bytes(g)
                                 : conv_depth_scratch_bytes(g, op);
  return op == CK_CONV_WEIGHTS ? conv_weights_scratch_bytes(g, level)
                               : conv_gather_scratch_bytes(g, op, level);
}

size_t ck_conv_workspace_bytes(const ck_conv_args *g, ck_conv_op op, ck_isa isa) {
  const gemm_level *level = level_of(isa);
  if (!level) return 0;
  if (conv_is_depthwise(g))
    return op == CK_CONV_WEIGHTS ? conv_depth_weights_workspace_bytes(g)
                                 : conv_depth_workspace_bytes(g);
  return op == CK_CONV_WEIGHTS ? conv_weights_workspace_bytes(g)
                               : conv_gather_workspace_bytes(g, op, level);
}

double ck_conv_nanoseconds(const ck_conv_args *g, ck_conv_op op, ck_isa isa) {
  const ck_rates *r = ck_rates_here(isa);
  const gemm_level *level = level_of(isa);
  double products = ck_conv_products(g);
  if (!level) return products / r->multiply_adds;
  if (conv_is_depthwise(g)) {
    // Channels are whole vectors, and so few taps make half of what products do.
    return 2 * products * (double)depth_padded(g) / (double)g->in_channels / r->multiply_adds;
  }
  // Columns of tiles are whole vectors.
  const int64_t columns = (op == CK_CONV_FORWARD ? g->out_channels : g->in_channels) / g->groups;
  const int64_t filled = columns * (op == CK_CONV_WEIGHTS && conv_joins_taps(g) ? g->kernel[2] : 1);
  products *=
      (double)(ceiling(filled, level->vector) * level->vector) / (double)greatest(filled, 1);
  const double weights =
      (double)(g->out_channels * conv_product(g->kernel)) * (double)(g->in_channels / g->groups);
  return products / r->multiply_adds + (op == CK_CONV_WEIGHTS ? 0 : weights * 4 / r->packing);
}
