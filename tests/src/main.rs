//! Behaviour tests.

mod configuration;
mod faults;
mod leftovers;
mod packets;
mod replay;
mod verdict;
