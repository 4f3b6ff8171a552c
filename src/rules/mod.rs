//! Rules: from text to signatures and to an immutable rule set.
//!
//! lex and parse know the syntax and where everything stands; signature is the meaning; group and
//! ruleset lay it out for the matcher; check is the linter. keyword is the whole language, support
//! what this build can execute of it.

pub mod check;
pub mod class;
pub mod coverage;
pub mod dataset;
pub mod diagnostic;
pub mod entropy;
pub mod fast_pattern;
pub mod files;
mod frame_keyword;
pub mod group;
pub mod keyword;
pub mod lex;
pub mod lint;
pub mod load;
pub mod meta;
pub mod names;
pub mod number;
pub mod parse;
pub mod regex;
mod report;
pub mod reputation;
pub mod rpc_keywords;
pub mod ruleset;
pub mod sets;
pub mod signature;
pub mod support;
pub mod threshold_file;
pub mod variables;

mod app_keywords;
pub mod app_readings;
mod app_words;
mod argument;
mod bytes;
mod content;
pub mod countries;
mod dataset_json;
mod dataset_keywords;
mod header;
mod keyword_table;
mod modbus_keyword;
mod packet_keywords;
mod state_keywords;
mod transform;
mod verify;

pub use load::{File, Loaded, Options, load};
pub use meta::Classification;
pub use variables::Variables;
