//! arfw: active response for OSSEC and Wazuh, enforced in the kernel.
//!
//! Data flows one way: source -> alert -> policy -> ledger -> enforcer. The core (`config`, `settings`, `alert`, `quiet`,
//! `policy`, `ledger`, `recent`, `simulation`, `request`, `diagnostic`, `time`, `offender`) is pure: time comes in as an argument and
//! effects go out as values. The shell (`confinement`, `source`, `responses_log`, `enforcer`, `store`, `clock`, `surroundings`,
//! `control`, `daemon`) performs. ARCHITECTURE.md says which module may use which; `cargo xtask tidy` checks it.

#![forbid(unsafe_code)]

pub mod alert;
pub mod config;
pub mod diagnostic;
pub mod ledger;
pub mod offender;
pub mod policy;
pub mod quiet;
pub mod recent;
pub mod request;
pub mod settings;
pub mod simulation;
pub mod time;

pub mod clock;
pub mod command;
pub mod confinement;
pub mod control;
pub mod daemon;
pub mod enforcer;
pub mod responses_log;
pub mod source;
pub mod store;
pub mod surroundings;
