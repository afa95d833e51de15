//! Behaviour tests.

mod conformance;
mod packets;
mod verdict;
