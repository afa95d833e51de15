//! Executables run by the real binary: the conversation, the log, and what becomes of those that misbehave.

mod conversation;
mod log;
mod misbehaviour;
mod operate;
mod scene;
