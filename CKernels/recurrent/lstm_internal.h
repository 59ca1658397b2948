// What the driver of the LSTM (lstm.c) takes from a level: its product and its cells.
//
// The product reads words: f32 numbers, or pairs of bf16. What it reads of a step, the state going
// forward and the gates' gradients going back, the cells write as words beside what they store, in
// rows that drive no other out of the cache.
#ifndef LSTM_INTERNAL_H
#define LSTM_INTERNAL_H

#include "../gemm/tile.h"
#include "ck_lstm.h"

enum {
  lstm_gates = 4,
  lstm_columns = 32,  // units of a panel at most
};

/// The rows [0, rows) and units [0, units) of one step, all pointers at the first of each. Where no
/// other distance is named, rows of a state lie `hidden` apart, those of gates 4 hidden, and gates
/// hidden.
typedef struct lstm_cells {
  int64_t rows, units, hidden;
  const float *sums;  // what the state's product gives: [rows][4][lstm_columns]
  const void *x;
  void *gates;
  float *c;       // of this step
  void *h;        // likewise
  float *cell;    // before this step; becomes what is after it
  float *h_last;  // likewise
  void *before;   // gets h_last as it was; or NULL
  void *words;    // the same, as elements of words
  int64_t words_row;
  ck_dtype x_type, h_type, gates_type, before_type;
} lstm_cells;

typedef struct lstm_cell_gradients {
  int64_t rows, units, hidden;
  const void *gates;  // what forward has made of them
  const float *c, *c_before;
  const void *dh;         // from outside
  const float *dh_after;  // what flows back from the next step
  float *dc;              // the same of the cell; becomes what flows on
  void *dx;               // may be `gates`
  void *words;            // dx as elements of words
  int64_t words_row;
  ck_dtype dh_type, gates_type, dx_type;
} lstm_cell_gradients;

typedef struct lstm_level {
  const gemm_level *product;
  int32_t steps;  // of the terms in a word: 1 or 2
  /// Words of panel[p * stride + i], as gemm_narrow.h has it; up to seven behind it may be written.
  void (*pack)(float *panel, int64_t stride, int64_t width, int64_t K, const float *source,
               int64_t across, int64_t along);
  void (*convert)(void *words, const float *source, int64_t count);
  void (*cells)(const lstm_cells *);
  void (*cell_gradients)(const lstm_cell_gradients *);
} lstm_level;

void lstm_forward(const ck_lstm_args *a, const ck_thread *t, const lstm_level *level);
void lstm_backward(const ck_lstm_gradient_args *a, const ck_thread *t, const lstm_level *level);

#endif
