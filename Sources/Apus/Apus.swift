// The umbrella: what `import Apus` gives a user.

@_exported import ApusAutodiff
@_exported import ApusData
@_exported import ApusGraph
@_exported import ApusNN
@_exported import ApusOps
@_exported import ApusPasses
@_exported import ApusRuntime
@_exported import ApusTraining

// Where a layer and an op bear one name, users mean the layer; the op's type is `ApusOps.Dropout`.

/// The layer; see `ApusNN.Dropout`.
public typealias Dropout = ApusNN.Dropout
/// The layer; see `ApusNN.LayerNorm`.
public typealias LayerNorm = ApusNN.LayerNorm
/// The layer; see `ApusNN.RMSNorm`.
public typealias RMSNorm = ApusNN.RMSNorm
/// The layer; see `ApusNN.Sigmoid`.
public typealias Sigmoid = ApusNN.Sigmoid
/// The layer; see `ApusNN.Softmax`.
public typealias Softmax = ApusNN.Softmax
/// The layer; see `ApusNN.Tanh`.
public typealias Tanh = ApusNN.Tanh
