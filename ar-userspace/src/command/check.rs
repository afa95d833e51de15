//! `arfw check`: reads a configuration and tells what is wrong with it. Touches nothing.
