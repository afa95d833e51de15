//! `arfw run`: sets up logging and the runtime, and hands over to the daemon.
