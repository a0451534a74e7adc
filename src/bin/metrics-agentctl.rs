//! metrics-agentctl

fn main() {}
