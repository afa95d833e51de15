//! Support of the behaviour tests, and the runner of the conformance vectors.

pub mod support;
pub mod vectors;
