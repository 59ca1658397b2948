// Finds the maps that loop_chain.h does in registers: the normalisation of channels with what
// follows it up to the next convolution, and the gated sum of two gradients.
//
// The program is walked once. Each slot holds one of a few kinds of value, or one that is none of
// them. Only the last value's form counts, and only where nothing else is stored.
#include <string.h>

#include "loop_plan.h"

typedef enum value_kind { OTHER, ARRAY, ROW, CENTRED, NORMAL, SUM, NORMAL_SUM, RESULT } value_kind;

/// What a slot holds: an operand, or what was made of some.
typedef struct value {
  value_kind kind;
  int16_t operand;  // ARRAY, ROW
  ck_loop_chain chain;
} value;

static value other(void) { return (value){.kind = OTHER}; }

/// Nothing yet but operand `x`.
static value made(value_kind kind, int16_t x) {
  return (value){.kind = kind,
                 .chain = {.x = x,
                           .y = -1,
                           .gate = -1,
                           .result = -1,
                           .mean = {-1, -1},
                           .scale = {-1, -1},
                           .bias = {-1, -1}}};
}

/// How a loaded operand lies over a domain of rows, or of one.
static value loaded(const ck_loop_args *args, int number) {
  const ck_loop_operand *operand = &ck_loop_operands(args)[number];
  const int last = args->dims - 1;
  const bool is_f32 = operand->dtype == CK_F32;
  value v = made(OTHER, (int16_t)number);
  v.operand = (int16_t)number;
  if ((operand->flags & CK_LOOP_INDEX) || (!is_f32 && operand->dtype != CK_BF16)) return v;
  if (operand->stride[last] != 1) return v;
  if (args->dims == 1 || operand->stride[0] == args->extent[last]) {
    v.kind = ARRAY;
  } else if (operand->stride[0] == 0 && is_f32) {
    v.kind = ROW;
  }
  return v;
}

/// x - mean
static value minus(const value *a, const value *b) {
  if (a->kind != ARRAY || b->kind != ROW) return other();
  value v = made(CENTRED, a->operand);
  v.chain.mean[0] = b->operand;
  return v;
}

/// (x - mean) scale + bias
static value times_plus(const value *a, const value *b, const value *c) {
  if (a->kind == ROW && b->kind == CENTRED) return times_plus(b, a, c);
  if (a->kind != CENTRED || b->kind != ROW || c->kind != ROW) return other();
  value v = *a;
  v.kind = NORMAL;
  v.chain.form = LOOP_CHAIN_NORMAL;
  v.chain.scale[0] = b->operand;
  v.chain.bias[0] = c->operand;
  return v;
}

/// The sum of two arrays, one or both of which may be normalised.
static value plus(const value *a, const value *b) {
  if (b->kind == NORMAL && a->kind == ARRAY) return plus(b, a);
  if (a->kind == ARRAY && b->kind == ARRAY) {
    value v = made(SUM, a->operand);
    v.chain.y = b->operand;
    return v;
  }
  if (a->kind != NORMAL) return other();
  value v = *a;
  v.kind = NORMAL_SUM;
  if (b->kind == ARRAY) {
    v.chain.form = LOOP_CHAIN_NORMAL_ADD;
    v.chain.y = b->operand;
    return v;
  }
  if (b->kind != NORMAL) return other();
  v.chain.form = LOOP_CHAIN_NORMAL_NORMAL;
  v.chain.y = b->chain.x;
  v.chain.mean[1] = b->chain.mean[0];
  v.chain.scale[1] = b->chain.scale[0];
  v.chain.bias[1] = b->chain.bias[0];
  return v;
}

static value activated(value v, int16_t activation) {
  if (v.kind != NORMAL && v.kind != NORMAL_SUM) return other();
  v.kind = RESULT;
  v.chain.activation = activation;
  return v;
}

static value gated(const value *gate, const value *v) {
  if (gate->kind != ARRAY || v->kind != SUM) return other();
  value all = *v;
  all.kind = RESULT;
  all.chain.form = LOOP_CHAIN_GATED;
  all.chain.gate = gate->operand;
  return all;
}

static value evaluated(const ck_loop_args *args, const ck_loop_instruction *at,
                       const value *slots) {
  const value *a = &slots[at->a], *b = &slots[at->b], *c = &slots[at->c];
  value v;
  switch (at->op) {
    case CK_OP_load:
      return loaded(args, at->a);
    case CK_OP_sub_f32:
      return minus(a, b);
    case CK_OP_mul_add_f32:
      return times_plus(a, b, c);
    case CK_OP_mul_add_relu_f32:
      return activated(times_plus(a, b, c), LOOP_CHAIN_RELU);
    case CK_OP_add_f32:
      return plus(a, b);
    case CK_OP_add_relu_f32:
      v = plus(a, b);
      return activated(v, LOOP_CHAIN_RELU);
    case CK_OP_relu_f32:
      return activated(*a, LOOP_CHAIN_RELU);
    case CK_OP_relu6_f32:
      return activated(*a, LOOP_CHAIN_RELU6);
    case CK_OP_gate_f32:
      return gated(a, b);
    default:
      return other();
  }
}

void loop_find_chain(ck_loop_args *args) {
  args->chain = (ck_loop_chain){0};
  if (args->kind != 0 || args->dims > 2 || args->once > 0 || args->instructions == 0) return;
  const ck_loop_instruction *code = ck_loop_instructions(args);
  const int last = args->instructions - 1;
  if (code[last].op != CK_OP_store) return;
  value slots[CK_LOOP_SLOTS];
  memset(slots, 0, sizeof slots);
  for (int i = 0; i < last; i++) {
    if (code[i].op == CK_OP_store) return;
    slots[code[i].dst] = evaluated(args, &code[i], slots);
  }
  const value *v = &slots[code[last].a];
  const value to = loaded(args, code[last].b);
  if (to.kind != ARRAY || code[last].b >= 64) return;
  if (v->kind != NORMAL && v->kind != NORMAL_SUM && v->kind != RESULT) return;
  args->chain = v->chain;
  args->chain.result = to.operand;
}
