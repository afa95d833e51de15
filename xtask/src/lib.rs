//! What the demonstration and the behaviour tests share: network namespaces, traffic between them, and configurations.
//!
//! The commands of `cargo xtask` are in its binary. This library is light, so that it may be built before
//! anything else is.

#![forbid(unsafe_code)]

pub mod netns;
pub mod sections;
pub mod traffic;
