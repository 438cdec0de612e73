//! The program that `yf train` starts.

fn main() {}
