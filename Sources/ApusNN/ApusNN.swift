// What comes with the layers: the tensors, functions and compiled functions that models are written in.
//
// Whoever imports this module alone means the layer where a layer and an op bear one name: a module's
// own names go before those that it passes on.

@_exported import ApusAutodiff
@_exported import ApusGraph
@_exported import ApusOps
@_exported import ApusRuntime
