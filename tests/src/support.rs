//! What the behaviour tests share. Nothing here decides what is right: the tests do.

pub mod alert;
pub mod bans;
pub mod daemon;
pub mod fault;
pub mod kernel;
pub mod metrics;
pub mod old_pins;
pub mod packet;
pub mod pins;
pub mod shared;
pub mod unit;
