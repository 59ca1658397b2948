// Superinstructions: pairs of instructions that one opcode does, with the same roundings. What lies
// between them need not go through a slot.
//
// A result is taken into the instruction that reads it where nothing else does, in the same phase,
// and where what it was made of is still in its slots. Not joined: what a later phase repeats.
#include <string.h>

#include "loop_plan.h"

/// Longer programs are left alone: joining looks both ways from every instruction.
enum { MOST = 512 };

/// What is known while joining: the program, and which instructions have gone.
typedef struct joiner {
  ck_loop_instruction *code;
  int count;
  bool gone[MOST];
  bool repeated[CK_LOOP_SLOTS];  // an instruction that repeats another writes the slot
} joiner;

/// The instruction that wrote slot s as instruction `at` sees it, or -1.
static int writer_before(const joiner *j, int at, uint8_t s) {
  for (int i = at - 1; i >= 0; i--) {
    if (!j->gone[i] && j->code[i].op != CK_OP_store && j->code[i].dst == s) return i;
  }
  return -1;
}

/// Whether instruction `reader` alone reads, once, what instruction `writer` makes.
static bool is_read_once(const joiner *j, int writer, int reader) {
  const uint8_t s = j->code[writer].dst;
  int times = 0;
  for (int i = writer + 1; i < j->count; i++) {
    if (j->gone[i]) continue;
    uint8_t slots[3];
    const int arity = loop_reads(&j->code[i], slots);
    for (int k = 0; k < arity; k++) {
      if (slots[k] != s) continue;
      if (i != reader) return false;
      times++;
    }
    if (j->code[i].op != CK_OP_store && j->code[i].dst == s) break;
  }
  return times == 1;
}

/// Whether what instruction `writer` reads is still there at `reader`.
static bool is_kept(const joiner *j, int writer, int reader) {
  uint8_t slots[3];
  const int arity = loop_reads(&j->code[writer], slots);
  for (int i = writer + 1; i < reader; i++) {
    if (j->gone[i] || j->code[i].op == CK_OP_store) continue;
    for (int k = 0; k < arity; k++) {
      if (j->code[i].dst == slots[k]) return false;
    }
  }
  return true;
}

/// The instruction of opcode `op` that makes slot s for instruction `at` and for nothing else, and
/// that this could take in; or -1.
static int find(const joiner *j, int at, uint8_t s, int op) {
  const int i = writer_before(j, at, s);
  if (i < 0 || j->code[i].op != op || j->code[i].phase != j->code[at].phase) return -1;
  if ((j->code[i].flags & CK_LOOP_REPEAT) || j->repeated[s]) return -1;
  return is_read_once(j, i, at) && is_kept(j, i, at) ? i : -1;
}

/// Whether slot s holds a constant at `at`, which goes to *value.
static bool is_constant(const joiner *j, int at, uint8_t s, float *value) {
  const int i = writer_before(j, at, s);
  if (i < 0 || j->code[i].op != CK_OP_const_f32) return false;
  *value = j->code[i].imm[0];
  return true;
}

/// Makes instruction `at` op(a, b, c), taking in instruction `from`.
static bool take(joiner *j, int at, int from, int op, uint8_t a, uint8_t b, uint8_t c) {
  ck_loop_instruction *to = &j->code[at];
  to->op = (uint16_t)op;
  to->a = a, to->b = b, to->c = c;
  j->gone[from] = true;
  return true;
}

/// a x + b y for constants x and y, where the product b y is made by `from`, whose first factor (or
/// b itself) is slot b.
static bool scale_add(joiner *j, int at, int op) {
  ck_loop_instruction *to = &j->code[at];
  const int from =
      find(j, at, to->c, op == CK_OP_scale_add_f32 ? CK_OP_mul_f32 : CK_OP_mul_mul_f32);
  if (from < 0) return false;
  const ck_loop_instruction *product = &j->code[from];
  if (op == CK_OP_scale_add_square_f32 && product->a != product->b) return false;
  const uint8_t factor = op == CK_OP_scale_add_f32 ? product->b : product->c;
  float x, y;
  if (!is_constant(j, at, to->b, &x) || !is_constant(j, at, factor, &y)) return false;
  to->imm[0] = x, to->imm[1] = y;
  return take(j, at, from, op, to->a, product->a, 0);
}

/// Lets instruction `at` take in one of those before it; true where it did.
static bool join_into(joiner *j, int at) {
  const ck_loop_instruction i = j->code[at];
  int from;
  switch (i.op) {
    case CK_OP_add_f32:
      if ((from = find(j, at, i.a, CK_OP_mul_f32)) >= 0) {
        return take(j, at, from, CK_OP_mul_add_f32, j->code[from].a, j->code[from].b, i.b);
      }
      if ((from = find(j, at, i.b, CK_OP_mul_f32)) >= 0) {
        return take(j, at, from, CK_OP_mul_add_f32, j->code[from].a, j->code[from].b, i.a);
      }
      return false;
    case CK_OP_sub_f32:
      if ((from = find(j, at, i.a, CK_OP_mul_f32)) >= 0) {
        return take(j, at, from, CK_OP_mul_sub_f32, j->code[from].a, j->code[from].b, i.b);
      }
      if ((from = find(j, at, i.b, CK_OP_mul_f32)) >= 0) {
        return take(j, at, from, CK_OP_sub_mul_f32, i.a, j->code[from].a, j->code[from].b);
      }
      return false;
    case CK_OP_relu_f32:
      if ((from = find(j, at, i.a, CK_OP_mul_add_f32)) >= 0) {
        const ck_loop_instruction *sum = &j->code[from];
        return take(j, at, from, CK_OP_mul_add_relu_f32, sum->a, sum->b, sum->c);
      }
      if ((from = find(j, at, i.a, CK_OP_add_f32)) < 0) return false;
      return take(j, at, from, CK_OP_add_relu_f32, j->code[from].a, j->code[from].b, 0);
    case CK_OP_mul_f32:
      if ((from = find(j, at, i.a, CK_OP_mul_f32)) < 0) return false;
      return take(j, at, from, CK_OP_mul_mul_f32, j->code[from].a, j->code[from].b, i.b);
    case CK_OP_div_f32:
      if ((from = find(j, at, i.a, CK_OP_mul_f32)) < 0) return false;
      return take(j, at, from, CK_OP_mul_div_f32, j->code[from].a, j->code[from].b, i.b);
    case CK_OP_mul_add_f32:
      if ((from = find(j, at, i.a, CK_OP_sqrt_f32)) >= 0) {
        return take(j, at, from, CK_OP_sqrt_mul_add_f32, j->code[from].a, i.b, i.c);
      }
      return scale_add(j, at, CK_OP_scale_add_f32) || scale_add(j, at, CK_OP_scale_add_square_f32);
    case CK_OP_reduce_sum_f32:
      if ((i.flags & CK_LOOP_PRODUCT) || (from = find(j, at, i.a, CK_OP_mul_f32)) < 0) return false;
      // A row's sum may be written before the next row's factors are read.
      if (j->code[from].a == i.dst || j->code[from].b == i.dst) return false;
      j->code[at].flags |= CK_LOOP_PRODUCT;
      return take(j, at, from, CK_OP_reduce_sum_f32, j->code[from].a, j->code[from].b, 0);
    default:
      return false;
  }
}

/// None gone yet.
static joiner joiner_begin(const ck_loop_args *args) {
  joiner j;
  j.code = ck_loop_instructions(args);
  j.count = args->instructions;
  memset(j.gone, 0, sizeof j.gone);
  memset(j.repeated, 0, sizeof j.repeated);
  for (int i = 0; i < j.count; i++) {
    const ck_loop_instruction *at = &j.code[i];
    if (at->op != CK_OP_store && (at->flags & CK_LOOP_REPEAT)) j.repeated[at->dst] = true;
  }
  return j;
}

void loop_join(ck_loop_args *args) {
  if (args->instructions > MOST) return;
  joiner j = joiner_begin(args);
  for (int i = 0; i < j.count; i++) {
    if (j.code[i].op == CK_OP_store || (j.code[i].flags & CK_LOOP_REPEAT)) continue;
    if (j.repeated[j.code[i].dst]) continue;
    while (join_into(&j, i)) continue;
  }
  int kept = 0;
  for (int i = 0; i < j.count; i++) {
    if (!j.gone[i]) j.code[kept++] = j.code[i];
  }
  args->joined = j.count - kept;
  args->instructions = kept;
}
