// ApusGraphTests
