//! Rules: from text to signatures and to an immutable rule set.
//!
//! lex and parse know the syntax and where everything stands; signature is the meaning; group and
//! ruleset lay it out for the matcher; check is the linter.

pub mod group;
pub mod ruleset;
pub mod signature;
