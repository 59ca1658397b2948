// Convolutions and their gradients: the reference's bits at every level and on every team, the sums of the
// formula in double, and nothing written but the result.

import CKernels
import Testing

@Suite struct ConvolutionKernelTests {
  @Test(arguments: 0..<(TestSize.isReduced ? 2 : 8))
  func anyShape_hasTheReferencesBits_atEveryLevel(seed: Int) throws {
    var numbers = TestNumbers(seed: UInt64(seed) + 1)
    var count = 0
    while count < 12 {
      guard let shape = ConvolutionCase(random: &numbers) else { continue }
      try ConvolutionProblem(shape).check()
      count += 1
    }
  }

  static let shapes: [ConvolutionCase] = [
    // The layers that networks are made of: first ones, 3x3, 1x1, strided, depthwise.
    ConvolutionCase(2, 3, 16, image: [9, 9], kernel: [3, 3], before: [1, 1]),
    ConvolutionCase(1, 3, 64, image: [15, 15], kernel: [7, 7], stride: [2, 2], before: [3, 3]),
    ConvolutionCase(2, 32, 32, image: [8, 8], kernel: [3, 3], before: [1, 1]),
    ConvolutionCase(1, 64, 64, image: [7, 7], kernel: [3, 3], before: [1, 1]),
    ConvolutionCase(2, 64, 32, image: [6, 5], kernel: [1, 1]),
    ConvolutionCase(2, 16, 48, image: [7, 7], kernel: [1, 1], stride: [2, 2]),
    ConvolutionCase(1, 32, 64, image: [9, 8], kernel: [3, 3], stride: [2, 2], before: [1, 1]),
    ConvolutionCase(2, 33, 33, image: [6, 6], kernel: [3, 3], before: [1, 1], groups: 33),
    ConvolutionCase(1, 8, 16, image: [6, 6], kernel: [3, 3], before: [1, 1], groups: 8),
    ConvolutionCase(2, 1, 32, image: [28, 28], kernel: [3, 3], before: [1, 1]),
    // Few channels of the image, or of the result, with depth on the other side.
    ConvolutionCase(2, 3, 33, image: [37, 40], kernel: [7, 7], stride: [2, 2], before: [3, 3]),
    ConvolutionCase(1, 1, 20, image: [11, 90], kernel: [4, 5], stride: [3, 5], before: [2, 1]),
    ConvolutionCase(2, 19, 5, image: [19, 33], kernel: [3, 3], before: [1, 1]),
    ConvolutionCase(2, 8, 8, image: [300], kernel: [5], dilation: [2], before: [4]),
    ConvolutionCase(
      1, 2, 11, image: [5, 9, 12], kernel: [3, 3, 3], stride: [2, 3, 2], before: [1, 1, 1]),
    // One pixel, one place, one channel; a window as large as the padded image; padding beyond the window.
    ConvolutionCase(1, 1, 1, image: [1], kernel: [1]),
    ConvolutionCase(3, 2, 5, image: [1, 1], kernel: [3, 3], before: [1, 1]),
    ConvolutionCase(2, 16, 16, image: [4, 4], kernel: [4, 4]),
    ConvolutionCase(2, 4, 4, image: [2, 2], kernel: [2, 2], before: [3, 3]),
    // Strides beyond the window, so that pixels meet no tap; and beyond the image.
    ConvolutionCase(2, 5, 7, image: [9, 10], kernel: [2, 1], stride: [3, 4]),
    ConvolutionCase(2, 5, 7, image: [3, 4], kernel: [2, 2], stride: [7, 9], before: [1, 1]),
    // Strides and dilations with and without a common divisor.
    ConvolutionCase(1, 6, 4, image: [14, 15], kernel: [3, 3], stride: [2, 3], dilation: [2, 2]),
    ConvolutionCase(1, 6, 4, image: [19], kernel: [4], stride: [4], dilation: [6], before: [9]),
    // No images.
    ConvolutionCase(0, 3, 5, image: [4, 4], kernel: [3, 3], before: [1, 1]),
    // Volumes.
    ConvolutionCase(
      1, 5, 17, image: [4, 5, 6], kernel: [3, 2, 3], stride: [1, 2, 1], before: [1, 0, 2],
      after: [0, 1, 1]),
  ]

  @Test(arguments: shapes) func layersAndEdges_haveTheReferencesBits_atEveryLevel(
    shape: ConvolutionCase
  ) throws {
    try ConvolutionProblem(shape).check()
    var other = shape
    (other.hasBias, other.hasReLU, other.combination) = (true, true, CK_ADD)
    try ConvolutionProblem(other).check(ops: [CK_CONV_FORWARD, CK_CONV_DATA])
  }

  @Test func anImageWithNaNAndInfinities_spoilsWhatMeetsThem_andNothingElse() throws {
    for (channels, groups) in [(3, 1), (8, 1), (16, 1), (40, 1), (6, 3)] {
      let shape = ConvolutionCase(
        2, channels, 2 * channels, image: [9, 17], kernel: [3, 3], before: [1, 2], after: [0, 1],
        groups: groups)
      var problem = ConvolutionProblem(shape)
      // Pixels in the last row, where padding begins, and in the middle.
      problem.x[(8 * 17 + 16) * channels] = .nan
      problem.x[(17 * 9 + 3 * 17 + 5) * channels + 1] = .infinity
      problem.x[(17 * 9 + 3 * 17 + 11) * channels] = -.infinity
      problem.y[0] = .nan
      problem.y[problem.y.count / 2] = .infinity
      try problem.check(ops: [CK_CONV_FORWARD, CK_CONV_DATA], isFinite: false)
      problem = ConvolutionProblem(shape)
      problem.x[(8 * 17 + 16) * channels] = .nan
      problem.x[(17 * 9 + 3 * 17 + 5) * channels + 1] = .infinity
      try problem.check(ops: [CK_CONV_WEIGHTS], isFinite: false)
    }
  }

  @Test func theResult_mayTakeThePlaceOfWhatItIsAddedTo() throws {
    for combination in [CK_ADD, CK_GATE] {
      for stride in [1, 2] {
        var shape = ConvolutionCase(
          3, 20, 36, image: [7, 9], kernel: [3, 3], stride: [stride, stride], before: [1, 1])
        shape.combination = combination
        let problem = ConvolutionProblem(shape)
        for op in [CK_CONV_FORWARD, CK_CONV_DATA] {
          for row in ConvolutionProblem.rows(op) {
            let apart = problem.run(op, row, team: 2)
            let inPlace = problem.run(op, row, team: 2, inPlace: true)
            #expect(apart == inPlace, "\(String(cString: row.name)): \(shape)")
          }
        }
      }
    }
  }

  /// Plans leave out barriers by them.
  @Test func theParts_ofATeam_areTheWholeResult_onceEach() {
    var numbers = TestNumbers(seed: 99)
    for shape in Self.shapes + (0..<40).compactMap({ _ in ConvolutionCase(random: &numbers) }) {
      let problem = ConvolutionProblem(shape)
      for op in convolutionOps {
        var args = problem.block(op)
        let columns = op == CK_CONV_WEIGHTS ? 1 : shape.width(op)
        for count in [1, 2, 3, 7, 64] as [Int32] {
          var end = 0
          for index in 0..<count {
            let part = ck_conv_part_of(&args, op, index, count)
            #expect(part.row == end && part.row_end >= part.row, "\(shape)")
            #expect(part.column == 0 && part.column_end == columns)
            end = Int(part.row_end)
          }
          #expect(end * columns == shape.count(op), "\(convolutionName(op)): \(shape)")
        }
      }
    }
  }

  @Test func predictions_areTimes_andProductsAreCounted() {
    let shape = ConvolutionCase(2, 16, 32, image: [8, 8], kernel: [3, 3], before: [1, 1])
    for op in convolutionOps {
      var args = ConvolutionProblem(shape).block(op)
      #expect(ck_conv_products(&args) == Double(2 * 64 * 9 * 16 * 32))
      for row in ConvolutionProblem.rows(op) {
        let time = ck_conv_nanoseconds(&args, op, row.isa)
        #expect(time > 0 && time.isFinite)
        args.images *= 64
        #expect(ck_conv_nanoseconds(&args, op, row.isa) > time)
        args.images /= 64
      }
    }
  }
}
