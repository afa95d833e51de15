//! Behaviour tests.

mod configuration;
mod conformance;
mod executables;
mod faults;
mod guard;
mod leftovers;
mod nftables;
mod operate;
mod outages;
mod packets;
mod replay;
mod store;
mod verdict;
