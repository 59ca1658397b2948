// ApusNNTests
