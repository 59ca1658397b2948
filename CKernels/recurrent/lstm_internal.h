// What the driver of the LSTM (lstm.c) takes from a level: its product's tile and its cells.
#ifndef LSTM_INTERNAL_H
#define LSTM_INTERNAL_H

#include "../gemm/tile.h"
#include "ck_lstm.h"

/// The rows [0, rows) and units [0, units) of one step, all pointers at the first of each.
typedef struct lstm_cells {
  int64_t rows, units;
  int64_t hidden;         // from a row of a state to the next, and from a gate to the next
  float *gates;           // rows 4 hidden apart
  const float *c_before;  // [rows, hidden]
  float *c, *h;
} lstm_cells;

typedef struct lstm_cell_gradients {
  int64_t rows, units, hidden;
  const float *gates;              // what forward has made of them
  const float *c, *c_before, *dh;  // dh: from outside
  float *dh_after;                 // what flows back from the next step; read
  float *dc;                       // the same of the cell; becomes what flows on
  float *dx;                       // may be `gates`
} lstm_cell_gradients;

typedef struct lstm_level {
  const gemm_level *product;
  void (*cells)(const lstm_cells *);
  void (*cell_gradients)(const lstm_cell_gradients *);
} lstm_level;

void lstm_forward(const ck_lstm_args *a, const ck_thread *t, const lstm_level *level);
void lstm_backward(const ck_lstm_gradient_args *a, const ck_thread *t, const lstm_level *level);

#endif
