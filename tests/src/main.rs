//! Behaviour tests.

mod packets;
mod verdict;
