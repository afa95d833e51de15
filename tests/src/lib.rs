//! Support of the behaviour tests.
