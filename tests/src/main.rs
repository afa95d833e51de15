//! Behaviour tests.

mod conformance;
mod faults;
mod packets;
mod verdict;
