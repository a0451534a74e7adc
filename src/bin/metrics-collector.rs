//! metrics-collector

fn main() {}
