//! What must hold for any bytes, for each reader of what others wrote: a function that panics when it does not.
//!
//! libFuzzer calls them with what it makes up (`fuzz/bin`), and ordinary tests with seeds and simple damage.

#![forbid(unsafe_code)]

mod alert;
mod config;
mod reply;
#[cfg(test)]
mod tests;

pub use alert::alert;
pub use config::config;
pub use reply::reply;
