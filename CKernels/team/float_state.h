// The floating-point state of a thread while it runs a plan: round to nearest, nothing trapped,
// denormals flushed on the way in and out. Set exactly rather than amended, so that the bits of a
// result depend on nothing that the calling program did to its own state.
#ifndef CK_TEAM_FLOAT_STATE_H
#define CK_TEAM_FLOAT_STATE_H

#include <stdint.h>

#if defined(__x86_64__)
typedef uint32_t float_state;
static inline float_state float_state_get(void) { return __builtin_ia32_stmxcsr(); }
static inline void float_state_set(float_state state) { __builtin_ia32_ldmxcsr(state); }
// MXCSR: all exceptions masked (0x1f80), flush to zero (0x8000), denormals are zero (0x40).
static const float_state float_state_run = 0x1f80 | 0x8000 | 0x40;

#elif defined(__aarch64__)
typedef uint64_t float_state;
static inline float_state float_state_get(void) {
  uint64_t state;
  __asm__ volatile("mrs %0, fpcr" : "=r"(state));
  return state;
}
static inline void float_state_set(float_state state) {
  __asm__ volatile("msr fpcr, %0" : : "r"(state));
}
// FPCR.FZ: flush to zero; everything else at its default.
static const float_state float_state_run = UINT64_C(1) << 24;

#else
typedef uint32_t float_state;
static inline float_state float_state_get(void) { return 0; }
static inline void float_state_set(float_state state) { (void)state; }
static const float_state float_state_run = 0;
#endif

#endif
