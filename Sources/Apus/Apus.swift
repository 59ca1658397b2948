// The umbrella: what `import Apus` gives a user.

@_exported import ApusAutodiff
@_exported import ApusData
@_exported import ApusGraph
@_exported import ApusNN
@_exported import ApusOps
@_exported import ApusPasses
@_exported import ApusRuntime
@_exported import ApusTraining
