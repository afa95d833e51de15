//! Support of the behaviour tests, and the runner of the conformance vectors.

pub mod data_plane;
pub mod flood;
pub mod matching;
pub mod support;
pub mod vectors;
