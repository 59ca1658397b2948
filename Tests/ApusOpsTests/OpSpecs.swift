// All specs, family by family. A family's file holds an array of specs; it is added here, one a line.

import ApusOps
import TestSupport

let opSpecs: [OpSpec] = [
  attentionSpecs,
  batchNormSpecs,
  allReduceSpecs,
  boundSpecs,
  controlSpecs,
  convolutionSpecs,
  coreSpecs,
  elementwiseSpecs,
  matMulSpecs,
  narrowSpecs,
  poolSpecs,
  recurrentSpecs,
  reductionSpecs,
  resampleSpecs,
  rowSpecs,
  indexSpecs,
  randomSpecs,
  structuralSpecs,
  updateSpecs,
].flatMap { $0 }
