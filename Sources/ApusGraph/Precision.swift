// How exact products must be.

/// How products are computed. A precision never makes a step slower than ``highest`` on the same machine.
public enum Precision: String, Sendable, CaseIterable {
  /// As accurate as fused multiply-adds in `f32`.
  case highest
  /// Three bf16 products for one f32 product where the machine has AMX, with errors near 2^-16 of the
  /// sum of absolute products; elsewhere the same as `highest`.
  case high
  /// Operands rounded to bf16 (errors near 2^-8), sums in `f32`, where the machine has instructions for
  /// it that gain; elsewhere operands stay as they are.
  case mixed
}
