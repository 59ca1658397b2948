// ApusPasses
