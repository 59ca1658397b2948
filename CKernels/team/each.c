// Work of the caller's own on all members: not a plan's, hence with the caller's floating-point
// state.
#include "float_state.h"
#include "team_internal.h"

typedef struct each_args {
  void (*body)(void *context, int32_t index, int32_t count);
  void *context;
  float_state state;
} each_args;

static void call_body(const void *args, const ck_thread *t) {
  const each_args *a = args;
  const float_state planned = float_state_get();
  float_state_set(a->state);
  a->body(a->context, t->index, t->count);
  float_state_set(planned);
}

void ck_team_each(ck_team *team, void (*body)(void *context, int32_t index, int32_t count),
                  void *context) {
  const each_args args = {body, context, float_state_get()};
  const ck_step step = {.kernel = call_body, .args = &args};
  ck_run(team, &step, 1);
}
