//! Decisions by requirement.
