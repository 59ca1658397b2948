// ApusAutodiff
