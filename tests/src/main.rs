//! Behaviour tests.

mod verdict;
