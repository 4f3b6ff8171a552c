//! EVE.
