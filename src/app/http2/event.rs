//! Events of HTTP/2: their places in the list that the protocol's description has.

#![allow(missing_docs)]

pub const FRAME_HEADER: u8 = 0;
pub const CLIENT_MAGIC: u8 = 1;
pub const FRAME_DATA: u8 = 2;
pub const HEADER: u8 = 3;
pub const FRAME_LENGTH: u8 = 4;
pub const EXTRA_HEADER: u8 = 5;
pub const LONG_FRAME: u8 = 6;
pub const STREAM_REUSE: u8 = 7;
pub const FAILED_DECOMPRESSION: u8 = 9;
pub const INVALID_RANGE: u8 = 10;
pub const INTEGER_OVERFLOW: u8 = 11;
pub const TOO_MANY_STREAMS: u8 = 12;
pub const AUTHORITY_MISMATCH: u8 = 13;
pub const USERINFO: u8 = 14;
pub const REASSEMBLY_LIMIT: u8 = 15;
pub const DNS_REQUEST_LONG: u8 = 16;
pub const DNS_RESPONSE_LONG: u8 = 17;
pub const DATA_STREAM_ZERO: u8 = 18;
pub const TOO_MANY_FRAMES: u8 = 19;
pub const COMPRESSION_BOMB: u8 = 20;
