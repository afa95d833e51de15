//! Behaviour tests.

mod configuration;
mod conformance;
mod executables;
mod faults;
mod leftovers;
mod outages;
mod packets;
mod replay;
mod verdict;
