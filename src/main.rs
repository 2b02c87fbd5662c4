//! The `purgehook` program.

fn main() {}
