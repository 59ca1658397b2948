// Scaled dot product attention, forwards and backwards, without an array of queries by keys.
//
// Blocks of queries meet blocks of keys; a block's scores live in the second-level cache, and the
// softmax is carried along (Milakov and Gimelshein, "Online normalizer calculation for softmax",
// 2018; Dao, "FlashAttention-2", 2023). Not here: gradients of masks and slopes.
#ifndef CK_ATTENTION_H
#define CK_ATTENTION_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ck_attention_op {
  CK_ATTENTION_FORWARD = 0,
  CK_ATTENTION_BACKWARD = 1,
  // The products' operands rounded to bf16 where the level has products of pairs; else as above.
  CK_ATTENTION_FORWARD_PAIRS = 2,
  CK_ATTENTION_BACKWARD_PAIRS = 3,
} ck_attention_op;

/// Up to so many queries the plain forward kernels read keys and values where they lie.
#define CK_ATTENTION_FEW 4

/// An operand `[batch, time, heads, width]`: strides in elements, that of the width is 1.
typedef struct ck_attention_rows {
  const void *p;
  int64_t batch, time, head;
  int64_t dtype;  // CK_F32 or CK_BF16
} ck_attention_rows;

/// With s_ij = scale q_i · k_j + slope (j - i) + mask_ij over the keys j that query i sees, for
/// each batch and head h, whose keys are those of head h / (heads / key_heads):
///
///     l_i = log Σ_j exp(s_ij), p_ij = exp(s_ij - l_i)
///     out_i = Σ_j p_ij m_ij v_j                           m: 1, or dropout's 0 and 1 / (1 -
///     dropout) ds_ij = p_ij (m_ij flow_i · v_j - delta_i) dq_i = scale Σ_j ds_ij k_j,  dk_j =
///     scale Σ_i ds_ij q_i,  dv_j = Σ_i p_ij m_ij flow_i
///
/// - Query i sees key j where j < lengths[batch], j <= i where causal, with a window i - window < j
///   and, not causal, j < i + window, and the mask is not 0 (bool) or -Inf. A query that sees none
///   has zeros and l = 0.
/// - m of element (b, h, i, j) follows word ((b heads + h) queries + i) R + j of ck_random.h's
/// stream,
///   where R is the number of keys up to the next multiple of 32.
/// - Order: keys ascend in blocks of a fixed size; the same bits for every team.
typedef struct ck_attention_args {
  void *out;           // [batch, queries, heads, value_width] of out_dtype
  float *logarithms;   // l: [batch, queries, heads]; made forwards, read backwards
  void *dq, *dk, *dv;  // dense, of their types
  ck_attention_rows q, k, v, flow;
  const float *delta;     // [batch, queries, heads]
  const void *mask;       // of mask_dtype, CK_F32 or CK_BOOL; NULL: none
  const void *lengths;    // [batch] of lengths_dtype, CK_I32 or CK_I64; NULL: none
  const float *slopes;    // [heads]; NULL: none
  const int64_t *random;  // [2], ck_random.h's state; NULL: no dropout
  void *workspace;        // ck_attention_workspace_bytes, 64-byte aligned
  int64_t *error;         // a ck_index_error for lengths, or NULL
  int64_t batch, queries, keys, heads, key_heads, width, value_width;
  int64_t mask_batch, mask_head, mask_query, mask_key;  // strides in elements; the last is 0 or 1
  int64_t window;                                       // 0: none
  int64_t stream;
  float scale, dropout;
  int32_t is_causal;
  int32_t out_dtype, dq_dtype, dk_dtype, dv_dtype, mask_dtype, lengths_dtype;
} ck_attention_args;

/// The entry point of `op` at `isa`.
ck_kernel ck_attention(ck_attention_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_attention_entries(size_t *count);
/// Shared workspace and each thread's scratch, in bytes, whatever the level.
size_t ck_attention_workspace_bytes(const ck_attention_args *args, ck_attention_op op);
size_t ck_attention_scratch_bytes(const ck_attention_args *args, ck_attention_op op);

#ifdef __cplusplus
}
#endif

#endif
