// ApusDataTests
