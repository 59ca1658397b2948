// Kernels by their addresses: what a plan that is written out would call.

import CKernels
import Testing

@Suite struct KernelNameTests {
  @Test func everyListedKernelHasItsName() throws {
    var count = 0
    for list in [
      ck_bound_entries, ck_copy_entries, ck_cross_entropy_entries, ck_gather_entries,
      ck_gemm_pack_entries, ck_linear_cross_entropy_entries, ck_norm_entries, ck_optim_entries,
      ck_pixels_entries, ck_pool_entries, ck_random_entries, ck_scan_entries, ck_softmax_entries,
      ck_sort_entries,
    ] {
      let entries = UnsafeBufferPointer(start: list(&count), count: count)
      #expect(!entries.isEmpty)
      for entry in entries {
        #expect(named(entry.kernel, entry.name))
      }
    }
    let products = UnsafeBufferPointer(start: ck_gemm_rows(&count), count: count)
    for row in products { #expect(named(row.kernel, row.name)) }
    var levels: Int32 = 0
    let loops = UnsafeBufferPointer(start: ck_loop_kernel_rows(&levels), count: Int(levels))
    for row in loops {
      #expect(named(row.kernel, row.name))
      #expect(named(row.multi, row.multi_name))
    }
  }

  @Test func anotherFunctionHasNone() {
    let other: ck_kernel = { _, _ in }
    #expect(ck_kernel_name(other) == nil)
    #expect(ck_kernel_name(nil) == nil)
  }
}

private func named(_ kernel: ck_kernel?, _ name: UnsafePointer<CChar>) -> Bool {
  ck_kernel_name(kernel).map { String(cString: $0) } == String(cString: name)
}
