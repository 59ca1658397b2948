// The table of processors' speeds, and its calibration.
#include "ck_rates.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ck_bench.h"

// MARK: The table

const ck_tile_rate ck_tile_rates[4] = {{100, 0}, {650, 50}, {350, 32}, {185, 24}};

ck_rates ck_rates_nominal(ck_isa isa) {
  // Measured on two cores of Zen 5; what concerns more threads is an assumption, see
  // Docs/Scaling.md.
  ck_rates r = {
      .multiply_adds = 0.95 * ck_multiply_add_rate(isa),
      .pairs = 1.8 * ck_multiply_add_rate(isa),
      .packing = 45,
      .operations = 120,
      .program = 16,
      .updates = 7,
      .near_bytes = 150,
      .far_bytes = 70,
      .memory_bytes = 65,
      .team_memory_bytes = 300,
      .link_bytes = 70,
      .row = 30,
      .short_row = 1,
      .loss_row = 60,
      .short_loss_row = 3,
      .tile = 8,
      .call = 40,
      .spread = 100,
      .team = 500,
      .barrier = 400,
      .peer = 25,
      .far_peer = 80,
      .near_cache = 1 << 20,
      .group_cache = ck_cache_bytes(),
      .group = ck_cache_threads(),
  };
  memcpy(r.tiles, ck_tile_rates, sizeof r.tiles);
  if (isa == CK_ISA_REF) {
    r.packing = INFINITY;  // it packs nothing
    r.operations = r.program = 4;
    r.near_bytes = r.far_bytes = r.memory_bytes = 4;
  }
  return r;
}

// MARK: Calibration

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/// The shortest of several runs, by one thread, in nanoseconds.
static double fastest(ck_kernel kernel, const void *args, int tries) {
  const ck_thread alone = {.index = 0, .count = 1};
  double best = INFINITY;
  for (int i = 0; i < tries; ++i) {
    const double start = now();
    kernel(args, &alone);
    const double taken = now() - start;
    if (taken < best) best = taken;
  }
  return best < 1 ? 1 : best;
}

/// How much faster than the table says, in steps of a twentieth and within a factor of two.
static double factor(double measured, double nominal) {
  const double steps = round(20 * measured / nominal) / 20;
  return steps < 0.5 ? 0.5 : steps > 2 ? 2 : steps;
}

static void calibrate(ck_rates *r, ck_isa isa) {
  float sink[16];
  const ck_bench_fma_args arithmetic = {.sink = sink, .rounds = 200, .a = 0.5f, .b = 1};
  const double products = (double)ck_bench_fma_lanes(isa) * (double)arithmetic.rounds /
                          fastest(ck_bench_fma(isa), &arithmetic, 12);
  const double speed = factor(products, ck_multiply_add_rate(isa));
  r->multiply_adds *= speed;
  r->pairs *= speed;

  enum { bytes = 96 << 10, rounds = 4 };
  char *memory = aligned_alloc(4096, 2 * bytes);
  if (!memory) return;
  memset(memory, 0, 2 * bytes);
  const ck_bench_copy_args copy = {.target = memory + bytes,
                                   .source = memory,
                                   .bytes = bytes,
                                   .stride = bytes,
                                   .rounds = rounds};
  const double moved = 2.0 * bytes * rounds / fastest(ck_bench_copy(isa), &copy, 8);
  // Kernels compute between loads and stores: they reach two thirds of a copy in the second cache.
  const double near = factor(moved * 2 / 3, r->near_bytes);
  r->near_bytes *= near;
  r->far_bytes *= near;
  free(memory);
}

static ck_rates calibrated[CK_ISA_COUNT];

static void calibrate_all(void) {
  const ck_isa best = ck_isa_best();
  for (int isa = 0; isa < CK_ISA_COUNT; ++isa) {
    calibrated[isa] = ck_rates_nominal((ck_isa)isa);
    if (isa <= (int)best && isa != CK_ISA_REF) calibrate(&calibrated[isa], (ck_isa)isa);
  }
}

const ck_rates *ck_rates_here(ck_isa isa) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, calibrate_all);
  return &calibrated[isa];
}
