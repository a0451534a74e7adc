//! Benchmarks of the pieces.

fn main() {}
