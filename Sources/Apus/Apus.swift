// The umbrella: what `import Apus` gives a user.
//
// The engine's modules come by way of `ApusNN`, so that a layer's name goes before that of an op.

@_exported import ApusData
@_exported import ApusNN
@_exported import ApusTraining
