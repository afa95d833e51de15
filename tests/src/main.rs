//! Behaviour tests.

mod guard;
mod packets;
mod verdict;
