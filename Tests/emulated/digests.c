// Prints a digest of what each kernel computes, so that two architectures can be compared line by
// line: .ci/arm64 runs this program here and, under emulation, on arm64.
//
//   digests LEVEL THREADS     LEVEL as ck_isa_name has it
//
// Every line has a case and a hash of its results' bits. A NaN counts as one and the same: which
// payload an instruction makes is the processor's choice. Inputs keep away from denormal results,
// which processors flush before or after rounding.
#include "digest.h"

static ck_isa level;

// MARK: Matrix products

static void product(int64_t M, int64_t N, int64_t K, int form, int16_t type) {
  state = (uint64_t)(M * 31 + N * 7 + K + form);
  const bool a_turned = form & 1, b_turned = form & 2;
  float *a = numbers(M * K, false), *b = numbers(K * N, false), *c = numbers(M * N, false);
  float *bias = numbers(N, false), *other = numbers(M * N, false);
  if (type != CK_F32) {
    // The upper halves of f32 are bf16, and as f16 they are numbers too.
    uint16_t *half_a = (uint16_t *)a, *half_b = (uint16_t *)b;
    for (int64_t i = 0; i < M * K; i++) half_a[i] = (uint16_t)(0x3c00 + (next() & 0x83ff));
    for (int64_t i = 0; i < K * N; i++) half_b[i] = (uint16_t)(0x3c00 + (next() & 0x83ff));
  }
  ck_gemm_args g = {.c = c, .a = a, .b = b, .M = M, .N = N, .K = K, .c_row = N, .alpha = 1.25f};
  g.a_row = a_turned ? 1 : K, g.a_col = a_turned ? M : 1;
  g.b_row = b_turned ? 1 : N, g.b_col = b_turned ? K : 1;
  for (int d = 0; d < CK_GEMM_BATCH_DIMS; d++) g.batch[d] = 1;
  g.accumulate = form == 0;
  g.epilogue.bias = form == 3 ? bias : NULL;
  g.epilogue.relu = form == 3;
  g.a_type = g.b_type = type;
  if (form >= 4) {
    g.epilogue.other = other, g.epilogue.other_row = N;
    g.epilogue.combination = form == 4 ? CK_ADD : CK_GATE;
    if (!ck_gemm_combines(&g, false, level)) g.epilogue.combination = CK_ALONE;
  }
  run(ck_gemm(level), &g, ck_gemm_scratch_bytes(&g, level));
  char name[96];
  snprintf(name, sizeof name, "gemm %lldx%lldx%lld form %d type %d", (long long)M, (long long)N,
           (long long)K, form, type);
  report(name, c, M * N);
  free(a), free(b), free(c), free(bias), free(other);
}

static void products(void) {
  static const int64_t shapes[][3] = {{1, 1, 1},   {1, 37, 65},  {37, 1, 65},   {5, 7, 3},
                                      {14, 32, 9}, {16, 16, 16}, {33, 47, 530}, {65, 130, 70},
                                      {3, 5, 0},   {2, 300, 20}, {29, 64, 1100}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    for (int form = 0; form < 6; form++) {
      product(shapes[i][0], shapes[i][1], shapes[i][2], form, CK_F32);
    }
    // Sums of bf16 pairs have an order of their own at levels that have the instruction.
    if (level < CK_ISA_AVX512BF16) {
      product(shapes[i][0], shapes[i][1], shapes[i][2], 0, CK_BF16);
      product(shapes[i][0], shapes[i][1], shapes[i][2], 2, CK_F16);
    }
  }
}

// MARK: Loops

static ck_dtype stored(ck_class class) {
  switch (class) {
    case CK_CLASS_I32:
      return CK_I32;
    case CK_CLASS_I64:
      return CK_I64;
    case CK_CLASS_BOOL:
      return CK_BOOL;
    default:
      return CK_F32;
  }
}

static size_t size_of(ck_dtype dtype) { return dtype == CK_I64 ? 8 : dtype == CK_BOOL ? 1 : 4; }

static void *operand(ck_dtype dtype, int64_t count) {
  if (dtype == CK_F32) return numbers(count, true);
  char *p = room((size_t)count * 8);
  for (int64_t i = 0; i < count; i++) {
    const int64_t x = dtype == CK_BOOL ? next() & 1 : (int64_t)(next() % 97) * 2 - 95;
    const int32_t y = (int32_t)x;
    const uint8_t z = (uint8_t)x;
    if (dtype == CK_I64) memcpy(p + 8 * i, &x, 8);
    if (dtype == CK_I32) memcpy(p + 4 * i, &y, 4);
    if (dtype == CK_BOOL) memcpy(p + i, &z, 1);
  }
  return p;
}

/// An operation over rows x columns elements; a reduction of rows, columns or all.
static void loop(int op, int reduced_from, int reduced_dims) {
  enum { rows = 37, columns = 149 };
  const ck_op_info *info = ck_op_describe(op);
  state = (uint64_t)op;
  const int instructions = info->arity + 2;
  ck_loop_args *args = room(ck_loop_args_bytes(info->arity + 1, instructions));
  args->operands = info->arity + 1, args->instructions = instructions;
  args->dims = 2, args->extent[0] = rows, args->extent[1] = columns;
  args->first_reduced = reduced_from, args->reduced_dims = reduced_dims;
  ck_loop_instruction *code = ck_loop_instructions(args);
  int64_t stride[2] = {columns, 1};
  for (int k = 0; k < info->arity; k++) {
    ck_loop_operand *o = &ck_loop_operands(args)[k];
    o->dtype = (int16_t)stored(info->operand[k]);
    o->data = operand((ck_dtype)o->dtype, rows * columns);
    memcpy(o->stride, stride, sizeof stride);
    code[k] = (ck_loop_instruction){.op = CK_OP_load, .dst = (uint8_t)k, .a = (uint8_t)k};
  }
  code[info->arity] = (ck_loop_instruction){
      .op = (uint16_t)op, .dst = 3, .a = 0, .b = 1, .c = 2, .imm = {0.75f, 1.5f}};
  code[info->arity + 1] = (ck_loop_instruction){
      .op = CK_OP_store, .phase = info->reduces, .a = 3, .b = (uint8_t)info->arity};
  int64_t count = rows * columns;
  if (reduced_dims == 2) count = 1, stride[0] = stride[1] = 0;
  if (reduced_dims == 1 && reduced_from == 0) count = columns, stride[0] = 0;
  if (reduced_dims == 1 && reduced_from == 1) count = rows, stride[0] = 1, stride[1] = 0;
  ck_loop_operand *result = &ck_loop_operands(args)[info->arity];
  result->dtype = (int16_t)stored(info->result);
  result->data = room((size_t)(rows * columns) * 8);
  memcpy(result->stride, stride, sizeof stride);
  char name[96];
  snprintf(name, sizeof name, "loop %s reduced %d+%d", info->name, reduced_from, reduced_dims);
  if (!ck_loop_prepare(args)) {
    printf("%s is refused\n", name);
  } else {
    args->workspace = room(ck_loop_workspace_bytes(args));
    run(ck_loop(level), args, ck_loop_scratch_bytes(args));
    if (result->dtype == CK_F32) {
      report(name, result->data, count);
    } else {
      report_bytes(name, result->data, (size_t)count * size_of((ck_dtype)result->dtype));
    }
    free(args->workspace);
  }
  for (int k = 0; k <= info->arity; k++) free(ck_loop_operands(args)[k].data);
  free(args);
}

static void loops(void) {
  for (int op = CK_OP_store + 1; op < CK_OP_COUNT; op++) {
    if (!ck_op_describe(op)->reduces) {
      loop(op, 0, 0);
    } else {
      loop(op, 0, 1);
      loop(op, 1, 1);
      loop(op, 0, 2);
    }
  }
}

// MARK: Rows

static void row_kernels(int64_t rows, int64_t columns) {
  state = (uint64_t)(rows * columns);
  const int64_t count = rows * columns;
  float *x = numbers(count, false), *dy = numbers(count, false), *out = room((size_t)count * 4);
  float *gamma = numbers(columns, false), *beta = numbers(columns, false);
  float *mean = room((size_t)rows * 4), *rstd = room((size_t)rows * 4);
  float *dgamma = room((size_t)columns * 4), *dbeta = room((size_t)columns * 4);
  int32_t *labels = integers(rows, (int32_t)columns);
  char name[96];
  for (int op = CK_SOFTMAX_FORWARD; op <= CK_SOFTMAX_BACKWARD_OF_LOGITS; op++) {
    const ck_softmax_args args = {.out = out,
                                  .x = x,
                                  .y = x,
                                  .dy = dy,
                                  .rows = rows,
                                  .cols = columns,
                                  .out_stride = columns,
                                  .x_stride = columns,
                                  .y_stride = columns,
                                  .dy_stride = columns};
    run(ck_softmax((ck_softmax_op)op, level), &args, 0);
    snprintf(name, sizeof name, "softmax %d %lldx%lld", op, (long long)rows, (long long)columns);
    report(name, out, count);
  }
  for (int rms = 0; rms <= 1; rms++) {
    const ck_norm_args forward = {.y = out,
                                  .mean = mean,
                                  .rstd = rstd,
                                  .x = x,
                                  .gamma = gamma,
                                  .beta = rms ? NULL : beta,
                                  .rows = rows,
                                  .cols = columns,
                                  .x_stride = columns,
                                  .epsilon = 1e-5f};
    run(ck_norm(rms ? CK_NORM_RMS_FORWARD : CK_NORM_LAYER_FORWARD, level), &forward, 0);
    snprintf(name, sizeof name, "norm %d %lldx%lld", rms, (long long)rows, (long long)columns);
    report(name, out, count);
    report(name, rstd, rows);
    ck_norm_backward_args backward = {.dx = out,
                                      .dgamma = dgamma,
                                      .dbeta = dbeta,
                                      .dy = dy,
                                      .x = x,
                                      .mean = mean,
                                      .rstd = rstd,
                                      .gamma = gamma,
                                      .rows = rows,
                                      .cols = columns,
                                      .x_stride = columns,
                                      .dy_stride = columns};
    backward.workspace = room(ck_norm_workspace_bytes(&backward));
    for (int own = 0; own <= 1; own++) {
      // With the forward's statistics, then with the gradient's own.
      backward.rstd = own ? NULL : rstd;
      backward.epsilon = 1e-5f;
      run(ck_norm(rms ? CK_NORM_RMS_BACKWARD : CK_NORM_LAYER_BACKWARD, level), &backward, 0);
      snprintf(name, sizeof name, "norm gradient %d own %d %lldx%lld", rms, own, (long long)rows,
               (long long)columns);
      report(name, out, count);
      report(name, dgamma, columns);
      report(name, dbeta, columns);
    }
    free(backward.workspace);
  }
  float loss = 0;
  int64_t error[2] = {-1, 0};
  ck_cross_entropy_args entropy = {.loss = &loss,
                                   .log_sum = mean,
                                   .gradient = out,
                                   .logits = x,
                                   .labels = labels,
                                   .error = error,
                                   .rows = rows,
                                   .cols = columns,
                                   .logits_stride = columns,
                                   .gradient_stride = columns,
                                   .ignore_index = -1,
                                   .smoothing = 0.1f,
                                   .label_dtype = CK_I32,
                                   .reduction = CK_REDUCTION_MEAN};
  entropy.workspace = room(ck_cross_entropy_workspace_bytes(&entropy));
  run(ck_cross_entropy(CK_CROSS_ENTROPY_COMBINED, level), &entropy, 0);
  snprintf(name, sizeof name, "cross_entropy %lldx%lld", (long long)rows, (long long)columns);
  report(name, &loss, 1);
  report(name, out, count);
  free(entropy.workspace);
  free(x), free(dy), free(out), free(gamma), free(beta), free(mean), free(rstd);
  free(dgamma), free(dbeta), free(labels);
}

// MARK: Updates

static void update(ck_optim_op op, int nesterov, float decay) {
  enum { arrays = 2 };
  static const int64_t counts[arrays] = {1037, 5};
  const float rate = 0.03f, correction = 1.7f, scale = 0.3f, shrinkage = 0.99f;
  state = (uint64_t)op * 3 + (uint64_t)nesterov;
  ck_optim_args *args = room(ck_optim_args_bytes(arrays));
  *args = (ck_optim_args){.rate = &rate,
                          .correction = &correction,
                          .decay = decay,
                          .first_decay = 0.9f,
                          .first_share = 0.1f,
                          .second_decay = 0.999f,
                          .second_share = 0.001f,
                          .epsilon = 1e-8f,
                          .nesterov = nesterov,
                          .arrays = arrays};
  if (decay != 0) args->scale = &scale, args->shrinkage = &shrinkage;
  for (int i = 0; i < arrays; i++) {
    float *p = numbers(counts[i], false), *g = numbers(counts[i], false);
    float *first = numbers(counts[i], false), *second = numbers(counts[i], true);
    for (int64_t k = 0; k < counts[i]; k++) second[k] = second[k] < 0 ? -second[k] : second[k];
    ck_optim_arrays(args)[i] = (ck_optim_array){p, first, second, p, g, first, second, counts[i]};
  }
  run(ck_optim(op, level), args, 0);
  char name[48];
  snprintf(name, sizeof name, "update %d nesterov %d decay %g", op, nesterov, (double)decay);
  for (int i = 0; i < arrays; i++) {
    const ck_optim_array *x = &ck_optim_arrays(args)[i];
    report(name, x->new_parameter, x->count);
    report(name, x->new_first, x->count);
    report(name, x->new_second, x->count);
    free(x->new_parameter), free((void *)(uintptr_t)x->gradient);
    free(x->new_first), free(x->new_second);
  }
  free(args);
}

static void updates(void) {
  for (int kind = 0; kind < 4; kind++) {
    update(CK_OPTIM_MOMENTUM, kind & 1, kind & 2 ? 0.01f : 0);
    if (!(kind & 1)) update(CK_OPTIM_ADAM, 0, kind & 2 ? 0.01f : 0);
  }
}

// MARK: The rest

static void others(void) {
  enum { outer = 3, axis = 61, inner = 5, count = outer * axis * inner };
  state = 5;
  float *x = numbers(count, true), *y = room(count * 8);
  for (int inner_size = 1; inner_size <= inner; inner_size += inner - 1) {
    for (int kind = 0; kind < 4; kind++) {
      const ck_scan_args scan = {y,          x,    outer,     count / outer / inner_size,
                                 inner_size, kind, kind == 1, kind == 2};
      run(ck_scan(CK_SCAN_F32, level), &scan, 0);
      char name[48];
      snprintf(name, sizeof name, "scan %d inner %d", kind, inner_size);
      report(name, y, count);
    }
  }
  memset(y, 0, count * 8);
  const ck_arg_args arg = {y, x, outer, axis, inner, CK_I64};
  run(ck_scan(CK_SCAN_ARGMAX, level), &arg, 0);
  report_bytes("argmax", y, outer * inner * 8);

  memset(y, 0, count * 8);
  const ck_sort_args sort = {.values = NULL,
                             .indices = y,
                             .x = x,
                             .outer = outer,
                             .axis = axis,
                             .inner = inner,
                             .k = axis,
                             .dtype = CK_F32,
                             .index_dtype = CK_I64};
  run(ck_sort(CK_SORT_SORT, level), &sort, ck_sort_scratch_bytes(&sort));
  report_bytes("sort", y, count * 8);

  const int64_t key[2] = {12345, 6};
  for (int op = CK_RANDOM_BITS; op <= CK_RANDOM_DROPOUT; op++) {
    memset(y, 0, count * 8);
    const ck_random_args random = {
        .out = y, .x = x, .state = key, .count = count, .stream = 3, .p = 0.3f};
    run(ck_random((ck_random_op)op, level), &random, 0);
    char name[32];
    snprintf(name, sizeof name, "random %d", op);
    if (op == CK_RANDOM_DROPOUT) {
      report(name, y, count);
    } else {
      report_bytes(name, y, op == CK_RANDOM_BERNOULLI ? count : count * 4);
    }
  }

  int32_t *indices = integers(40, axis);
  int64_t error[2] = {-1, 0};
  memset(y, 0, count * 8);
  const ck_gather_args gather = {y, x, indices, error, outer, axis, 40, inner, 0, 1, 0, CK_I32, 4};
  run(ck_gather(CK_GATHER_GATHER, level), &gather, 0);
  report("gather", y, outer * 40 * inner);
  ck_scatter_args scatter = {.dst = y,
                             .updates = x,
                             .indices = indices,
                             .error = error,
                             .outer = outer,
                             .axis = axis,
                             .count = 40,
                             .inner = inner,
                             .index_count = 1,
                             .index_dtype = CK_I32,
                             .update_dtype = CK_F32};
  scatter.workspace = room(ck_scatter_workspace_bytes(&scatter));
  run(ck_gather(CK_GATHER_SCATTER_ADD_F32, level), &scatter, 0);
  report("scatter_add", y, count);

  const ck_copy_args copy = {.dst = y,
                             .src = x,
                             .element_size = 4,
                             .rank = 3,
                             .sizes = {outer, inner, axis},
                             .dst_strides = {axis * inner, axis, 1},
                             .src_strides = {axis * inner, 1, inner}};
  run(ck_copy(CK_COPY_STRIDED, level), &copy, 0);
  report("copy", y, count);
  free(x), free(y), free(indices), free(scatter.workspace);
}

// MARK: Pooling

static void pooling(int64_t c, int64_t size, int64_t stride, int64_t padding) {
  enum { n = 2, h = 9, w = 23 };
  state = (uint64_t)(c * 31 + size * 7 + stride);
  const ck_pool_axis one = {1, 1, 1, 1, 1, 0, 0};
  ck_pool_axis axes[2] = {{h, 0, size, stride, 1, padding, padding},
                          {w, 0, size, stride, 1, padding, padding}};
  for (int i = 0; i < 2; i++) {
    axes[i].outputs = (axes[i].image + 2 * padding - size) / stride + 1;
  }
  const int64_t images = n * h * w * c, places = n * axes[0].outputs * axes[1].outputs * c;
  float *x = numbers(images, false), *y = numbers(places, false), *out = room((size_t)images * 4);
  uint8_t *indices = room((size_t)places);
  char name[96];
  for (int op = CK_POOL_MAX; op <= CK_POOL_AVERAGE_GRADIENT; op++) {
    const bool is_gradient = op == CK_POOL_MAX_GRADIENT || op == CK_POOL_AVERAGE_GRADIENT;
    const ck_pool_args args = {.out = out,
                               .in = is_gradient ? y : x,
                               .indices = indices,
                               .n = n,
                               .c = c,
                               .axes = {one, axes[0], axes[1]},
                               .index_dtype = CK_U8};
    run(ck_pool((ck_pool_op)op, level), &args, 0);
    snprintf(name, sizeof name, "pool %d %lldx%lld by %lld, %lld channels", op, (long long)size,
             (long long)size, (long long)stride, (long long)c);
    report(name, out, is_gradient ? images : places);
    if (op == CK_POOL_MAX) report_bytes(name, indices, (size_t)places);
  }
  free(x), free(y), free(out), free(indices);
}

static void poolings(void) {
  static const int64_t channels[] = {1, 3, 11, 16, 37};
  for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
    pooling(channels[i], 2, 2, 0);
    pooling(channels[i], 3, 2, 1);
    pooling(channels[i], 2, 3, 0);
  }
}

// MARK: Attention

/// Both directions, masked at random, with dropout; f32.
static void attention(int64_t queries, int64_t keys, int64_t width, bool is_causal) {
  state = (uint64_t)(queries * 131 + keys * 7 + width);
  enum { HEADS = 2 };
  const int64_t q_count = queries * HEADS * width, k_count = keys * width;
  float *q = numbers(q_count, false), *k = numbers(k_count, false), *v = numbers(k_count, false);
  float *flow = numbers(q_count, false), *delta = numbers(queries * HEADS, false);
  float *out = numbers(q_count, false), *logarithms = numbers(queries * HEADS, false);
  float *dk = numbers(k_count, false), *dv = numbers(k_count, false);
  float *mask = numbers(queries * keys, false);
  const int64_t random[2] = {5, 3};
  const ck_attention_rows of_queries = {NULL, q_count, HEADS * width, width, CK_F32};
  const ck_attention_rows of_keys = {NULL, k_count, width, width, CK_F32};
  ck_attention_args a = {.out = out, .logarithms = logarithms, .dq = out, .dk = dk, .dv = dv};
  a.q = of_queries, a.q.p = q, a.flow = of_queries, a.flow.p = flow;
  a.k = of_keys, a.k.p = k, a.v = of_keys, a.v.p = v;
  a.delta = delta, a.mask = mask, a.mask_query = keys, a.mask_key = 1, a.mask_dtype = CK_F32;
  a.random = random, a.stream = 2, a.dropout = 0.25f, a.scale = 0.5f, a.is_causal = is_causal;
  a.batch = 1, a.queries = queries, a.keys = keys, a.heads = HEADS, a.key_heads = 1;
  a.width = a.value_width = width;
  char name[96];
  for (int op = CK_ATTENTION_FORWARD; op <= CK_ATTENTION_BACKWARD; op++) {
    const size_t bytes = ck_attention_workspace_bytes(&a, (ck_attention_op)op);
    a.workspace = aligned_alloc(64, (bytes + 64) / 64 * 64);
    run(ck_attention((ck_attention_op)op, level), &a,
        ck_attention_scratch_bytes(&a, (ck_attention_op)op));
    snprintf(name, sizeof name, "attention %d %lldx%lldx%lld", op, (long long)queries,
             (long long)keys, (long long)width);
    report(name, out, q_count);
    report(name, op == CK_ATTENTION_FORWARD ? logarithms : dk,
           op == CK_ATTENTION_FORWARD ? queries * HEADS : k_count);
    free(a.workspace);
  }
  report(name, dv, k_count);
  free(q), free(k), free(v), free(flow), free(delta), free(out), free(logarithms), free(dk);
  free(dv), free(mask);
}

int main(int count, char **arguments) {
  const int found = count == 3 ? ck_isa_from_name(arguments[1]) : -1;
  const int threads = count == 3 ? atoi(arguments[2]) : 0;
  if (found < 0 || threads < 1) {
    fprintf(stderr, "usage: digests LEVEL THREADS\n");
    return 64;
  }
  level = (ck_isa)found;
  if (level > ck_isa_best()) {
    fprintf(stderr, "digests: this processor has no %s\n", arguments[1]);
    return 69;
  }
  team = ck_team_create(threads, 0);
  if (!team) abort();
  products();
  loops();
  row_kernels(1, 1);
  row_kernels(9, 10);
  row_kernels(37, 149);
  row_kernels(3, 2100);
  updates();
  poolings();
  attention(5, 9, 3, false);
  attention(70, 150, 24, true);
  others();
  ck_team_destroy(team);
  return 0;
}
