//! metrics-agent

fn main() {}
