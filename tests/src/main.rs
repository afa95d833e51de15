//! Behaviour tests.

mod faults;
mod packets;
mod verdict;
