//! What a network is: configurations, blocks, the graph they emit, its cost and its weights file.

pub mod durable;
pub mod graph;
