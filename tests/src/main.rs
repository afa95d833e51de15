//! Behaviour tests.

mod executables;
mod packets;
mod verdict;
