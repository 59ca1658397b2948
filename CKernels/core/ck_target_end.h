// Closes the region that a ck_<level>_begin.h opened.
#ifdef CK_TARGET_PUSHED
#pragma clang attribute pop
#undef CK_TARGET_PUSHED
#endif
#pragma clang diagnostic pop
