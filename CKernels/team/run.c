// The plan loop: what the caller (member 0) and the members do between a post and the last step.
//
// A run is posted by moving `epoch`; members take it from there and count themselves into `done`.
// They do not wait for each other at the end: the caller waits for them, they wait for the next
// epoch.
#include <string.h>

#include "float_state.h"
#include "team_internal.h"

bool ck_condition_holds(const ck_condition *condition) {
  for (int64_t i = 0; i < condition->value_count; ++i) {
    uint32_t bits;
    memcpy(&bits, condition->values[i], sizeof bits);
    if ((bits & 0x7f800000u) == 0x7f800000u) return false;
  }
  for (int64_t i = 0; i < condition->error_count; ++i) {
    if (condition->errors[i][0] >= 0) return false;
  }
  return true;
}

// Every member comes to the same answer: what is looked at was written before a barrier that all
// have passed, and nothing writes there any more. Where other processes have a say, one member asks
// them.
static bool ends_before(const member *m, const ck_step *step) {
  const ck_condition *condition = step->condition;
  if (!condition) return false;
  if (!condition->group) return !ck_condition_holds(condition);
  if (m->whole.index == 0) {
    const ck_group *group = condition->group;
    *condition->agreed = group->agree(group->context, ck_condition_holds(condition));
  }
  ck_barrier(&m->whole);
  return !*condition->agreed;
}

// A step's share of this member; on a team of one, every step.
static void run_step(const member *m, const ck_step *step) {
  if (step->threads == 0) {
    step->kernel(step->args, &m->whole);
  } else if (m->whole.count == 1 || step->threads - 1 == m->whole.index) {
    step->kernel(step->args, &m->alone);
  }
}

// The steps, as one member of the team sees them. The last barrier is left out: the end of the run
// is one.
static void run_steps(const member *m, const ck_step *steps, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (ends_before(m, &steps[i])) return;
    run_step(m, &steps[i]);
    if (steps[i].barrier && i + 1 < count) ck_barrier(&m->whole);
  }
}

static void run_steps_profiled(const member *m, const ck_step *steps, size_t count,
                               int64_t *nanoseconds) {
  const bool first = m->whole.index == 0;
  int64_t start = first ? now_nanoseconds() : 0;
  for (size_t i = 0; i < count; ++i) {
    if (ends_before(m, &steps[i])) return;
    run_step(m, &steps[i]);
    ck_barrier(&m->whole);
    if (first) {
      const int64_t end = now_nanoseconds();
      nanoseconds[i] = end - start;
      start = end;
    }
  }
}

static void run_posted(ck_team *team, int32_t index) {
  const member *m = &team->members[index];
  const posted_run *run = &team->epoch.run;
  if (run->nanoseconds) {
    run_steps_profiled(m, run->steps, run->count, run->nanoseconds);
  } else {
    run_steps(m, run->steps, run->count);
  }
}

void team_member(ck_team *team, int32_t index) {
  float_state_set(float_state_run);
  member *m = &team->members[index];
  uint32_t seen = 0;  // the epoch starts at zero, before any member
  for (;;) {
    watched_wait(&team->epoch, seen, &m->at_rest);
    seen += 1;
    if (team->epoch.run.ending) return;
    take_processor(team, index);
    run_posted(team, index);
    // Read before counting: afterwards the caller may post the next run.
    const uint32_t target = team->epoch.run.done_target;
    if (atomic_fetch_add(&team->done.value, 1) + 1 == target) watched_wake(&team->done);
  }
}

static bool needs_team(const ck_step *steps, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (steps[i].threads == 0) return true;
  }
  return false;
}

// On the calling thread only: for a team of one, a plan of small steps, and a forked child.
static void run_alone(ck_team *team, const ck_step *steps, size_t count, int64_t *nanoseconds) {
  member m = team->members[0];
  m.whole = m.alone;
  if (nanoseconds) {
    run_steps_profiled(&m, steps, count, nanoseconds);
  } else {
    run_steps(&m, steps, count);
  }
}

static void run_with_members(ck_team *team, const ck_step *steps, size_t count,
                             int64_t *nanoseconds) {
  take_processor(team, 0);
  const uint32_t target = team->epoch.run.done_target + (uint32_t)team->threads - 1;
  team->epoch.run = (posted_run){steps, count, nanoseconds, target, false};
  atomic_fetch_add(&team->epoch.value, 1);
  watched_wake(&team->epoch);

  run_posted(team, 0);
  uint32_t seen;
  while ((seen = atomic_load_explicit(&team->done.value, memory_order_acquire)) != target) {
    watched_wait(&team->done, seen, &team->members[0].at_barrier);
  }
}

static void run(ck_team *team, const ck_step *steps, size_t count, int64_t *nanoseconds) {
  if (count == 0) return;
  const float_state before = float_state_get();
  float_state_set(float_state_run);
  if (team->fork_number != fork_count()) {
    // The lock may have been held by a thread that this process does not have.
    static pthread_mutex_t child_lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&child_lock);
    run_alone(team, steps, count, nanoseconds);
    pthread_mutex_unlock(&child_lock);
  } else {
    pthread_mutex_lock(&team->lock);
    if (team->threads == 1 || !needs_team(steps, count)) {
      run_alone(team, steps, count, nanoseconds);
    } else {
      run_with_members(team, steps, count, nanoseconds);
    }
    pthread_mutex_unlock(&team->lock);
  }
  float_state_set(before);
}

int64_t ck_team_slept(const ck_team *team) { return team->members[0].at_barrier.slept; }

void ck_run(ck_team *team, const ck_step *steps, size_t count) { run(team, steps, count, NULL); }

void ck_run_profiled(ck_team *team, const ck_step *steps, size_t count, int64_t *nanoseconds) {
  run(team, steps, count, nanoseconds);
}
