// Apus benchmarks
