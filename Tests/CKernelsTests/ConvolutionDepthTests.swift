// Depthwise convolutions, which have kernels of their own: the reference's bits for every window, width and
// number of channels, on every team, with operands at odd addresses between canaries.

import CKernels
import Testing

@Suite struct ConvolutionDepthTests {
  /// A convolution of each channel by itself.
  private func depthwise(
    _ images: Int, _ channels: Int, image: Axes, kernel: Axes, stride: Axes? = nil,
    dilation: Axes? = nil, before: Axes? = nil, after: Axes? = nil
  ) -> ConvolutionCase {
    ConvolutionCase(
      images, channels, channels, image: image, kernel: kernel, stride: stride, dilation: dilation,
      before: before, after: after, groups: channels)
  }

  /// With the epilogue in registers too, where there is one.
  private func check(_ shape: ConvolutionCase) throws {
    try ConvolutionProblem(shape).check()
    var other = shape
    (other.hasBias, other.hasReLU) = (true, true)
    other.combination = shape.image[2] % 2 == 0 ? CK_ADD : CK_GATE
    try ConvolutionProblem(other).check(ops: [CK_CONV_FORWARD, CK_CONV_DATA])
  }

  // Tiles of 8, 7, 4, 2 and 1 places, one line or two of them, with and without a place beside the image.
  @Test(arguments: 1...(TestSize.isReduced ? 9 : 18), [1, 2])
  func everyWidthAndHeight_hasTheReferencesBits(width: Int, stride: Int) throws {
    for height in [1, 2, 3, 6] {
      try check(
        depthwise(
          2, 20, image: [height, width], kernel: [3, 3], stride: [stride, stride], before: [1, 1]))
    }
  }

  @Test(arguments: 2...(TestSize.isReduced ? 18 : 50))
  func everyNumberOfChannels_hasTheReferencesBits(channels: Int) throws {
    for stride in [1, 2] {
      try check(
        depthwise(
          1, channels, image: [5, 8], kernel: [3, 3], stride: [stride, stride], before: [1, 1]))
    }
  }

  @Test(arguments: 1...7, [1, 2, 3])
  func everyWindow_hasTheReferencesBits(size: Int, stride: Int) throws {
    let padding = size / 2
    for (before, after) in [(padding, padding), (0, padding), (padding, 0), (padding + 1, 0)] {
      try check(
        depthwise(
          2, 19, image: [9, 12], kernel: [size, size], stride: [stride, stride],
          before: [before, before], after: [after, after]))
    }
  }

  @Test func windowsThatAreNotSquare_thatAreDilated_andOfVolumes_haveTheReferencesBits() throws {
    for stride in [1, 2] {
      for shape in [
        depthwise(
          1, 24, image: [8, 10], kernel: [5, 3], stride: [stride, stride], before: [2, 1]),
        depthwise(
          1, 24, image: [8, 10], kernel: [1, 3], stride: [3 - stride, stride], before: [0, 1]),
        depthwise(
          2, 24, image: [9, 11], kernel: [3, 3], stride: [stride, stride], dilation: [2, 1],
          before: [2, 1]),
        depthwise(
          2, 24, image: [9, 11], kernel: [3, 3], stride: [stride, stride], dilation: [1, 2],
          before: [1, 2]),
        depthwise(2, 33, image: [31], kernel: [3], stride: [stride], before: [1]),
        depthwise(
          2, 18, image: [3, 5, 8], kernel: [3, 3, 3], stride: [1, stride, stride],
          before: [1, 1, 1]),
        depthwise(
          1, 18, image: [4, 6, 8], kernel: [2, 3, 3], stride: [2, stride, stride],
          before: [0, 1, 1]),
      ] { try check(shape) }
    }
  }

  // The cuts of the sums of weights: several blocks of a group, several groups.
  @Test func rowsInSeveralBlocks_haveTheReferencesBits() throws {
    for (images, side, channels, stride) in [
      (3, 30, 48, 1), (2, 62, 17, 2), (20, 7, 40, 1), (18, 14, 33, 2),
    ] where !TestSize.isReduced || side < 10 {
      let shape = depthwise(
        images, channels, image: [side, side], kernel: [3, 3], stride: [stride, stride],
        before: [1, 1])
      try ConvolutionProblem(shape).check()
    }
  }

  @Test func anImageWithNaNAndInfinities_spoilsWhatMeetsThem_andNothingElse() throws {
    for channels in [6, 16, 40] {
      for stride in [1, 2] {
        let shape = depthwise(
          2, channels, image: [9, 16], kernel: [3, 3], stride: [stride, stride], before: [1, 1])
        var problem = ConvolutionProblem(shape)
        // Beside the padding at the end of a row, and in the middle.
        problem.x[(8 * 16 + 15) * channels] = .nan
        problem.x[(16 * 9 + 3 * 16 + 5) * channels + 1] = .infinity
        problem.x[(16 * 9 + 3 * 16 + 11) * channels] = -.infinity
        problem.y[0] = .nan
        problem.y[problem.y.count / 2] = .infinity
        try problem.check(ops: [CK_CONV_FORWARD, CK_CONV_DATA], isFinite: false)
        problem = ConvolutionProblem(shape)
        problem.x[(8 * 16 + 15) * channels] = .nan
        problem.x[(16 * 9 + 3 * 16 + 5) * channels + 1] = .infinity
        try problem.check(ops: [CK_CONV_WEIGHTS], isFinite: false)
        // A gradient that is infinite beside the padding: what lies there is no term of the weights'.
        problem = ConvolutionProblem(shape)
        problem.y[0] = .infinity
        problem.y[problem.y.count - 1] = .nan
        try problem.check(ops: [CK_CONV_WEIGHTS], isFinite: false)
      }
    }
  }

  @Test func theResult_mayTakeThePlaceOfWhatItIsAddedTo() throws {
    for combination in [CK_ADD, CK_GATE] {
      for stride in [1, 2] {
        var shape = depthwise(
          3, 20, image: [7, 10], kernel: [3, 3], stride: [stride, stride], before: [1, 1])
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
}
