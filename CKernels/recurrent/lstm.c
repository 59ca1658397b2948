// The driver of the LSTM, and its table.
//
// The weights of the state are brought into panels once a call, of `columns` units a gate, and stay
// in the cache for all steps. A team is cut in one of two ways:
//
//     by rows:   each thread has sequences of its own and all weights; nobody waits for anybody
//     by units:  each thread has units of its own, with their part of the weights; all wait for
//                each other once a step, because a product reads all units
//
// By rows where the weights fit a core's own cache, there are rows enough for a tile, and all last
// as long. Which way is taken changes no bit: an element's sum is the same in any tile.
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
  own_cache_bytes = 512 << 10,  // of the weights, where each thread reads all of them
  least_rows = 6,               // a tile of fewer rows waits for the panel
  most_rows = 14,               // of a level's tile
  row_gap = 16,                 // words between rows, so that they fall on sets of their own
  panel_gap = 16,               // words behind a panel, which packing may write
};

static int64_t words_of(int64_t terms, int64_t steps) { return ceiling(terms, steps); }

/// Words from a row to the next of what a step's product reads.
static int64_t words_row(int64_t terms, int64_t steps) {
  return ceiling(words_of(terms, steps), 16) * 16 + row_gap;
}

static int64_t panel_words(int64_t terms, int64_t steps, int64_t columns) {
  return words_of(terms, steps) * columns + panel_gap;
}

size_t ck_lstm_workspace_bytes(const ck_lstm_shape *s) {
  const int64_t panels = lstm_gates * ceiling(s->hidden, lstm_columns);
  return (size_t)(panels * (panel_words(s->hidden, 1, lstm_columns) + panel_gap) +
                  2 * s->batch * words_row(lstm_gates * s->hidden, 1)) *
         sizeof(float);
}

// MARK: A thread's part

typedef struct part {
  const ck_lstm_shape *shape;
  const lstm_level *level;
  const ck_thread *thread;
  const int32_t *offsets;
  range rows, blocks;  // blocks of `columns` units
  bool by_rows;
  int64_t terms;  // of a product's sum
  float *words;   // what the products of a turn read, and what the next turn's will
  float *panels;
} part;

static part part_of(const ck_lstm_shape *shape, int64_t terms, const lstm_level *level,
                    const ck_thread *t, const int32_t *offsets, void *workspace) {
  part p = {shape, level, t, offsets, {0, shape->batch}, {0, 0}, true, terms, workspace, NULL};
  p.panels = p.words + 2 * shape->batch * words_row(terms, level->steps);
  p.blocks.end = ceiling(shape->hidden, level->product->columns);
  if (t->count == 1) return p;
  const size_t weights =
      (size_t)(lstm_gates * shape->hidden * shape->hidden) * sizeof(float) / (size_t)level->steps;
  // Of sequences with lengths the first rows are the longest: their thread would be the last.
  p.by_rows = length(p.blocks) < t->count ||
              (!offsets && weights <= own_cache_bytes && shape->batch >= least_rows * t->count);
  range *cut = p.by_rows ? &p.rows : &p.blocks;
  *cut = block_of(*cut, t->count, t->index);
  return p;
}

/// The step that comes `turn`-th.
static int64_t step_at(const part *p, int64_t turn) {
  return p->shape->reversed ? p->shape->steps - 1 - turn : turn;
}

static int64_t all_rows(const part *p) { return p->shape->steps * p->shape->batch; }

/// Where the rows of step `step` begin, and behind the last step, where all end.
static int64_t first_row(const part *p, int64_t step) {
  if (!p->offsets) return step * p->shape->batch;
  return greatest(0, least(p->offsets[step], all_rows(p)));
}

/// How many sequences it has.
static int64_t active_at(const part *p, int64_t step) {
  return greatest(0, least(first_row(p, step + 1) - first_row(p, step), p->shape->batch));
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

static int64_t bytes_of(int32_t type) { return type == CK_BF16 ? 2 : 4; }

/// Element `at` of an array.
static void *element(const void *base, int32_t type, int64_t at) {
  return (char *)base + at * bytes_of(type);
}

/// Zeros in the rows of a stack that belong to no step: this thread's share.
static void clear_rest(const part *p, void *stack, int32_t type, int64_t row_length) {
  const int64_t rows = first_row(p, p->shape->steps);
  int64_t begin, end;
  ck_share(all_rows(p) - rows, p->thread, &begin, &end);
  memset(element(stack, type, (rows + begin) * row_length), 0,
         (size_t)((end - begin) * row_length * bytes_of(type)));
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

// MARK: What products read

/// The words that a turn's product reads (forward: turn - 1's states; backward: its own gradients).
static float *words_at(const part *p, int64_t turn, int64_t row) {
  const int64_t buffer = (turn & 1) * p->shape->batch;
  return p->words + (buffer + row) * words_row(p->terms, p->level->steps);
}

/// One of their elements.
static void *word_element(const part *p, int64_t turn, int64_t row, int64_t at) {
  return element(words_at(p, turn, row), p->level->steps == 1 ? CK_F32 : CK_BF16, at);
}

static int64_t word_elements(const part *p) {
  return words_row(p->terms, p->level->steps) * p->level->steps;
}

/// A last word that a row of terms does not fill gets zeros for the rest.
static void clear_words(const part *p, range rows) {
  const int64_t words = words_of(p->terms, p->level->steps);
  if (words * p->level->steps == p->terms || words == 0) return;
  for (int64_t turn = 0; turn < 2; ++turn)
    for (int64_t r = rows.begin; r < rows.end; ++r) words_at(p, turn, r)[words - 1] = 0;
}

/// Where a block's panels begin, of `gate`; backward it has one, which takes no more.
static float *panel(const part *p, int64_t block, int64_t gate, int64_t terms) {
  return p->panels + (block * lstm_gates + gate) *
                         panel_words(terms, p->level->steps, p->level->product->columns);
}

/// Forward one panel a gate, of the units' rows of U; backward one for all, of their columns.
static void pack_panels(const part *p, const float *u, bool backward) {
  const int64_t H = p->shape->hidden, columns = p->level->product->columns;
  range blocks = p->blocks;
  if (p->by_rows) ck_share(length(blocks), p->thread, &blocks.begin, &blocks.end);
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const range units = units_of(p, block);
    for (int64_t gate = 0; gate < (backward ? 1 : lstm_gates); ++gate) {
      if (backward) {
        p->level->pack(panel(p, block, 0, H), columns, length(units), lstm_gates * H,
                       u + units.begin, 1, H);
      } else {
        p->level->pack(panel(p, block, gate, H), columns, length(units), H,
                       u + (gate * H + units.begin) * H, H, 1);
      }
    }
  }
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

/// C = A B, of a turn's words and a panel.
static void run_tile(const part *p, range rows, int64_t columns, const float *panel, int64_t turn,
                     float *c, int64_t c_row) {
  const gemm_level *product = p->level->product;
  const gemm_tile tile = {
      .a = words_at(p, turn, rows.begin),
      .a_row = words_row(p->terms, p->level->steps),
      .a_col = 1,
      .b = panel,
      .b_row = product->columns,
      .c = c,
      .c_row = c_row,
      .K = words_of(p->terms, p->level->steps),
      .alpha = 1,
      .rows = (int32_t)length(rows),
      .columns = (int32_t)columns,
  };
  product->tile(&tile);
}

// MARK: Forward

/// Brings near what the cells of a tile will read of the input, while its products run.
static void fetch(const ck_lstm_args *a, int64_t first_row, range rows, range units) {
  const int64_t H = a->shape.hidden, bytes = length(units) * bytes_of(a->x_type);
  for (int64_t r = rows.begin; r < rows.end; ++r)
    for (int64_t gate = 0; gate < lstm_gates; ++gate) {
      const char *at =
          element(a->x, a->x_type, ((first_row + r) * lstm_gates + gate) * H + units.begin);
      for (int64_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(at + byte, 1);
    }
}

static void forward_rows(const part *p, const ck_lstm_args *a, int64_t turn, range rows) {
  const int64_t H = p->shape->hidden, at = first_row(p, step_at(p, turn));
  float sums[most_rows * lstm_gates * lstm_columns] __attribute__((aligned(64)));
  const tiles all = tiles_of(p, rows);
  for (int64_t block = p->blocks.begin; block < p->blocks.end; ++block) {
    const range units = units_of(p, block);
    for (int64_t i = 0; i < all.count; ++i) {
      const range own = tile_rows(all, i);
      fetch(a, at, own, units);
      for (int64_t gate = 0; gate < lstm_gates; ++gate) {
        run_tile(p, own, length(units), panel(p, block, gate, H), turn + 1,
                 sums + gate * lstm_columns, lstm_gates * lstm_columns);
      }
      const int64_t row = own.begin * H + units.begin, state = at * H + row;
      const int64_t gates = (at + own.begin) * lstm_gates * H + units.begin;
      const lstm_cells cells = {
          .rows = length(own),
          .units = length(units),
          .hidden = H,
          .sums = sums,
          .x = element(a->x, a->x_type, gates),
          .gates = element(a->gates, a->gates_type, gates),
          .c = a->c + state,
          .h = element(a->h, a->h_type, state),
          .cell = a->c_last + row,
          .h_last = a->h_last + row,
          .before = a->before ? element(a->before, a->before_type, state) : NULL,
          .words = word_element(p, turn, own.begin, units.begin),
          .words_row = word_elements(p),
          .x_type = (ck_dtype)a->x_type,
          .h_type = (ck_dtype)a->h_type,
          .gates_type = (ck_dtype)a->gates_type,
          .before_type = (ck_dtype)a->before_type,
      };
      p->level->cells(&cells);
    }
  }
}

void lstm_forward(const ck_lstm_args *a, const ck_thread *t, const lstm_level *level) {
  const int64_t H = a->shape.hidden;
  const part p = part_of(&a->shape, H, level, t, a->offsets, a->workspace);
  const range units = own_units(&p);
  pack_panels(&p, a->u, false);
  // The running states lie where the last ones are given out. A sequence may begin in either of the
  // turns that take turns with the words.
  copy(a->c_last, a->c0, H, p.rows, units);
  copy(a->h_last, a->h0, H, p.rows, units);
  if (units.end == H) clear_words(&p, p.rows);
  for (int64_t turn = 0; turn < 2; ++turn)
    for (int64_t r = p.rows.begin; r < p.rows.end; ++r)
      level->convert(word_element(&p, turn, r, units.begin), a->h0 + r * H + units.begin,
                     length(units));
  ck_barrier(t);
  for (int64_t turn = 0; turn < a->shape.steps; ++turn) {
    const range runs = overlap(p.rows, (range){0, active_at(&p, step_at(&p, turn))});
    if (length(runs) > 0) forward_rows(&p, a, turn, runs);
    meet(&p);
  }
  clear_rest(&p, a->h, a->h_type, H);
  clear_rest(&p, a->gates, a->gates_type, lstm_gates * H);
  clear_rest(&p, a->c, CK_F32, H);
  if (a->before) clear_rest(&p, a->before, a->before_type, H);
}

// MARK: Backward

static void backward_rows(const part *p, const ck_lstm_gradient_args *a, int64_t turn, range rows,
                          const float *c_before) {
  if (length(rows) == 0) return;
  const int64_t H = p->shape->hidden, at = first_row(p, step_at(p, turn));
  const range units = own_units(p);
  const int64_t row = rows.begin * H + units.begin;
  const int64_t gates = (at + rows.begin) * lstm_gates * H + units.begin;
  const lstm_cell_gradients cells = {
      .rows = length(rows),
      .units = length(units),
      .hidden = H,
      .gates = element(a->gates, a->gates_type, gates),
      .c = a->c + at * H + row,
      .c_before = c_before + row,
      .dh = element(a->dh, a->dh_type, at * H + row),
      .dh_after = a->dh0 + row,
      .dc = a->dc0 + row,
      .dx = element(a->dx, a->dx_type, gates),
      .words = word_element(p, turn, rows.begin, units.begin),
      .words_row = word_elements(p),
      .dh_type = (ck_dtype)a->dh_type,
      .gates_type = (ck_dtype)a->gates_type,
      .dx_type = (ck_dtype)a->dx_type,
  };
  p->level->cell_gradients(&cells);
}

void lstm_backward(const ck_lstm_gradient_args *a, const ck_thread *t, const lstm_level *level) {
  const int64_t H = a->shape.hidden;
  const part p = part_of(&a->shape, lstm_gates * H, level, t, a->offsets, a->workspace);
  pack_panels(&p, a->u, true);
  const range units = own_units(&p);
  // What flows back from step to step lies where it is given out at the end.
  copy(a->dh0, a->dh_last, H, p.rows, units);
  copy(a->dc0, a->dc_last, H, p.rows, units);
  if (p.by_rows) ck_barrier(t);  // all panels are made
  for (int64_t turn = a->shape.steps - 1; turn >= 0; --turn) {
    const int64_t count = active_at(&p, step_at(&p, turn));
    const int64_t old = going_on(&p, turn);
    if (length(units) > 0) {
      backward_rows(&p, a, turn, overlap(p.rows, (range){0, old}),
                    old > 0 ? a->c + first_row(&p, step_at(&p, turn - 1)) * H : NULL);
      backward_rows(&p, a, turn, overlap(p.rows, (range){old, count}), a->c0);
    }
    meet(&p);
    const tiles all = tiles_of(&p, overlap(p.rows, (range){0, count}));
    for (int64_t block = p.blocks.begin; block < p.blocks.end; ++block) {
      const range own = units_of(&p, block);
      for (int64_t i = 0; i < all.count; ++i) {
        const range rows = tile_rows(all, i);
        run_tile(&p, rows, length(own), panel(&p, block, 0, H), turn,
                 a->dh0 + rows.begin * H + own.begin, H);
      }
    }
  }
  clear_rest(&p, a->dx, a->dx_type, lstm_gates * H);
}
