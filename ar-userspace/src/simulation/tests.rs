//! The simulation beside the ledger itself.
