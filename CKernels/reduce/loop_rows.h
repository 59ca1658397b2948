// Reductions along rows, phase by phase. A part of loop_body.h.
#ifndef LOOP_ROWS_H
#define LOOP_ROWS_H

/// The first instruction of a phase, after those run once.
CK_INLINE int phase_begin(const ck_loop_args *args, int phase) {
  return phase == 0 ? args->once : args->phase_end[phase - 1];
}

/// The result of a reduction (16 lanes at p) as its slot's value.
static void set_result(frame *f, const ck_loop_instruction *at, const char *p) {
  char *d = own_memory(f, at->dst);
  combine_lanes(at->op, d, p);
  f->own[at->dst] = d;
  f->slots[at->dst].p = d;
  f->slots[at->dst].step = 0;
}

/// A phase's instructions for what is the same all along the row, seen from its first element.
static void run_row(frame *f, int phase, bool stores) {
  const ck_loop_args *args = f->args;
  for (int d = args->first_reduced; d < f->dims; d++) f->at[d] = 0;
  f->rows = f->columns = f->count = f->vectors = 1;
  for (int i = phase_begin(args, phase); i < args->phase_end[phase]; i++) {
    const ck_loop_instruction *at = &f->code[i];
    if (!(at->flags & CK_LOOP_ROW) || (at->flags & CK_LOOP_NEVER)) continue;
    if (at->op != CK_OP_store || stores) execute(f, at);
  }
}

// What a phase has.
enum { HAS_ROW = 1, HAS_TILE = 2, HAS_REDUCTION = 4 };

static void look_at_phases(frame *f) {
  const ck_loop_args *args = f->args;
  for (int phase = 0; phase < args->phases; phase++) {
    f->phase_has[phase] = 0;
    for (int i = phase_begin(args, phase); i < args->phase_end[phase]; i++) {
      const ck_loop_instruction *at = &f->code[i];
      if (at->flags & CK_LOOP_NEVER) continue;
      f->phase_has[phase] |= at->flags & CK_LOOP_ROW ? HAS_ROW : HAS_TILE;
      if (at->op >= CK_OP_reduce_sum_f32) f->phase_has[phase] |= HAS_REDUCTION;
    }
  }
}

/// Tiles [from, to) of the row at hand through a phase.
static void run_tiles(frame *f, int phase, int64_t from, int64_t to) {
  const ck_loop_args *args = f->args;
  const int begin = phase_begin(args, phase), end = args->phase_end[phase];
  const bool in_slots = args->tiles == 1;
  for (int64_t tile = from; tile < to; tile++) {
    frame_tile(f, args->first_reduced, tile);
    if (in_slots) {
      run_flagged(f, begin, end, 0, CK_LOOP_ROW | CK_LOOP_NEVER | CK_LOOP_REPEAT);
      continue;
    }
    for (uint64_t left = args->kept; left; left &= left - 1) {
      const int s = __builtin_ctzll(left);
      f->own[s] = kept_memory(f, s, tile);
      if (phase > 0) {
        f->slots[s].p = f->own[s];
        f->slots[s].step = (f->varies[s] >> tile) & 1 ? 16 : 0;
      }
    }
    for (int i = begin; i < end; i++) {
      const ck_loop_instruction *at = &f->code[i];
      if (at->flags & (CK_LOOP_ROW | CK_LOOP_NEVER)) continue;
      const bool kept = (at->flags & CK_LOOP_REPEAT) && ((args->kept >> at->dst) & 1);
      if (!kept) execute(f, at);
    }
    for (uint64_t left = args->kept; left; left &= left - 1) {
      const int s = __builtin_ctzll(left);
      const uint32_t bit = 1u << tile;
      f->varies[s] = f->slots[s].step ? f->varies[s] | bit : f->varies[s] & ~bit;
    }
  }
}

/// Rows of one thread each: all phases of a row before the next row.
static void whole_rows(frame *f, int64_t begin, int64_t end) {
  const ck_loop_args *args = f->args;
  for (int64_t row = begin; row < end; row++) {
    frame_place(f, args->first_reduced, row);
    for (int phase = 0; phase < args->phases; phase++) {
      const int has = f->phase_has[phase];
      if (has & HAS_ROW) run_row(f, phase, true);
      if (!(has & HAS_TILE)) continue;
      run_tiles(f, phase, 0, args->tiles);
      if (!(has & HAS_REDUCTION)) continue;
      for (int i = phase_begin(args, phase); i < args->phase_end[phase]; i++) {
        const ck_loop_instruction *at = &f->code[i];
        if (at->op < CK_OP_reduce_sum_f32) continue;
        set_result(f, at, finish_blocks(f, at->op, at->c, 1));
      }
    }
  }
}

/// A partial result: of reduction r, in part `part` of row or block `unit`.
CK_INLINE char *partial_of(const ck_loop_args *args, int64_t unit, int64_t part, int r) {
  const size_t bytes = loop_partial_bytes(args);
  return (char *)args->workspace + (size_t)(unit * args->parts + part) * bytes +
         (size_t)r * (bytes / (size_t)args->reductions);
}

/// Combines the parts of every reduction of `phase` in row `row` into its slot.
static void collect_row(frame *f, int phase, int64_t row) {
  const ck_loop_args *args = f->args;
  for (int i = phase_begin(args, phase); i < args->phase_end[phase]; i++) {
    const ck_loop_instruction *at = &f->code[i];
    if (at->op < CK_OP_reduce_sum_f32) continue;
    for (int64_t part = 0; part < args->parts; part++) {
      memcpy(level_of(f, at->c, LOOP_LEVELS), partial_of(args, row, part, at->c),
             (size_t)(16 * lane_bytes(at->op)));
      count_block(f, at->op, at->c, 1);
    }
    set_result(f, at, finish_blocks(f, at->op, at->c, 1));
  }
}

/// Few long rows: every phase is shared out by parts, and ends at a barrier.
static void split_rows(frame *f, const ck_thread *t) {
  const ck_loop_args *args = f->args;
  int64_t begin, end;
  ck_share(args->units * args->parts, t, &begin, &end);
  for (int phase = 0; phase < args->phases; phase++) {
    int64_t current = -1;
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t row = unit / args->parts, part = unit % args->parts;
      if (row != current) {
        current = row;
        frame_place(f, args->first_reduced, row);
        for (int p = 0; p < phase; p++) {
          run_row(f, p, false);
          collect_row(f, p, row);
        }
        // One thread alone stores what belongs to the whole row.
        run_row(f, phase, part == 0);
      }
      if (!(f->phase_has[phase] & HAS_TILE)) continue;
      const int64_t first = part * args->part_tiles;
      const int64_t last = first + args->part_tiles;
      run_tiles(f, phase, first, last < args->tiles ? last : args->tiles);
      for (int i = phase_begin(args, phase); i < args->phase_end[phase]; i++) {
        const ck_loop_instruction *at = &f->code[i];
        if (at->op < CK_OP_reduce_sum_f32) continue;
        const char *total = finish_blocks(f, at->op, at->c, 1);
        memcpy(partial_of(args, row, part, at->c), total, (size_t)(16 * lane_bytes(at->op)));
      }
    }
    if (phase + 1 < args->phases) ck_barrier(t);
  }
}

static void loop_rows(const ck_loop_args *args, const ck_thread *t) {
  frame f;
  frame_begin(&f, args, t->scratch);
  memset(f.blocks, 0, sizeof f.blocks);
  memset(f.pending, 0, sizeof f.pending);
  look_at_phases(&f);
  memset(f.varies, 0, sizeof f.varies);
  run_once(&f);
  if (args->parts > 1) {
    split_rows(&f, t);
    return;
  }
  int64_t begin, end;
  ck_share(args->units, t, &begin, &end);
  if (begin == end) return;
  frame_connect(&f);
  if (!args->packed) {
    whole_rows(&f, begin, end);
    return;
  }
  for (int64_t unit = begin; unit < end; unit++) {
    frame_tile(&f, 0, unit);
    run_flagged(&f, args->once, args->instructions, 0, CK_LOOP_NEVER | CK_LOOP_REPEAT);
  }
}

#endif
