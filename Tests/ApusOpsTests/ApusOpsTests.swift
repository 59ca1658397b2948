// ApusOpsTests
