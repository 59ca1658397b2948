// What the processor and the operating system offer, read once at start.
#include <string.h>

#include "ck_base.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t xgetbv0(void) {
  uint32_t lo, hi;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return ((uint64_t)hi << 32) | lo;
}

// Asks Linux for the AMX tile state (ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA). Granted for the
// whole process, so it must precede the threads.
static bool amx_permitted(void) {
  const long arch_req_xcomp_perm = 0x1023, xtiledata = 18;
  return syscall(SYS_arch_prctl, arch_req_xcomp_perm, xtiledata) == 0;
}

static ck_isa detect(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return CK_ISA_REF;
  const bool osxsave = c >> 27 & 1, fma = c >> 12 & 1, f16c = c >> 29 & 1;
  if (!osxsave || !fma || !f16c) return CK_ISA_REF;
  const uint64_t xcr0 = xgetbv0();
  if ((xcr0 & 0x6) != 0x6) return CK_ISA_REF;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return CK_ISA_REF;
  const uint32_t ebx7 = b, edx7 = d;
  if (!(ebx7 >> 5 & 1)) return CK_ISA_REF;
  const bool avx512 = (xcr0 & 0xe6) == 0xe6 && (ebx7 >> 16 & 1) && (ebx7 >> 17 & 1) &&
                      (ebx7 >> 30 & 1) && (ebx7 >> 31 & 1);
  if (!avx512) return CK_ISA_AVX2;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a >> 5 & 1)) return CK_ISA_AVX512;
  const bool tiles = (edx7 >> 22 & 1) && (edx7 >> 24 & 1) && (xcr0 & 0x60000) == 0x60000;
  return tiles && amx_permitted() ? CK_ISA_AMX : CK_ISA_AVX512BF16;
}
#else
static ck_isa detect(void) { return CK_ISA_REF; }
#endif

ck_isa ck_isa_best(void) {
  static ck_isa best;
  static bool known;  // a race writes the same answer twice
  if (!__atomic_load_n(&known, __ATOMIC_ACQUIRE)) {
    __atomic_store_n(&best, detect(), __ATOMIC_RELAXED);
    __atomic_store_n(&known, true, __ATOMIC_RELEASE);
  }
  return __atomic_load_n(&best, __ATOMIC_RELAXED);
}

static const char *const names[CK_ISA_COUNT] = {"ref", "avx2", "avx512", "avx512bf16", "amx"};

const char *ck_isa_name(ck_isa isa) {
  return (unsigned)isa < CK_ISA_COUNT ? names[isa] : "unknown";
}

int ck_isa_from_name(const char *name) {
  for (int i = 0; i < CK_ISA_COUNT; ++i) {
    if (strcmp(name, names[i]) == 0) return i;
  }
  return -1;
}
