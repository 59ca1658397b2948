// The two entries of a level, which has said what its products are: included by each
// attention_<level>.c behind its `level`.

void CK_NAME(ck_attention_forward)(const void *args, const ck_thread *t) {
  const attention_level l = level();
  if (l.steps == 1 && ((const ck_attention_args *)args)->queries <= CK_ATTENTION_FEW) {
    attention_few(args, t, &l);
  } else {
    attention_forward(args, t, &l);
  }
}

void CK_NAME(ck_attention_backward)(const void *args, const ck_thread *t) {
  const attention_level l = level();
  attention_backward(args, t, &l);
}
