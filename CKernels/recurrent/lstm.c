// The driver of the LSTM, and its table.
//
// The weights of the state are brought into panels once a call, of `columns` units a gate, and stay
// in the cache for all steps. A team is cut in one of two ways:
//
//     by rows:   each thread has sequences of its own and all weights; nobody waits for anybody
//     by units:  each thread has units of its own, with their part of the weights; all wait for
//                each other once a step, because a product reads all units
//
// By rows where the weights fit a core's own cache and there are rows enough for a tile. Which way
// is taken changes no bit: an element's sum is the same in any tile.
#include "lstm_internal.h"

#include <string.h>

#define CK_LSTM(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "lstm_kernels.inc"
#undef CK_LSTM

static const ck_entry entries[] = {
#define CK_LSTM(level, operation, function, same_bits) \
  {level, CK_LSTM_##operation, same_bits, #function, function},
#include "lstm_kernels.inc"
#undef CK_LSTM
};

const ck_entry *ck_lstm_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_lstm(ck_lstm_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}

enum {
  gates_count = 4,
  most_columns = 32,
  own_cache_bytes = 512 << 10,  // of the weights, where each thread reads all of them
  least_rows = 6,               // a tile of fewer rows waits for the panel
};

static int64_t padded(int64_t units) { return ceiling(units, most_columns) * most_columns; }

size_t ck_lstm_workspace_bytes(const ck_lstm_shape *s) {
  return (size_t)(gates_count * s->hidden * padded(s->hidden)) * sizeof(float);
}

// MARK: A thread's part

typedef struct part {
  const ck_lstm_shape *shape;
  const lstm_level *level;
  const ck_thread *thread;
  const int32_t *active;
  range rows, blocks;  // blocks of `columns` units
  bool by_rows;
  float *panels;
} part;

static part part_of(const ck_lstm_shape *shape, const lstm_level *level, const ck_thread *t,
                    const int32_t *active, void *workspace) {
  part p = {shape, level, t, active, {0, shape->batch}, {0, 0}, true, workspace};
  p.blocks.end = ceiling(shape->hidden, level->product->columns);
  if (t->count == 1) return p;
  const size_t weights = (size_t)(gates_count * shape->hidden * shape->hidden) * sizeof(float);
  p.by_rows = length(p.blocks) < t->count ||
              (weights <= own_cache_bytes && shape->batch >= least_rows * t->count);
  range *cut = p.by_rows ? &p.rows : &p.blocks;
  *cut = block_of(*cut, t->count, t->index);
  return p;
}

/// The step that comes `turn`-th.
static int64_t step_at(const part *p, int64_t turn) {
  return p->shape->reversed ? p->shape->steps - 1 - turn : turn;
}

/// How many sequences step `step` has.
static int64_t active_at(const part *p, int64_t step) {
  if (!p->active) return p->shape->batch;
  return greatest(0, least(p->active[step], p->shape->batch));
}

/// How many of them have had a step before it in this direction.
static int64_t going_on(const part *p, int64_t turn) {
  if (turn == 0) return 0;
  return least(active_at(p, step_at(p, turn)), active_at(p, step_at(p, turn - 1)));
}

static range units_of(const part *p, int64_t block) {
  const int64_t columns = p->level->product->columns;
  return (range){block * columns, least((block + 1) * columns, p->shape->hidden)};
}

static range own_units(const part *p) {
  if (length(p->blocks) == 0) return (range){0, 0};
  return (range){units_of(p, p->blocks.begin).begin, units_of(p, p->blocks.end - 1).end};
}

static range overlap(range a, range b) {
  const int64_t begin = greatest(a.begin, b.begin);
  return (range){begin, greatest(begin, least(a.end, b.end))};
}

static void zero(float *base, int64_t row_length, range rows, range columns) {
  for (int64_t r = rows.begin; r < rows.end; ++r)
    memset(base + r * row_length + columns.begin, 0, (size_t)length(columns) * sizeof *base);
}

static void copy(float *to, const float *from, int64_t row_length, range rows, range columns) {
  if (to == from) return;
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const int64_t at = r * row_length + columns.begin;
    memcpy(to + at, from + at, (size_t)length(columns) * sizeof *to);
  }
}

/// All threads go on where each has what the others have made.
static void meet(const part *p) {
  if (!p->by_rows) ck_barrier(p->thread);
}

// MARK: Weights

/// Panels of one block: of `terms` rows of `columns` floats each.
static float *panel(const part *p, int64_t block, int64_t gate, int64_t terms) {
  return p->panels + (block * gates_count + gate) * terms * p->level->product->columns;
}

static void pack_panels(const part *p, const float *u, bool backward) {
  const int64_t H = p->shape->hidden, columns = p->level->product->columns;
  range blocks = p->blocks;
  if (p->by_rows) ck_share(length(blocks), p->thread, &blocks.begin, &blocks.end);
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const range units = units_of(p, block);
    for (int64_t gate = 0; gate < gates_count; ++gate) {
      if (backward) {
        // Column `units` of the gate's rows: its part of the terms.
        p->level->product->pack(panel(p, block, 0, H) + gate * H * columns, columns, length(units),
                                H, u + gate * H * H + units.begin, 1, H);
      } else {
        p->level->product->pack(panel(p, block, gate, H), columns, length(units), H,
                                u + (gate * H + units.begin) * H, H, 1);
      }
    }
  }
  if (p->by_rows) ck_barrier(p->thread);
}

/// Rows cut into tiles of nearly equal height.
typedef struct tiles {
  int64_t count;
  range rows;
} tiles;

static tiles tiles_of(const part *p, range rows) {
  return (tiles){ceiling(length(rows), p->level->product->max_rows), rows};
}

static range tile_rows(tiles t, int64_t i) {
  return (range){t.rows.begin + tile_begin(length(t.rows), t.count, i),
                 t.rows.begin + tile_begin(length(t.rows), t.count, i + 1)};
}

/// C[rows, units] (+)= A B over `terms`.
static void run_tile(const part *p, range rows, range units, const float *panel, int64_t terms,
                     const float *a, float *c, int64_t c_row, bool accumulate) {
  const gemm_level *product = p->level->product;
  const gemm_tile tile = {
      .a = a + rows.begin * terms,
      .a_row = terms,
      .a_col = 1,
      .b = panel,
      .b_row = product->columns,
      .c = c + rows.begin * c_row + units.begin,
      .c_row = c_row,
      .K = terms,
      .alpha = 1,
      .accumulate = accumulate,
      .rows = (int32_t)length(rows),
      .columns = (int32_t)length(units),
  };
  product->tile(&tile);
}

// MARK: Forward

/// The rows of a step that come from the same place.
static void forward_rows(const part *p, const ck_lstm_args *a, int64_t step, range rows,
                         const float *h_before, const float *c_before) {
  const int64_t H = p->shape->hidden, at = step * p->shape->batch;
  float *gates = a->gates + at * gates_count * H;
  const tiles all = tiles_of(p, rows);
  for (int64_t block = p->blocks.begin; block < p->blocks.end; ++block) {
    const range units = units_of(p, block);
    for (int64_t i = 0; i < all.count; ++i) {
      const range own = tile_rows(all, i);
      for (int64_t gate = 0; gate < gates_count; ++gate) {
        run_tile(p, own, units, panel(p, block, gate, H), H, h_before, gates + gate * H,
                 gates_count * H, true);
      }
      const int64_t first = own.begin * H + units.begin;
      const lstm_cells cells = {
          .rows = length(own),
          .units = length(units),
          .hidden = H,
          .gates = gates + own.begin * gates_count * H + units.begin,
          .c_before = c_before + first,
          .c = a->c + at * H + first,
          .h = a->h + at * H + first,
      };
      p->level->cells(&cells);
    }
  }
}

void lstm_forward(const ck_lstm_args *a, const ck_thread *t, const lstm_level *level) {
  const part p = part_of(&a->shape, level, t, a->active, a->workspace);
  const int64_t H = a->shape.hidden, state = a->shape.batch * H;
  pack_panels(&p, a->u, false);
  const range units = own_units(&p);
  for (int64_t turn = 0; turn < a->shape.steps; ++turn) {
    const int64_t step = step_at(&p, turn), count = active_at(&p, step);
    const int64_t old = going_on(&p, turn);
    if (a->gates != a->x) {
      for (int64_t gate = 0; gate < gates_count; ++gate) {
        const range columns = {gate * H + units.begin, gate * H + units.end};
        const int64_t at = step * state * gates_count;
        copy(a->gates + at, a->x + at, gates_count * H, overlap(p.rows, (range){0, count}),
             columns);
      }
    }
    const range goes_on = overlap(p.rows, (range){0, old});
    const range begins = overlap(p.rows, (range){old, count});
    if (length(goes_on) > 0) {
      const int64_t before = step_at(&p, turn - 1) * state;
      forward_rows(&p, a, step, goes_on, a->h + before, a->c + before);
    }
    if (length(begins) > 0) forward_rows(&p, a, step, begins, a->h0, a->c0);
    const range behind = overlap(p.rows, (range){count, a->shape.batch});
    zero(a->h + step * state, H, behind, units);
    zero(a->c + step * state, H, behind, units);
    for (int64_t gate = 0; gate < gates_count; ++gate) {
      zero(a->gates + step * state * gates_count, gates_count * H, behind,
           (range){gate * H + units.begin, gate * H + units.end});
    }
    // Those that have no next step end here.
    const int64_t further = turn + 1 < a->shape.steps ? going_on(&p, turn + 1) : 0;
    const range ends = overlap(p.rows, (range){further, count});
    copy(a->h_last, a->h + step * state, H, ends, units);
    copy(a->c_last, a->c + step * state, H, ends, units);
    meet(&p);
  }
  if (a->shape.steps == 0) {
    copy(a->h_last, a->h0, H, p.rows, units);
    copy(a->c_last, a->c0, H, p.rows, units);
  }
}

// MARK: Backward

static void backward_rows(const part *p, const ck_lstm_gradient_args *a, int64_t step, range rows,
                          const float *c_before) {
  const int64_t H = p->shape->hidden, at = step * p->shape->batch;
  const range units = own_units(p);
  const int64_t first = rows.begin * H + units.begin;
  const int64_t gates = (at + rows.begin) * gates_count * H + units.begin;
  const lstm_cell_gradients cells = {
      .rows = length(rows),
      .units = length(units),
      .hidden = H,
      .gates = a->gates + gates,
      .c = a->c + at * H + first,
      .c_before = c_before + first,
      .dh = a->dh + at * H + first,
      .dh_after = a->dh0 + first,
      .dc = a->dc0 + first,
      .dx = a->dx + gates,
  };
  p->level->cell_gradients(&cells);
}

void lstm_backward(const ck_lstm_gradient_args *a, const ck_thread *t, const lstm_level *level) {
  const part p = part_of(&a->shape, level, t, a->active, a->workspace);
  const int64_t H = a->shape.hidden, state = a->shape.batch * H, wide = gates_count * H;
  pack_panels(&p, a->u, true);
  const range units = own_units(&p);
  // What flows back from step to step lies where it is given out at the end.
  copy(a->dh0, a->dh_last, H, p.rows, units);
  copy(a->dc0, a->dc_last, H, p.rows, units);
  for (int64_t turn = a->shape.steps - 1; turn >= 0; --turn) {
    const int64_t step = step_at(&p, turn), count = active_at(&p, step);
    const int64_t old = going_on(&p, turn);
    const range goes_on = overlap(p.rows, (range){0, old});
    const range begins = overlap(p.rows, (range){old, count});
    if (length(units) > 0 && length(goes_on) > 0)
      backward_rows(&p, a, step, goes_on, a->c + step_at(&p, turn - 1) * state);
    if (length(units) > 0 && length(begins) > 0) backward_rows(&p, a, step, begins, a->c0);
    for (int64_t gate = 0; gate < gates_count; ++gate) {
      zero(a->dx + step * state * gates_count, wide,
           overlap(p.rows, (range){count, a->shape.batch}),
           (range){gate * H + units.begin, gate * H + units.end});
    }
    meet(&p);
    const tiles all = tiles_of(&p, overlap(p.rows, (range){0, count}));
    for (int64_t block = p.blocks.begin; block < p.blocks.end; ++block) {
      for (int64_t i = 0; i < all.count; ++i) {
        run_tile(&p, tile_rows(all, i), units_of(&p, block), panel(&p, block, 0, H), wide,
                 a->dx + step * state * gates_count, a->dh0, H, false);
      }
    }
  }
}
