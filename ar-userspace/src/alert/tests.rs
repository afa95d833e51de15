//! Alerts by requirement.
