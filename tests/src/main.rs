//! Behaviour tests.

mod configuration;
mod conformance;
mod faults;
mod leftovers;
mod packets;
mod replay;
mod verdict;
