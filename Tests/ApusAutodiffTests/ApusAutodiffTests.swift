// ApusAutodiffTests
