//! Support of the behaviour tests, and the runner of the conformance vectors.

pub mod bare_drop;
pub mod data_plane;
pub mod support;
pub mod vectors;
