// The team of threads that runs plans: the only part of the project that knows OpenMP.
//
// One team serves the process. The calling thread is member 0; the others live in one parallel
// region and wait for work, spinning briefly and then sleeping, so that an idle team costs nothing
// and a busy machine does not stall a step.
#ifndef CK_TEAM_H
#define CK_TEAM_H

#include "ck_base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ck_team ck_team;

/// How many processors the calling thread may run on: its affinity mask.
int32_t ck_processors(void);

/// A team of `threads` members (at least 1) with `scratch_bytes` of scratch each, or NULL where the
/// system gives no more threads or memory.
ck_team *ck_team_create(int32_t threads, size_t scratch_bytes);
/// Ends the members and frees the team. No plan may be running.
void ck_team_destroy(ck_team *team);
int32_t ck_team_threads(const ck_team *team);
/// Nanoseconds that the members take to meet when all arrive together: the best of several tries,
/// since another process may have been running. Takes a tenth of a millisecond, and up to two where
/// they are far apart or disturbed.
double ck_team_barrier_nanoseconds(ck_team *team);
/// How long a member would now spin for the next run before it sleeps, as a part of the most that
/// it ever does; 0 where there are more members than processors. No plan may be running.
double ck_team_patience(const ck_team *team, int32_t member);
/// Grows each member's scratch to at least `scratch_bytes`; false where memory is short. No plan
/// may be running.
bool ck_team_reserve_scratch(ck_team *team, size_t scratch_bytes);

/// Runs `count` steps in order on the whole team and returns when all are done. Calls from several
/// threads are served one after the other. Denormals are flushed while it runs; the caller's
/// floating-point state is restored.
void ck_run(ck_team *team, const ck_step *steps, size_t count);

/// The same, writing into `nanoseconds[i]` how long step `i` took on member 0, its barrier included
/// (a barrier follows every step).
void ck_run_profiled(ck_team *team, const ck_step *steps, size_t count, int64_t *nanoseconds);

/// Calls `body` once on every member, or on the calling thread alone where it is a fork of the one
/// that made the team, and returns when all are done. Every member has the caller's floating-point
/// state meanwhile. `body` runs no plan on this team.
void ck_team_each(ck_team *team, void (*body)(void *context, int32_t index, int32_t count),
                  void *context);

/// Nanoseconds that calling threads have slept at barriers and ends of runs since the team was
/// made: members were late, or had more to do. No plan may be running.
int64_t ck_team_slept(const ck_team *team);

#ifdef __cplusplus
}
#endif

#endif
