// Prints a digest of each product by AMX tiles, so that the instructions themselves can be compared
// with the emulation that the tests go by on machines without them: .ci/amx does so.
//
//   tiles amx|emulated THREADS
//
// Every line has a case and a hash of its result's bits; a NaN counts as one and the same. `amx`
// asks the kernel for the tiles as the library does, and fails where it is not granted.
#include "../../CKernels/gemm/gemm_tiles.h"
#include "digest.h"

static const gemm_tiles *tiles;
static int32_t parts;

static void by_tiles(const void *args, const ck_thread *t) {
  gemm_tiles_run(args, t, tiles, parts);
}

static void packing(const void *args, const ck_thread *t) { gemm_tiles_pack_run(args, t, parts); }

typedef struct kind {
  const char *name;
  int32_t parts;
  ck_dtype type;
  ck_gemm_precision precision;
} kind;

static const kind kinds[] = {
    {"highest", 3, CK_F32, CK_GEMM_HIGHEST},
    {"high", 2, CK_F32, CK_GEMM_HIGH},
    {"mixed", 1, CK_F32, CK_GEMM_MIXED},
    {"bf16", 1, CK_BF16, CK_GEMM_HIGHEST},
};

/// What makes a product other than C = A B.
typedef struct form {
  const char *name;
  bool a_turned, b_turned, packed, accumulates, finishes, is_wide;
} form;

static const form forms[] = {
    {.name = "nn"},
    {.name = "tn, accumulating", .a_turned = true, .accumulates = true},
    {.name = "nt, bias and ReLU", .b_turned = true, .finishes = true},
    {.name = "nt, packed", .b_turned = true, .packed = true},
    {.name = "nn, of all magnitudes", .is_wide = true},
};

/// `count` numbers, where `is_wide` with denormals, huge ones, infinities and NaN among them.
static void *operand(int64_t count, ck_dtype type, bool is_wide) {
  float *p = numbers(count, is_wide);
  static const float far[] = {1e-40f, -1e-38f, 3e-34f, 3e38f, -1e25f, 2e-19f};
  for (int64_t i = 17; is_wide && i < count; i += 43) p[i] = far[i % 6];
  // Of bf16, the upper halves; in place, as each is written below what is still to be read.
  uint16_t *halves = (uint16_t *)p;
  for (int64_t i = 0; type == CK_BF16 && i < count; i++) halves[i] = halves[2 * i + 1];
  return p;
}

static void product(int64_t M, int64_t N, int64_t K, const kind *k, const form *f) {
  state = (uint64_t)(M * 31 + N * 7 + K);
  parts = k->parts;
  void *a = operand(M * K, k->type, f->is_wide), *b = operand(K * N, k->type, f->is_wide);
  float *c = numbers(M * N, false), *bias = numbers(N, false);
  ck_gemm_args g = {.c = c, .a = a, .b = b, .M = M, .N = N, .K = K, .c_row = N, .alpha = 1};
  g.a_row = f->a_turned ? 1 : K, g.a_col = f->a_turned ? M : 1;
  g.b_row = f->b_turned ? 1 : N, g.b_col = f->b_turned ? K : 1;
  for (int d = 0; d < CK_GEMM_BATCH_DIMS; d++) g.batch[d] = 1;
  g.accumulate = f->accumulates;
  g.alpha = f->accumulates ? 1.25f : 1;
  g.epilogue.bias = f->finishes ? bias : NULL;
  g.epilogue.relu = f->finishes;
  g.a_type = g.b_type = (int16_t)k->type;
  g.precision = (int16_t)k->precision;
  void *packed = NULL;
  if (f->packed) {
    packed = room((size_t)gemm_tiles_packed_bytes(K, N, parts));
    const ck_gemm_pack_args pack = {.packed = packed,
                                    .b = b,
                                    .K = K,
                                    .N = N,
                                    .b_row = g.b_row,
                                    .b_col = g.b_col,
                                    .count = 1,
                                    .a_type = g.a_type,
                                    .b_type = g.b_type,
                                    .precision = g.precision};
    run(packing, &pack, 0);
    g.b = packed, g.b_packed = 1;
  }
  run(by_tiles, &g, gemm_tiles_scratch_bytes(&g, parts));
  char name[96];
  snprintf(name, sizeof name, "%s %lldx%lldx%lld, %s", k->name, (long long)M, (long long)N,
           (long long)K, f->name);
  report(name, c, M * N);
  free(a), free(b), free(c), free(bias), free(packed);
}

int main(int count, char **arguments) {
  static const int64_t shapes[][3] = {{1, 1, 1},     {5, 7, 3},     {32, 32, 32}, {33, 47, 70},
                                      {16, 130, 20}, {34, 33, 530}, {3, 5, 0}};
  const bool by_amx = count == 3 && strcmp(arguments[1], "amx") == 0;
  const int threads = count == 3 ? atoi(arguments[2]) : 0;
  if (threads < 1 || (!by_amx && strcmp(arguments[1], "emulated") != 0)) {
    fprintf(stderr, "usage: tiles amx|emulated THREADS\n");
    return 64;
  }
  const ck_isa needed = by_amx ? CK_ISA_AMX : CK_ISA_AVX512;
  if (ck_isa_best() < needed) {
    fprintf(stderr, "tiles: no %s here, %s at most\n", ck_isa_name(needed),
            ck_isa_name(ck_isa_best()));
    return 69;
  }
  tiles = by_amx ? &gemm_tiles_amx : &gemm_tiles_emulated;
  team = ck_team_create(threads, 0);
  if (!team) abort();
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
      for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        product(shapes[i][0], shapes[i][1], shapes[i][2], &kinds[k], &forms[f]);
      }
    }
  }
  ck_team_destroy(team);
  return 0;
}
