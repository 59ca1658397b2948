// ApusCommandTests
