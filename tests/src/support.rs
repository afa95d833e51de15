//! What the behaviour tests share. Nothing here decides what is right: the tests do.

pub mod kernel;
pub mod packet;
