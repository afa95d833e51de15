//! What programs are told, at the control socket and by `--json`, is what docs/openapi.json and docs/commands.schema.json
//! say, whole: nothing else comes, and everything that is said there has come.

mod client;
mod commands;
mod document;
mod events;
mod operations;
mod schema;
mod stops;
