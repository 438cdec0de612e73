//! The trainer on libtorch, and the program that `yf train` starts.

pub mod loss;
pub mod records;
pub mod torch;
