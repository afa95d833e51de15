//! Behaviour tests.

mod configuration;
mod conformance;
mod executables;
mod faults;
mod guard;
mod leftovers;
mod operate;
mod outages;
mod packets;
mod replay;
mod source;
mod store;
mod verdict;
