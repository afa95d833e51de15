//! Support of the behaviour tests.

pub mod support;
