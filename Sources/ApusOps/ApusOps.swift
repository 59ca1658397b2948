// ApusOps
