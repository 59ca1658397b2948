// What a loop's program says before anything is known of its domain: whether it is well formed,
// which instructions depend on what, which need to run only once or once a row.
#include <string.h>

#include "loop_plan.h"

// MARK: Is the program well formed?

bool loop_is_valid(const ck_loop_args *args) {
  if (args->dims < 1 || args->dims > CK_LOOP_DIMS || args->first_reduced < 0 ||
      args->reduced_dims < 0 || args->first_reduced + args->reduced_dims > args->dims ||
      args->operands < 0 || args->operands > 256 || args->instructions < 0 ||
      args->instructions > CK_LOOP_INSTRUCTIONS) {
    return false;
  }
  for (int d = 0; d < args->dims; d++) {
    if (args->extent[d] < 0) return false;
  }
  const ck_loop_operand *operands = ck_loop_operands(args);
  for (int o = 0; o < args->operands; o++) {
    if (operands[o].dtype < CK_F32 || operands[o].dtype > CK_BOOL) return false;
    if ((operands[o].flags & CK_LOOP_INDEX) && operands[o].dtype != CK_I32 &&
        operands[o].dtype != CK_I64) {
      return false;
    }
  }
  ck_class held[CK_LOOP_SLOTS] = {CK_CLASS_NONE};
  int phase = 0;
  const ck_loop_instruction *code = ck_loop_instructions(args);
  for (int i = 0; i < args->instructions; i++) {
    const ck_loop_instruction *at = &code[i];
    const ck_op_info *info = ck_op_describe(at->op);
    if (!info || at->phase < phase || at->phase >= CK_LOOP_PHASES) return false;
    phase = at->phase;
    if (at->op == CK_OP_store) {
      if (at->b >= args->operands || at->a >= CK_LOOP_SLOTS) return false;
      const ck_class class = ck_class_of((ck_dtype)operands[at->b].dtype);
      if (class == CK_CLASS_NONE || class != held[at->a]) return false;
      if (operands[at->b].flags & CK_LOOP_INDEX) return false;
      continue;
    }
    if (at->dst >= CK_LOOP_SLOTS) return false;
    ck_class class = info->result;
    if (at->op == CK_OP_load) {
      if (at->a >= args->operands) return false;
      class = ck_class_of((ck_dtype)operands[at->a].dtype);
      if (class == CK_CLASS_NONE) return false;
    } else {
      const uint8_t read[3] = {at->a, at->b, at->c};
      for (int k = 0; k < info->arity; k++) {
        if (read[k] >= CK_LOOP_SLOTS || held[read[k]] != info->operand[k]) return false;
      }
      if (info->reduces && (args->reduced_dims == 0 || at->dst == at->a)) return false;
    }
    if (held[at->dst] != CK_CLASS_NONE && held[at->dst] != class) return false;
    held[at->dst] = class;
  }
  return true;
}

// MARK: What instructions depend on

int loop_reads(const ck_loop_instruction *at, uint8_t read[3]) {
  read[0] = at->a;
  read[1] = at->b;
  read[2] = at->c;
  if (at->op == CK_OP_load) return 0;
  if (at->op == CK_OP_store) return 1;
  if (at->flags & CK_LOOP_PRODUCT) return 2;
  return ck_op_describe(at->op)->arity;
}

loop_facts loop_gather(const ck_loop_args *args) {
  loop_facts f;
  memset(&f, 0, sizeof f);
  for (int s = 0; s < CK_LOOP_SLOTS; s++) f.last_read[s] = -1;
  const ck_loop_instruction *code = ck_loop_instructions(args);
  for (int i = 0; i < args->instructions; i++) {
    uint8_t read[3];
    const int count = loop_reads(&code[i], read);
    for (int k = 0; k < count; k++) {
      f.reads[read[k]]++;
      f.last_read[read[k]] = i;
      f.last_phase[read[k]] = code[i].phase;
    }
    if (code[i].op == CK_OP_store) continue;
    if (code[i].flags & CK_LOOP_NEVER) continue;
    if (code[i].flags & CK_LOOP_REPEAT) {
      f.repeats[code[i].dst] = true;
    } else {
      f.writers[code[i].dst]++;
      f.writer[code[i].dst] = i;
    }
  }
  return f;
}

/// Whether the operand is the same all over dimensions [from, to).
static bool is_still(const ck_loop_args *args, const ck_loop_operand *operand, int from, int to) {
  for (int d = from; d < to; d++) {
    if (args->extent[d] != 1 && operand->stride[d] != 0) return false;
  }
  return true;
}

/// Marks the slots that hold one value all over dimensions [from, to), and sets `flag` on the
/// instructions that make them. A reduction's result is one where `reductions` says so.
void loop_mark_still(ck_loop_args *args, int from, int to, bool reductions, uint8_t flag) {
  const loop_facts f = loop_gather(args);
  bool still[CK_LOOP_SLOTS] = {false};
  ck_loop_instruction *code = ck_loop_instructions(args);
  for (int i = 0; i < args->instructions; i++) {
    ck_loop_instruction *at = &code[i];
    uint8_t read[3];
    const int count = loop_reads(at, read);
    bool is = true;
    for (int k = 0; k < count; k++) is = is && still[read[k]];
    if (at->op == CK_OP_load) is = is_still(args, &ck_loop_operands(args)[at->a], from, to);
    if (at->op == CK_OP_store) {
      if (flag == CK_LOOP_ROW && is && is_still(args, &ck_loop_operands(args)[at->b], from, to)) {
        at->flags |= flag;
      }
      continue;
    }
    if (ck_op_describe(at->op)->reduces) {
      if (reductions) still[at->dst] = true;
      continue;
    }
    if (is && f.writers[at->dst] == 1) {
      still[at->dst] = true;
      at->flags |= flag;
      if (at->flags & CK_LOOP_REPEAT) at->flags |= CK_LOOP_NEVER;
    }
  }
}

/// Brings the instructions that depend on no dimension to the front, in order.
void loop_hoist(ck_loop_args *args) {
  const uint8_t mark = 128;
  loop_mark_still(args, 0, args->dims, false, mark);
  ck_loop_instruction *code = ck_loop_instructions(args);
  args->once = 0;
  for (int i = 0; i < args->instructions; i++) {
    if (!(code[i].flags & mark)) continue;
    code[i].flags &= (uint8_t)~mark;
    if (code[i].flags & CK_LOOP_NEVER) continue;
    const ck_loop_instruction moved = code[i];
    memmove(&code[args->once + 1], &code[args->once],
            (size_t)(i - args->once) * sizeof(ck_loop_instruction));
    code[args->once] = moved;
    code[args->once++].phase = 0;
  }
  for (int p = 0; p < CK_LOOP_PHASES; p++) args->phase_end[p] = args->once;
  for (int i = args->once; i < args->instructions; i++) {
    for (int p = code[i].phase; p < CK_LOOP_PHASES; p++) args->phase_end[p] = i + 1;
  }
}

/// Whether every store fits its operand, and every slot that is not the same all along a row is
/// written in the phases that read it.
bool loop_phases_fit(const ck_loop_args *args) {
  const int first = args->first_reduced, last = first + args->reduced_dims;
  int8_t written[CK_LOOP_SLOTS];
  bool row[CK_LOOP_SLOTS] = {false};
  memset(written, -1, sizeof written);
  const ck_loop_instruction *code = ck_loop_instructions(args);
  for (int i = 0; i < args->instructions; i++) {
    const ck_loop_instruction *at = &code[i];
    uint8_t read[3];
    const int count = loop_reads(at, read);
    for (int k = 0; k < count; k++) {
      const int8_t phase = written[read[k]];
      if (!row[read[k]] && phase != at->phase) return false;
      if (row[read[k]] && phase > at->phase) return false;
    }
    if (at->op == CK_OP_store) {
      const ck_loop_operand *operand = &ck_loop_operands(args)[at->b];
      const bool still = args->reduced_dims > 0 && is_still(args, operand, first, last);
      if (still && !(at->flags & CK_LOOP_ROW)) return false;
      continue;
    }
    const bool reduces = ck_op_describe(at->op)->reduces;
    row[at->dst] = reduces || (at->flags & CK_LOOP_ROW);
    // What a reduction leaves is read from the next phase on.
    written[at->dst] = (int8_t)(at->phase + (reduces ? 1 : 0));
  }
  return true;
}
