// Superinstructions: pairs of instructions that one opcode does, with the same roundings. What lies
// between them need not go through a slot.
//
// A result is taken into the instruction that reads it where nothing else does, in the same phase,
// and where what it was made of is still in its slots. Not joined: what a later phase repeats.
//
// Then chains: instructions that one loop does vector by vector, keeping what passes between them
// in registers. They stay instructions of their own, next to one another, so that all else that
// reads a program needs no word of chains, and so that they can run one by one where their operands
// are not what the chain's loop expects. The one chain there is, Adam's update, is bound by a
// square root and a division, under which it hides all of its other work.
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

/// The instruction of opcode `op` that makes slot s for instruction `at` and for nothing else; or
/// -1.
static int find_maker(const joiner *j, int at, uint8_t s, int op) {
  const int i = writer_before(j, at, s);
  if (i < 0 || j->code[i].op != op || j->code[i].phase != j->code[at].phase) return -1;
  if ((j->code[i].flags & CK_LOOP_REPEAT) || j->repeated[s]) return -1;
  return is_read_once(j, i, at) ? i : -1;
}

/// The same that instruction `at` could take in.
static int find(const joiner *j, int at, uint8_t s, int op) {
  const int i = find_maker(j, at, s, op);
  return i >= 0 && is_kept(j, i, at) ? i : -1;
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

/// Of instructions [from, end) of the program, none gone yet.
static joiner joiner_begin(const ck_loop_args *args, int from) {
  joiner j;
  j.code = ck_loop_instructions(args) + from;
  j.count = args->instructions - from;
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
  joiner j = joiner_begin(args, 0);
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

// MARK: Chains

/// The members, by index, of a chain that ends at instruction `last`, in the order in which they
/// run; false where there is none.
static bool find_chain(const joiner *j, int last, int member[LOOP_CHAIN]) {
  const ck_loop_instruction *code = j->code, *update = &code[last];
  if (update->op != CK_OP_sub_f32 && update->op != CK_OP_mul_sub_f32) return false;
  const uint8_t step = update->op == CK_OP_sub_f32 ? update->b : update->c;
  const int quotient = find_maker(j, last, step, CK_OP_mul_div_f32);
  if (quotient < 0) return false;
  const int root = find_maker(j, quotient, code[quotient].c, CK_OP_sqrt_mul_add_f32);
  if (root < 0) return false;
  const int first = writer_before(j, quotient, code[quotient].a);
  const int second = writer_before(j, root, code[root].a);
  if (first < 0 || code[first].op != CK_OP_scale_add_f32) return false;
  if (second < 0 || code[second].op != CK_OP_scale_add_square_f32) return false;
  if (code[first].b != code[second].b) return false;
  const int found[LOOP_CHAIN] = {first, second, root, quotient, last};
  memcpy(member, found, sizeof found);
  return true;
}

/// The slots that member k reads from outside of the chain: not the moments that the root and the
/// quotient read first, what the quotient divides by, what the update subtracts.
static uint64_t outer_reads(const joiner *j, const int member[LOOP_CHAIN], int k) {
  uint8_t slots[3];
  const int arity = loop_reads(&j->code[member[k]], slots);
  uint64_t read = 0;
  for (int r = 0; r < arity; r++) {
    const bool inner = (k >= 3 && r == arity - 1) || ((k == 2 || k == 3) && r == 0);
    if (!inner) read |= 1ull << slots[r];
  }
  return read;
}

/// Whether the members can run next to one another, root and quotient in slots of their own: no
/// result goes where another member's operand is, and what lies between them neither reads nor
/// makes what they write, nor writes what they read.
static bool can_gather(const joiner *j, const int member[LOOP_CHAIN], int begin, int end) {
  uint64_t written = 0, read = 0, made = 0, inner = 0;
  for (int k = 0; k < LOOP_CHAIN; k++) read |= outer_reads(j, member, k);
  for (int k = 0; k < LOOP_CHAIN; k++) {
    const uint64_t slot = 1ull << j->code[member[k]].dst;
    if (k == 2 || k == 3) {
      inner |= slot;
      continue;
    }
    if ((read | written) & slot) return false;
    written |= slot;
  }
  for (int i = begin; i <= end; i++) {
    int k = 0;
    while (k < LOOP_CHAIN && member[k] != i) k++;
    if (k < LOOP_CHAIN) {
      made |= outer_reads(j, member, k);
      if (k != 2 && k != 3) made |= 1ull << j->code[i].dst;
      continue;
    }
    if (j->code[i].op == CK_OP_store || (made >> j->code[i].dst) & 1) return false;
    uint8_t slots[3];
    const int arity = loop_reads(&j->code[i], slots);
    for (int r = 0; r < arity; r++) {
      if (((written | inner) >> slots[r]) & 1) return false;
    }
  }
  return true;
}

void loop_chain(ck_loop_args *args) {
  if (args->instructions > MOST || args->phases > 1) return;
  const joiner j = joiner_begin(args, args->once);
  for (int last = 0; last < j.count; last++) {
    int member[LOOP_CHAIN];
    if (!find_chain(&j, last, member)) continue;
    int begin = last;
    for (int k = 0; k < LOOP_CHAIN; k++) begin = member[k] < begin ? member[k] : begin;
    if (!can_gather(&j, member, begin, last) || args->slots + 2 > CK_LOOP_SLOTS) continue;
    // The slots of root and quotient may by now hold what the update reads.
    const uint8_t root = (uint8_t)args->slots++, quotient = (uint8_t)args->slots++;
    ck_loop_instruction *update = &j.code[last];
    j.code[member[2]].dst = j.code[member[3]].c = root;
    j.code[member[3]].dst = quotient;
    if (update->op == CK_OP_sub_f32) {
      update->b = quotient;
    } else {
      update->c = quotient;
    }
    ck_loop_instruction chain[LOOP_CHAIN];
    for (int k = 0; k < LOOP_CHAIN; k++) {
      chain[k] = j.code[member[k]];
      j.code[member[k]].op = CK_OP_COUNT;
    }
    int to = begin;
    for (int i = begin; i <= last; i++) {
      if (j.code[i].op != CK_OP_COUNT) j.code[to++] = j.code[i];
    }
    memcpy(&j.code[to], chain, sizeof chain);
    j.code[to].flags |= CK_LOOP_CHAIN;
  }
}
