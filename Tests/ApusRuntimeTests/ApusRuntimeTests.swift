// ApusRuntimeTests
