// The update rules, written once; optim_<level>.c compiles them for its level.
//
// A thread walks through its tiles, those of one array as one run. What passes between the
// operations of a rule stays in registers: in the caches Adam and RMS are bound by a square root
// and a division, under which all else they do is hidden, the others by memory.
#include "../core/ck_math.h"
#include "../core/ck_rows.h"

#include "optim_plan.h"

/// A rule's numbers in all lanes.
typedef struct numbers {
  ck_v16f rate, scale, correction, shrinkage, decay, epsilon;
  ck_v16f first_decay, first_share, second_decay, second_share;
} numbers;

CK_INLINE ck_v16f number_or_one(const float *p) { return ck_splat(p == NULL ? 1.0f : *p); }

CK_INLINE numbers numbers_of(const ck_optim_args *a) {
  return (numbers){
      .rate = ck_splat(*a->rate),
      .scale = number_or_one(a->scale),
      .correction = number_or_one(a->correction),
      .shrinkage = number_or_one(a->shrinkage),
      .decay = ck_splat(a->decay),
      .epsilon = ck_splat(a->epsilon),
      .first_decay = ck_splat(a->first_decay),
      .first_share = ck_splat(a->first_share),
      .second_decay = ck_splat(a->second_decay),
      .second_share = ck_splat(a->second_share),
  };
}

/// What a rule does, each a constant of its callers.
typedef struct variant {
  ck_optim_op rule;
  bool decays;
  bool nesterov;
  bool streams;  // the results go past the cache
} variant;

/// The gradient that a rule goes by: of `count` elements from i on, with p those of the parameter.
CK_INLINE ck_v16f gradient_at(const numbers *n, const ck_optim_array *x, int64_t i, int count,
                              ck_v16f p, variant how) {
  const ck_v16f g = load_lanes(x->gradient, i, count, CK_F32) * n->scale;
  return how.decays ? g + p * n->decay : g;
}

CK_INLINE void momentum_lanes(const numbers *n, const ck_optim_array *x, int64_t i, int count,
                              variant how) {
  const ck_v16f p = load_lanes(x->parameter, i, count, CK_F32);
  const ck_v16f g = gradient_at(n, x, i, count, p, how);
  const ck_v16f v = load_lanes(x->first, i, count, CK_F32) * n->first_decay + g;
  const ck_v16f direction = how.nesterov ? g + v * n->first_decay : v;
  store_lanes(x->new_first, i, v, count, CK_F32, how.streams);
  store_lanes(x->new_parameter, i, p - direction * n->rate, count, CK_F32, how.streams);
}

CK_INLINE void adam_lanes(const numbers *n, const ck_optim_array *x, int64_t i, int count,
                          variant how) {
  const ck_v16f p = load_lanes(x->parameter, i, count, CK_F32);
  const ck_v16f g = gradient_at(n, x, i, count, p, how);
  const ck_v16f first = load_lanes(x->first, i, count, CK_F32);
  const ck_v16f second = load_lanes(x->second, i, count, CK_F32);
  const ck_v16f m = first * n->first_decay + g * n->first_share;
  const ck_v16f v = second * n->second_decay + (g * g) * n->second_share;
  const ck_v16f change = m * n->rate / (ck_sqrt(v) * n->correction + n->epsilon);
  store_lanes(x->new_first, i, m, count, CK_F32, how.streams);
  store_lanes(x->new_second, i, v, count, CK_F32, how.streams);
  store_lanes(x->new_parameter, i, p * n->shrinkage - change, count, CK_F32, how.streams);
}

CK_INLINE void rms_lanes(const numbers *n, const ck_optim_array *x, int64_t i, int count,
                         variant how) {
  const ck_v16f p = load_lanes(x->parameter, i, count, CK_F32);
  const ck_v16f g = gradient_at(n, x, i, count, p, how);
  const ck_v16f mean = load_lanes(x->first, i, count, CK_F32);
  const ck_v16f v = mean * n->second_decay + (g * g) * n->second_share;
  store_lanes(x->new_first, i, v, count, CK_F32, how.streams);
  store_lanes(x->new_parameter, i, p - g * n->rate / (ck_sqrt(v) + n->epsilon), count, CK_F32,
              how.streams);
}

CK_INLINE void lion_lanes(const numbers *n, const ck_optim_array *x, int64_t i, int count,
                          variant how) {
  const ck_v16f p = load_lanes(x->parameter, i, count, CK_F32);
  const ck_v16f g = gradient_at(n, x, i, count, p, how);
  const ck_v16f d = load_lanes(x->first, i, count, CK_F32) - g;
  const ck_v16f sign = ck_vsign(d * n->first_decay + g);
  store_lanes(x->new_first, i, d * n->second_decay + g, count, CK_F32, how.streams);
  store_lanes(x->new_parameter, i, p * n->shrinkage - sign * n->rate, count, CK_F32, how.streams);
}

CK_INLINE void update_lanes(const numbers *n, const ck_optim_array *x, int64_t i, int count,
                            variant how) {
  switch (how.rule) {
    case CK_OPTIM_MOMENTUM:
      momentum_lanes(n, x, i, count, how);
      break;
    case CK_OPTIM_ADAM:
      adam_lanes(n, x, i, count, how);
      break;
    case CK_OPTIM_RMS:
      rms_lanes(n, x, i, count, how);
      break;
    case CK_OPTIM_LION:
      lion_lanes(n, x, i, count, how);
      break;
  }
}

/// Elements [begin, end), of which the first is at a tile's start.
CK_INLINE void update_run(const numbers *n, const ck_optim_array *array, int64_t begin, int64_t end,
                          variant how) {
  // A copy, so that no result may change where the others are.
  const ck_optim_array x = *array;
  int64_t i = begin;
  for (; i + CK_LANES <= end; i += CK_LANES) update_lanes(n, &x, i, CK_LANES, how);
  if (i == end) return;
  how.streams = false;
  update_lanes(n, &x, i, (int)(end - i), how);
}

/// Whether an array of results is none of the operands, and can be written past the cache.
static bool is_apart(const ck_optim_array *x, const float *result) {
  return result != x->parameter && result != x->gradient && result != x->first &&
         result != x->second && ((uintptr_t)result & 63) == 0;
}

/// Results that no operand has brought into the cache, and that are larger than it.
static bool streams_results(const ck_optim_array *x, bool adam) {
  const int64_t results = adam ? 3 : 2;
  if (results * x->count * 4 < ck_cache_bytes() / 4 * 3) return false;
  return is_apart(x, x->new_parameter) && is_apart(x, x->new_first) &&
         (!adam || is_apart(x, x->new_second));
}

CK_INLINE void update_arrays(const ck_optim_args *a, const ck_thread *t, variant how) {
  const numbers n = numbers_of(a);
  bool has_streamed = false;
  optim_walk walk = optim_walk_begin(a, t);
  while (optim_walk_next(&walk)) {
    const ck_optim_array *x = &ck_optim_arrays(a)[walk.array];
    if (streams_results(x, how.rule == CK_OPTIM_ADAM)) {
      how.streams = has_streamed = true;
      update_run(&n, x, walk.begin, walk.end, how);
    } else {
      how.streams = false;
      update_run(&n, x, walk.begin, walk.end, how);
    }
  }
  if (has_streamed) ck_stream_end();
}

/// With what the arguments leave out known to the compiler.
CK_INLINE void update(const ck_optim_args *a, const ck_thread *t, ck_optim_op rule) {
  if (a->decay != 0) {
    update_arrays(a, t, (variant){.rule = rule, .decays = true});
  } else {
    update_arrays(a, t, (variant){.rule = rule});
  }
}

void CK_NAME(ck_momentum)(const void *args, const ck_thread *t) {
  const ck_optim_args *a = args;
  if (!a->nesterov) {
    update(a, t, CK_OPTIM_MOMENTUM);
  } else if (a->decay != 0) {
    update_arrays(a, t, (variant){.rule = CK_OPTIM_MOMENTUM, .decays = true, .nesterov = true});
  } else {
    update_arrays(a, t, (variant){.rule = CK_OPTIM_MOMENTUM, .nesterov = true});
  }
}

void CK_NAME(ck_adam)(const void *args, const ck_thread *t) { update(args, t, CK_OPTIM_ADAM); }

void CK_NAME(ck_rms)(const void *args, const ck_thread *t) { update(args, t, CK_OPTIM_RMS); }

void CK_NAME(ck_lion)(const void *args, const ck_thread *t) { update(args, t, CK_OPTIM_LION); }
