// Long short-term memory over a whole sequence: all steps of one layer in one direction, in one
// call.
//
// What the layer's input gives to the gates comes in for all steps (one product made it); here the
// state's product is added step by step, and the cell follows while its gates are near. Backward
// hands out what flows into the gates; the weights' gradients are products behind it.
//
//     gates = x[t] + h[t-1] Uᵀ            i, f, g, o = σ, σ, tanh, σ of gates
//     c[t] = f c[t-1] + i g               h[t] = o tanh c[t]
//
// With `offsets`, the sequences lie in order of their lengths, the longest first, and all stacks
// are packed: the rows of step t, those of the sequences that have it, are offsets[t] ..< offsets[t
// + 1], at most batch of them. The rows behind the last are not read, and become zeros.
#ifndef CK_LSTM_H
#define CK_LSTM_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ck_lstm_op {
  CK_LSTM_FORWARD = 0,   // takes ck_lstm_args
  CK_LSTM_BACKWARD = 1,  // takes ck_lstm_gradient_args
  // The state and U rounded to bf16 where they are multiplied, where the level has products of
  // pairs; else as above.
  CK_LSTM_FORWARD_PAIRS = 2,
  CK_LSTM_BACKWARD_PAIRS = 3,
} ck_lstm_op;

typedef struct ck_lstm_shape {
  int64_t steps, batch, hidden;
  int32_t reversed;  // whether the last step comes first
} ck_lstm_shape;

/// Arrays of a type of their own are f32 or bf16.
typedef struct ck_lstm_args {
  ck_lstm_shape shape;
  int32_t x_type, h_type, gates_type, before_type;
  const void *x;           // [steps, batch, 4 hidden]; may be `gates` of one type
  const float *h0, *c0;    // [batch, hidden]
  const float *u;          // [4 hidden, hidden]
  const int32_t *offsets;  // [steps + 1], or NULL
  void *h;                 // [steps, batch, hidden]
  float *h_last, *c_last;  // [batch, hidden]: of each sequence's last step
  void *gates;             // [steps, batch, 4 hidden]: i, f, g, o
  float *c;                // [steps, batch, hidden]
  void *before;            // [steps, batch, hidden]: the h before each step; or NULL
  void *workspace;         // ck_lstm_workspace_bytes
} ck_lstm_args;

typedef struct ck_lstm_gradient_args {
  ck_lstm_shape shape;
  int32_t dh_type, gates_type, dx_type;
  const void *dh;                  // [steps, batch, hidden]
  const float *dh_last, *dc_last;  // [batch, hidden]
  const void *gates;
  const float *c, *c0, *u;
  const int32_t *offsets;
  void *dx;          // [steps, batch, 4 hidden]; may be `gates` of one type
  float *dh0, *dc0;  // [batch, hidden]; may be dh_last and dc_last
  void *workspace;   // ck_lstm_workspace_bytes
} ck_lstm_gradient_args;

/// What either needs beside its arrays.
size_t ck_lstm_workspace_bytes(const ck_lstm_shape *shape);

/// The entry point of `op` at `isa`. The bits are the same for any team; at another level the
/// product's roundings differ.
ck_kernel ck_lstm(ck_lstm_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_lstm_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
