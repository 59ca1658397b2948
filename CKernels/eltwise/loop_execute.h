// The interpreter: one case an operation, each a loop of whole vectors over the tile. A part of
// loop_body.h.
//
// A slot's step is 16 elements, or 0 where the slot holds one value: then the operation reads the
// same vector again. Where all operands do, it works on one vector and its result has step 0 too,
// so that arithmetic on scalars, or on a row's mean, costs no tile. A slot with a vector a row, or
// with one row, is read row by row beside one that varies.
#ifndef LOOP_EXECUTE_H
#define LOOP_EXECUTE_H

// How a signature's letter is loaded and stored, and its elements' size.
#define TYPE_F ck_v16f
#define TYPE_I ck_v16i
#define TYPE_L ck_v16l
#define TYPE_B ck_v16i
#define GET_F ck_load
#define GET_I ck_load_i32
#define GET_L ck_load_i64
#define GET_B ck_load_i32
#define PUT_F ck_store
#define PUT_I ck_store_i32
#define PUT_L ck_store_i64
#define PUT_B ck_store_i32
#define SIZE_F 4
#define SIZE_I 4
#define SIZE_L 8
#define SIZE_B 4

// Whether results of a class go past the cache, and how.
#define PAST_F past
#define PAST_I false
#define PAST_L false
#define PAST_B false
#define PASS_F ck_stream
#define PASS_I PUT_I
#define PASS_L PUT_L
#define PASS_B PUT_B

// The loop of a case. `expression` reads a, b, c, x, y. With one operand a loop that turns more
// than once has step 16; with more, those whose operands all vary get a loop of their own. What
// does not vary is read before the first result is written, which may lie in the same slot.
#define RUN_0(R, expression) PUT_##R(d, expression);
#define EACH_1(R, A, put, expression)                   \
  for (int64_t v = 0; v < count; v++) {                 \
    const TYPE_##A a = GET_##A(pa + v * 16 * SIZE_##A); \
    put(d + v * 16 * SIZE_##R, expression);             \
  }
#define RUN_1(R, A, expression)        \
  if (PAST_##R) {                      \
    EACH_1(R, A, PASS_##R, expression) \
  } else {                             \
    EACH_1(R, A, PUT_##R, expression)  \
  }
#define SOME_2(R, A, B, put, expression)         \
  TYPE_##A a = GET_##A(pa);                      \
  TYPE_##B b = GET_##B(pb);                      \
  for (int64_t v = 0; v < count; v++) {          \
    if (sa) a = GET_##A(pa + v * 16 * SIZE_##A); \
    if (sb) b = GET_##B(pb + v * 16 * SIZE_##B); \
    put(d + v * 16 * SIZE_##R, expression);      \
  }
#define RUN_2(R, A, B, expression)                        \
  if (PAST_##R) {                                         \
    SOME_2(R, A, B, PASS_##R, expression)                 \
  } else if (sa == 16 && sb == 16) {                      \
    for (int64_t v = 0; v < count; v++) {                 \
      const TYPE_##A a = GET_##A(pa + v * 16 * SIZE_##A); \
      const TYPE_##B b = GET_##B(pb + v * 16 * SIZE_##B); \
      PUT_##R(d + v * 16 * SIZE_##R, expression);         \
    }                                                     \
  } else {                                                \
    SOME_2(R, A, B, PUT_##R, expression)                  \
  }
#define SOME_3(R, A, B, C, put, expression)      \
  TYPE_##A a = GET_##A(pa);                      \
  TYPE_##B b = GET_##B(pb);                      \
  TYPE_##C c = GET_##C(pc);                      \
  for (int64_t v = 0; v < count; v++) {          \
    if (sa) a = GET_##A(pa + v * 16 * SIZE_##A); \
    if (sb) b = GET_##B(pb + v * 16 * SIZE_##B); \
    if (sc) c = GET_##C(pc + v * 16 * SIZE_##C); \
    put(d + v * 16 * SIZE_##R, expression);      \
  }
#define RUN_3(R, A, B, C, expression)                     \
  if (PAST_##R) {                                         \
    SOME_3(R, A, B, C, PASS_##R, expression)              \
  } else if (sa == 16 && sb == 16 && sc == 16) {          \
    for (int64_t v = 0; v < count; v++) {                 \
      const TYPE_##A a = GET_##A(pa + v * 16 * SIZE_##A); \
      const TYPE_##B b = GET_##B(pb + v * 16 * SIZE_##B); \
      const TYPE_##C c = GET_##C(pc + v * 16 * SIZE_##C); \
      PUT_##R(d + v * 16 * SIZE_##R, expression);         \
    }                                                     \
  } else {                                                \
    SOME_3(R, A, B, C, PUT_##R, expression)               \
  }
#define RUN_F_(e) RUN_0(F, e)
#define RUN_I_(e) RUN_0(I, e)
#define RUN_L_(e) RUN_0(L, e)
#define RUN_B_(e) RUN_0(B, e)
#define RUN_F_F(e) RUN_1(F, F, e)
#define RUN_I_F(e) RUN_1(I, F, e)
#define RUN_L_F(e) RUN_1(L, F, e)
#define RUN_B_F(e) RUN_1(B, F, e)
#define RUN_F_I(e) RUN_1(F, I, e)
#define RUN_I_I(e) RUN_1(I, I, e)
#define RUN_L_I(e) RUN_1(L, I, e)
#define RUN_B_I(e) RUN_1(B, I, e)
#define RUN_F_L(e) RUN_1(F, L, e)
#define RUN_I_L(e) RUN_1(I, L, e)
#define RUN_L_L(e) RUN_1(L, L, e)
#define RUN_B_L(e) RUN_1(B, L, e)
#define RUN_F_B(e) RUN_1(F, B, e)
#define RUN_I_B(e) RUN_1(I, B, e)
#define RUN_L_B(e) RUN_1(L, B, e)
#define RUN_B_B(e) RUN_1(B, B, e)
#define RUN_F_FF(e) RUN_2(F, F, F, e)
#define RUN_I_II(e) RUN_2(I, I, I, e)
#define RUN_L_LL(e) RUN_2(L, L, L, e)
#define RUN_B_BB(e) RUN_2(B, B, B, e)
#define RUN_B_FF(e) RUN_2(B, F, F, e)
#define RUN_B_II(e) RUN_2(B, I, I, e)
#define RUN_B_LL(e) RUN_2(B, L, L, e)
#define RUN_F_FFF(e) RUN_3(F, F, F, F, e)
#define RUN_F_BFF(e) RUN_3(F, B, F, F, e)
#define RUN_I_BII(e) RUN_3(I, B, I, I, e)
#define RUN_L_BLL(e) RUN_3(L, B, L, L, e)
#define RUN_B_BBB(e) RUN_3(B, B, B, B, e)

/// Slots that each operation reads.
static const uint8_t arities[CK_OP_COUNT] = {
#define CK_OP(name, signature, immediates, expression) [CK_OP_##name] = sizeof(#signature) - 3,
#include "eltwise_ops.inc"
};

static void reduce_tile(frame *f, const ck_loop_instruction *at);

/// The distance in bytes from row to row of an operand, whose step becomes that within a row.
CK_INLINE int64_t turn_rows(const frame *f, ck_class class, int64_t *step) {
  const int64_t size = class == CK_CLASS_I64 ? 8 : 4;
  switch (*step) {
    case BY_ROW:
      *step = 0;
      return 16 * size;
    case ONE_ROW:
      *step = 16;
      return 0;
    default:
      return *step / 16 * f->columns * size;
  }
}

/// Runs one instruction on the tile.
static inline void execute(frame *f, const ck_loop_instruction *at) {
  if (at->op == CK_OP_load) {
    load_operand(f, at->dst, at->a);
    return;
  }
  if (at->op == CK_OP_store) {
    store_operand(f, at->b, at->a);
    return;
  }
  if (at->op >= CK_OP_reduce_sum_f32) {
    reduce_tile(f, at);
    return;
  }
  // Slots that the operation does not read are slot 0 to the loops below, which ignore them; only
  // `arity` counts for the step.
  const int arity = at->op < CK_OP_copy_f32 ? 0 : (int)arities[at->op];
  int64_t sa = arity >= 1 ? f->slots[at->a].step : 0;
  int64_t sb = arity >= 2 ? f->slots[at->b].step : 0;
  int64_t sc = arity >= 3 ? f->slots[at->c].step : 0;
  const char *pa = f->slots[at->a].p;
  const char *pb = f->slots[at->b].p;
  const char *pc = f->slots[at->c].p;
  char *d = f->own[at->dst];
  f->slots[at->dst].p = d;
  const bool past = (f->past >> at->dst) & 1;
  const int64_t any = sa | sb | sc;
  int64_t count = any ? f->vectors : 1, step = any ? 16 : 0, rounds = 1;
  int64_t next_a = 0, next_b = 0, next_c = 0, next_d = 0;
  if (any & (BY_ROW | ONE_ROW)) {
    if (any != BY_ROW && any != ONE_ROW) {
      // Row by row, each of which sees one vector where a slot has one a row; from the last row on,
      // because the result may go to the slot that holds those.
      const ck_op_info *info = ck_op_describe(at->op);
      next_a = turn_rows(f, info->operand[0], &sa);
      next_b = turn_rows(f, info->operand[1], &sb);
      next_c = turn_rows(f, info->operand[2], &sc);
      next_d = f->columns * (info->result == CK_CLASS_I64 ? 8 : 4);
      rounds = f->rows;
      count = f->columns / 16;
      d += (rounds - 1) * next_d;
      pa += (rounds - 1) * next_a, pb += (rounds - 1) * next_b, pc += (rounds - 1) * next_c;
    } else {
      sa *= 16 / any, sb *= 16 / any, sc *= 16 / any;
      count = any == BY_ROW ? f->rows : f->columns / 16;
      step = any;
    }
  }
  f->slots[at->dst].step = step;
  const ck_v16f x = ck_splat(at->imm[0]), y = ck_splat(at->imm[1]);
  int64_t imm64;
  memcpy(&imm64, at->imm, 8);
  (void)y;
  (void)imm64;
  (void)sc;
  (void)pc;
  for (; rounds > 0; rounds--, d -= next_d, pa -= next_a, pb -= next_b, pc -= next_c) {
    switch (at->op) {
#define CK_OP(name, signature, immediates, expression) \
  case CK_OP_##name: {                                 \
    RUN_##signature(expression) break;                 \
  }
#include "eltwise_ops.inc"
      default:
        break;
    }
  }
}

/// Runs instructions [from, to) on the tile.
static void run_code(frame *f, int from, int to) {
  for (int i = from; i < to; i++) execute(f, &f->code[i]);
}

/// The same for those with all flags of `with` and none of `without`.
static void run_flagged(frame *f, int from, int to, int with, int without) {
  const ck_loop_instruction *code = f->code;
  for (int i = from; i < to; i++) {
    if ((code[i].flags & with) == with && !(code[i].flags & without)) execute(f, &code[i]);
  }
}

/// Runs what needs no place in the domain. Its loads see a tile of one element.
static void run_once(frame *f) {
  if (f->args->once == 0) return;
  f->rows = f->columns = f->count = f->vectors = 1;
  run_code(f, 0, f->args->once);
}

#endif
