// ApusPassesTests
