// Maps whose form is known (loop_chain.c finds it): what stands between one convolution and the
// next. They go from memory to memory in registers, where the tile machine would write and read a
// slot for each instruction. The bits are the machine's. Compiled at each level by loop_body.h, and
// by itself at those that round by an instruction of their own.
#ifndef LOOP_CHAIN_H
#define LOOP_CHAIN_H

#include "../core/ck_rows.h"
#include "loop_plan.h"

/// The element types of arrays, and of the result.
typedef struct chain_types {
  ck_dtype x, y, gate, result;
} chain_types;

/// Where a run of elements begins in each operand; rows that the form does not have are NULL.
typedef struct chain_run {
  const char *x, *y, *gate;
  const float *mean[2], *scale[2], *bias[2];
  char *result;
} chain_run;

/// A normalised element: three roundings.
CK_INLINE ck_v16f chain_normal(const chain_run *r, int which, ck_v16f x, int64_t i, int count) {
  x = x - load_lanes(r->mean[which], i, count, CK_F32);
  return x * load_lanes(r->scale[which], i, count, CK_F32) +
         load_lanes(r->bias[which], i, count, CK_F32);
}

/// Elements [i, i + count), at most 16.
CK_INLINE void chain_lanes(const chain_run *r, int64_t i, int count, const int form,
                           const int activation, const bool past, chain_types types) {
  ck_v16f v = load_any(r->x, i, count, types.x);
  if (form != LOOP_CHAIN_GATED) v = chain_normal(r, 0, v, i, count);
  if (form != LOOP_CHAIN_NORMAL) {
    ck_v16f y = load_any(r->y, i, count, types.y);
    if (form == LOOP_CHAIN_NORMAL_NORMAL) y = chain_normal(r, 1, y, i, count);
    v = v + y;
  }
  if (form == LOOP_CHAIN_GATED) {
    v = load_any(r->gate, i, count, types.gate) > 0 ? v : ck_splat(0);
  }
  if (activation == LOOP_CHAIN_RELU) v = ck_vrelu(v);
  if (activation == LOOP_CHAIN_RELU6) v = ck_vclamp(v, ck_splat(0), ck_splat(6));
  if (types.result == CK_BF16) {
    store_lanes(r->result, i, v, count, CK_BF16, past);
  } else {
    store_lanes(r->result, i, v, count, CK_F32, past);
  }
}

CK_INLINE void chain_elements(const chain_run *run, int64_t count, const int form,
                              const int activation, const bool past, chain_types types) {
  // A copy, which no store can change.
  const chain_run r = *run;
  int64_t i = 0;
#pragma clang loop unroll_count(2)
  for (; i + CK_LANES <= count; i += CK_LANES) {
    chain_lanes(&r, i, CK_LANES, form, activation, past, types);
  }
  if (i < count) chain_lanes(&r, i, (int)(count - i), form, activation, false, types);
}

/// Every form is compiled by itself; ends of it, and stores past the cache, where they are usual.
CK_INLINE void chain_form(const chain_run *r, int64_t count, const int form, int activation,
                          bool past, chain_types types) {
  if (past) {
    chain_elements(r, count, form, activation, true, types);
  } else if (form == LOOP_CHAIN_GATED) {
    chain_elements(r, count, form, LOOP_CHAIN_NONE, false, types);
  } else if (activation == LOOP_CHAIN_RELU) {
    chain_elements(r, count, form, LOOP_CHAIN_RELU, false, types);
  } else {
    chain_elements(r, count, form, activation, false, types);
  }
}

CK_INLINE void chain_typed(const chain_run *r, int64_t count, const ck_loop_chain *chain, bool past,
                           chain_types types) {
  switch (chain->form) {
    case LOOP_CHAIN_NORMAL:
      chain_form(r, count, LOOP_CHAIN_NORMAL, chain->activation, past, types);
      break;
    case LOOP_CHAIN_NORMAL_ADD:
      chain_form(r, count, LOOP_CHAIN_NORMAL_ADD, chain->activation, past, types);
      break;
    case LOOP_CHAIN_NORMAL_NORMAL:
      chain_form(r, count, LOOP_CHAIN_NORMAL_NORMAL, chain->activation, past, types);
      break;
    default:
      chain_form(r, count, LOOP_CHAIN_GATED, LOOP_CHAIN_NONE, past, types);
      break;
  }
}

/// `count` elements on end.
static void chain_run_elements(const chain_run *r, int64_t count, const ck_loop_chain *chain,
                               bool streams, chain_types types) {
  const uintptr_t vector = CK_LANES * ck_dtype_bytes(types.result);
  const bool past = streams && ((uintptr_t)r->result & (vector - 1)) == 0;
  const int narrow = (types.x == CK_BF16) + (types.y == CK_BF16) + (types.gate == CK_BF16) +
                     (types.result == CK_BF16);
  if (narrow == 0) {
    chain_typed(r, count, chain, past, (chain_types){CK_F32, CK_F32, CK_F32, CK_F32});
  } else if (narrow == 4) {
    chain_typed(r, count, chain, past, (chain_types){CK_BF16, CK_BF16, CK_BF16, CK_BF16});
  } else {
    chain_typed(r, count, chain, past, types);
  }
}

/// A loop that has such a form, as one thread runs it.
typedef struct chain_loop {
  const ck_loop_chain *chain;
  chain_run origin;
  chain_types types;
  bool streams;
} chain_loop;

/// Elements [from, from + count), whose first stands in column `column` of the row operands.
static void chain_part(const chain_loop *l, int64_t from, int64_t column, int64_t count) {
  chain_run r = l->origin;
  r.x += from * (int64_t)ck_dtype_bytes(l->types.x);
  r.y += from * (int64_t)ck_dtype_bytes(l->types.y);
  r.gate += from * (int64_t)ck_dtype_bytes(l->types.gate);
  r.result += from * (int64_t)ck_dtype_bytes(l->types.result);
  for (int k = 0; k < 2 && r.mean[k] != NULL; k++) {
    r.mean[k] += column;
    r.scale[k] += column;
    r.bias[k] += column;
  }
  chain_run_elements(&r, count, l->chain, l->streams, l->types);
}

/// Row operand `o`, as often as `period` elements hold it, at `to`; where it lies if that is 0.
static const float *chain_row(const ck_loop_args *args, int o, int64_t period, float *to) {
  if (o < 0) return NULL;
  const float *row = ck_loop_operands(args)[o].data;
  if (period == 0) return row;
  const int64_t columns = args->extent[args->dims - 1];
  for (int64_t i = 0; i < period; i += columns) memcpy(to + i, row, (size_t)columns * 4);
  return to;
}

static chain_loop chain_begin(const ck_loop_args *args, float *scratch) {
  const ck_loop_chain *chain = &args->chain;
  const ck_loop_operand *operands = ck_loop_operands(args);
  const ck_loop_operand *x = &operands[chain->x], *result = &operands[chain->result];
  const ck_loop_operand *y = chain->y >= 0 ? &operands[chain->y] : x;
  const ck_loop_operand *gate = chain->gate >= 0 ? &operands[chain->gate] : x;
  chain_loop l = {
      .chain = chain,
      .origin = {.x = x->data, .y = y->data, .gate = gate->data, .result = result->data},
      .types = {(ck_dtype)x->dtype, (ck_dtype)y->dtype, (ck_dtype)gate->dtype,
                (ck_dtype)result->dtype}};
  // Not where an input has just brought the memory into the cache.
  const void *to = result->data;
  l.streams = args->streams && to != x->data && to != y->data && to != gate->data;
  const int64_t period = loop_chain_period(args);
  for (int k = 0; k < 2; k++, scratch += 3 * LOOP_CHAIN_PERIOD) {
    l.origin.mean[k] = chain_row(args, chain->mean[k], period, scratch);
    l.origin.scale[k] = chain_row(args, chain->scale[k], period, scratch + LOOP_CHAIN_PERIOD);
    l.origin.bias[k] = chain_row(args, chain->bias[k], period, scratch + 2 * LOOP_CHAIN_PERIOD);
  }
  return l;
}

/// A thread's share. Short rows are taken several at a time, as many as make whole vectors.
static void loop_chain(const ck_loop_args *args, const ck_thread *t) {
  int64_t begin, end;
  ck_share(args->units, t, &begin, &end);
  if (begin == end) return;
  const chain_loop l = chain_begin(args, t->scratch);
  const int64_t columns = args->extent[args->dims - 1];
  const int64_t height = args->dims == 2 ? args->extent[0] : 1;
  const int64_t period = loop_chain_period(args), blocks = args->column_blocks;
  if (period > 0) {
    const int64_t first = begin * args->tile_rows, after = end * args->tile_rows;
    const int64_t last = (after < height ? after : height) * columns;
    for (int64_t at = first * columns; at < last; at += period) {
      chain_part(&l, at, 0, last - at < period ? last - at : period);
    }
  } else {
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t column = unit % blocks * args->tile_columns, left = columns - column;
      const int64_t first = unit / blocks * args->tile_rows, after = first + args->tile_rows;
      for (int64_t row = first; row < after && row < height; row++) {
        chain_part(&l, row * columns + column, column,
                   left < args->tile_columns ? left : args->tile_columns);
      }
    }
  }
  if (l.streams) ck_stream_end();
}

#endif
