//! Behaviour tests.

mod api;
mod clocks;
mod configuration;
mod conformance;
mod drift;
mod executables;
mod faults;
mod guard;
mod guides;
mod leftovers;
mod load;
mod nftables;
mod operate;
mod outages;
mod packets;
mod replay;
mod sections;
mod service;
mod source;
mod store;
mod verdict;
