//! Behaviour tests.

mod configuration;
mod conformance;
mod drift;
mod executables;
mod faults;
mod guard;
mod leftovers;
mod operate;
mod outages;
mod packets;
mod replay;
mod store;
mod verdict;
