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

/// Whether the op's words are pairs: of channels of the source, where groups do not cut one; of
/// places, for the weights.
static bool has_pairs(const ck_conv_args *g, ck_conv_op op) {
  if (conv_is_depthwise(g)) return false;
  if (op == CK_CONV_WEIGHTS) return true;
  const int64_t channels = op == CK_CONV_DATA ? g->out_channels : g->in_channels;
  return g->groups == 1 || channels / g->groups % 2 == 0;
}

static bool is_narrow(const ck_conv_args *g) {
  return g->a_type != CK_F32 || g->b_type != CK_F32 || g->c_type != CK_F32 ||
         g->epilogue.other_type != CK_F32;
}

bool ck_conv_by_pairs(const ck_conv_args *g, ck_conv_op op, ck_isa isa) {
  return isa >= CK_ISA_AVX512BF16 && has_pairs(g, op) &&
         (is_narrow(g) || (g->precision == CK_GEMM_MIXED && ck_multiplies_bf16_pairs_fast()));
}

static conv_way way_of(const ck_conv_args *g, ck_conv_op op, ck_isa isa) {
#if defined(__x86_64__)
  if (ck_conv_by_pairs(g, op, isa))
    return (conv_way){gemm_pairs_avx512bf16.level, &gemm_pairs_avx512bf16};
  if (is_narrow(g)) return (conv_way){0};
  if (isa >= CK_ISA_AVX512) return (conv_way){&gemm_avx512, NULL};
  if (isa >= CK_ISA_AVX2) return (conv_way){&gemm_avx2, NULL};
#endif
  (void)g, (void)op, (void)isa;
  return (conv_way){0};
}

#if defined(__x86_64__)
static void run(const ck_conv_args *g, ck_conv_op op, const ck_thread *t, ck_isa isa) {
  const conv_way way = way_of(g, op, isa);
  const bool is_weights = op == CK_CONV_WEIGHTS;
  if (!way.level) {
    static const ck_kernel references[] = {
        ck_conv_forward_ref,
        ck_conv_data_ref,
        ck_conv_weights_ref,
    };
    references[op](g, t);
  } else if (conv_is_depthwise(g)) {
    const depth_level *depth = isa >= CK_ISA_AVX512 ? &depth_avx512 : &depth_avx2;
    if (is_weights) {
      conv_depth_weights_run(g, t, depth);
    } else {
      conv_depth_run(g, op, t, depth);
    }
  } else if (conv_few_takes(g, op, way)) {
    conv_few_run(g, op, t, way.level);
  } else if (!is_weights) {
    conv_gather_run(g, op, t, way);
  } else if (way.narrow) {
    conv_pair_weights_run(g, t, way.narrow);
  } else {
    conv_weights_run(g, t, way.level);
  }
}

void ck_conv_forward_avx2(const void *args, const ck_thread *t) {
  run(args, CK_CONV_FORWARD, t, CK_ISA_AVX2);
}
void ck_conv_data_avx2(const void *args, const ck_thread *t) {
  run(args, CK_CONV_DATA, t, CK_ISA_AVX2);
}
void ck_conv_weights_avx2(const void *args, const ck_thread *t) {
  run(args, CK_CONV_WEIGHTS, t, CK_ISA_AVX2);
}
void ck_conv_forward_avx512(const void *args, const ck_thread *t) {
  run(args, CK_CONV_FORWARD, t, CK_ISA_AVX512);
}
void ck_conv_data_avx512(const void *args, const ck_thread *t) {
  run(args, CK_CONV_DATA, t, CK_ISA_AVX512);
}
void ck_conv_weights_avx512(const void *args, const ck_thread *t) {
  run(args, CK_CONV_WEIGHTS, t, CK_ISA_AVX512);
}
void ck_conv_forward_avx512bf16(const void *args, const ck_thread *t) {
  run(args, CK_CONV_FORWARD, t, CK_ISA_AVX512BF16);
}
void ck_conv_data_avx512bf16(const void *args, const ck_thread *t) {
  run(args, CK_CONV_DATA, t, CK_ISA_AVX512BF16);
}
void ck_conv_weights_avx512bf16(const void *args, const ck_thread *t) {
  run(args, CK_CONV_WEIGHTS, t, CK_ISA_AVX512BF16);
}
#endif

size_t ck_conv_scratch_bytes(const ck_conv_args *g, ck_conv_op op, ck_isa isa) {
  const conv_way way = way_of(g, op, isa);
  if (!way.level) {
    const ck_loop_args *program = ck_conv_program(g);
    if (!program) return 0;
    const int64_t channels = op == CK_CONV_DATA ? g->in_channels : g->out_channels;
    return (size_t)ceiling(channels, 16) * 64 + ck_loop_scratch_bytes(program);
  }
  if (conv_is_depthwise(g))
    return op == CK_CONV_WEIGHTS ? conv_depth_weights_scratch_bytes(g)
                                 : conv_depth_scratch_bytes(g, op);
  if (conv_few_takes(g, op, way)) return conv_few_scratch_bytes(g, op);
  if (op != CK_CONV_WEIGHTS) return conv_gather_scratch_bytes(g, op, way);
  return way.narrow ? conv_pair_weights_scratch_bytes(g, way.narrow)
                    : conv_weights_scratch_bytes(g, way.level);
}

size_t ck_conv_workspace_bytes(const ck_conv_args *g, ck_conv_op op, ck_isa isa) {
  const conv_way way = way_of(g, op, isa);
  if (!way.level) return 0;
  if (conv_is_depthwise(g))
    return op == CK_CONV_WEIGHTS ? conv_depth_weights_workspace_bytes(g)
                                 : conv_depth_workspace_bytes(g);
  if (conv_few_takes(g, op, way)) return conv_few_workspace_bytes(g);
  if (op != CK_CONV_WEIGHTS) return conv_gather_workspace_bytes(g, op, way);
  return way.narrow ? conv_pair_weights_workspace_bytes(g) : conv_weights_workspace_bytes(g);
}

double ck_conv_nanoseconds(const ck_conv_args *g, ck_conv_op op, ck_isa isa) {
  const ck_rates *r = ck_rates_here(isa);
  const conv_way way = way_of(g, op, isa);
  const gemm_level *level = way.level;
  double products = ck_conv_products(g);
  if (!level) return products / ck_rates_here(CK_ISA_REF)->multiply_adds;
  const double rate = way.narrow ? r->pairs : r->multiply_adds;
  if (conv_is_depthwise(g)) {
    // Channels are whole vectors, and so few taps make half of what products do.
    return 2 * products * (double)depth_padded(g) / (double)g->in_channels / r->multiply_adds;
  }
  // Of few channels, lanes are places.
  if (conv_few_takes(g, op, way)) return products / rate;
  // Columns of tiles are whole vectors.
  const int64_t columns = (op == CK_CONV_FORWARD ? g->out_channels : g->in_channels) / g->groups;
  const int64_t filled = columns * (op == CK_CONV_WEIGHTS && conv_joins_taps(g) ? g->kernel[2] : 1);
  products *=
      (double)(ceiling(filled, level->vector) * level->vector) / (double)greatest(filled, 1);
  const double weights =
      (double)(g->out_channels * conv_product(g->kernel)) * (double)(g->in_channels / g->groups);
  return products / rate + (op == CK_CONV_WEIGHTS ? 0 : weights * 4 / r->packing);
}
