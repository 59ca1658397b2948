// How long the members of a team take to meet: two processors may share a cache or lie far apart.
#include <math.h>

#include "team_internal.h"

enum { MEETINGS = 24, TRIES = 6 };

// Threads that are near each other and undisturbed meet in less. Others are watched for longer:
// most that disturbs a team, such as a program that starts, is over soon.
static const double near_nanoseconds = 600, longest_nanoseconds = 2e6;

static void meet_often(const void *args, const ck_thread *t) {
  (void)args;
  for (int i = 0; i < MEETINGS; ++i) ck_barrier(t);
}

double ck_team_patience(const ck_team *team, int32_t member) {
  const patience *rest = &team->members[member].at_rest;
  return rest->most > 0 ? (double)rest->now / (double)rest->most : 0;
}

double ck_team_barrier_nanoseconds(ck_team *team) {
  const ck_step step = {.kernel = meet_often};
  double best = INFINITY;
  const int64_t first = now_nanoseconds();
  for (int i = 0; i < TRIES || (best > near_nanoseconds * MEETINGS &&
                                (double)(now_nanoseconds() - first) < longest_nanoseconds);
       ++i) {
    const int64_t start = now_nanoseconds();
    ck_run(team, &step, 1);
    const double taken = (double)(now_nanoseconds() - start);
    if (taken < best) best = taken;
  }
  return best / MEETINGS;
}
