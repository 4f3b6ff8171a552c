//! How the points of DNP3's objects are laid out (IEEE 1815, annex A, "DNP3 data object library"),
//! with the names that events give their parts.
//!
//! What is deliberately absent: sets and their kin (groups 82, 83.2, 85 to 91), whose points say
//! themselves how they are laid out, coded decimals (101), strings and virtual terminals (110 to
//! 113, where the variation is a size), and what the standard has given up (100).

use super::objects::Length::{Rest, Size, Told};
use super::objects::Part::{self, Bits, Bytes, Real, Signed, Text, Unsigned};

/// Bits of a byte, lowest first: name, and how many.
type Byte = &'static [(&'static str, u8)];

const BINARY: Byte = &[
    ("online", 1),
    ("restart", 1),
    ("comm_lost", 1),
    ("remote_forced", 1),
    ("local_forced", 1),
    ("chatter_filter", 1),
    ("reserved", 1),
    ("state", 1),
];
const DOUBLE_BIT: Byte = &[
    ("online", 1),
    ("restart", 1),
    ("comm_lost", 1),
    ("remote_forced", 1),
    ("local_forced", 1),
    ("chatter_filter", 1),
    ("state", 2),
];
const OUTPUT: Byte = &[
    ("online", 1),
    ("restart", 1),
    ("comm_lost", 1),
    ("remote_forced", 1),
    ("local_forced", 1),
    ("reserved0", 1),
    ("reserved1", 1),
    ("state", 1),
];
const CONTROL: Byte = &[("op_type", 4), ("qu", 1), ("cr", 1), ("tcc", 2)];
const STATUS: Byte = &[("status_code", 7), ("reserved", 1)];
const COMMANDED: Byte = &[("status_code", 7), ("commanded_state", 1)];
const COUNTER: Byte = &[
    ("online", 1),
    ("restart", 1),
    ("comm_lost", 1),
    ("remote_forced", 1),
    ("local_forced", 1),
    ("rollover", 1),
    ("discontinuity", 1),
    ("reserved0", 1),
];
const FROZEN: Byte = &[
    ("online", 1),
    ("restart", 1),
    ("comm_lost", 1),
    ("remote_forced", 1),
    ("local_forced", 1),
    ("rollover", 1),
    ("reserved0", 1),
    ("reserved1", 1),
];
const FROZEN_TIMED: Byte = &[
    ("online", 1),
    ("restart", 1),
    ("comm_lost", 1),
    ("remote_forced", 1),
    ("local_forced", 1),
    ("rollover", 1),
    ("discontinuity", 1),
    ("reserved1", 1),
];
const ANALOG: Byte = &[
    ("online", 1),
    ("restart", 1),
    ("comm_lost", 1),
    ("remote_forced", 1),
    ("local_forced", 1),
    ("over_range", 1),
    ("reference_err", 1),
    ("reserved0", 1),
];
const ANALOG_STATUS: Byte = &[("status_code", 7), ("reserved0", 1)];
const BUFFER: Byte = &[("fill_percentage", 7), ("overflow_state", 1)];
const DATA_SET: Byte = &[
    ("rd", 1),
    ("wr", 1),
    ("st", 1),
    ("ev", 1),
    ("df", 1),
    ("padding0", 1),
    ("padding1", 1),
    ("padding2", 1),
];
const STATISTIC: Byte = &[
    ("online", 1),
    ("restart", 1),
    ("comm_lost", 1),
    ("remote_forced", 1),
    ("local_forced", 1),
    ("reserved0", 1),
    ("discontinuity", 1),
    ("reserved1", 1),
];
/// Milliseconds since 1970 (clause 11.3.1).
const TIME: Part = Unsigned("timestamp", 6);

/// The only part of points that are packed into bits, and how many bits it has.
pub fn packed(group: u8, variation: u8) -> Option<(&'static str, u8)> {
    match (group, variation) {
        (1 | 10 | 80, 1) => Some(("state", 1)),
        (3, 1) => Some(("state", 2)),
        (12, 3) => Some(("point", 1)),
        _ => None,
    }
}

/// Groups and variations, and the parts of a point.
type Row = (&'static [(u8, u8)], &'static [Part]);

/// Points that stand in whole bytes.
pub const LAYOUTS: &[Row] = &[
    (&[(1, 2)], &[Bits(BINARY)]),
    (&[(2, 1)], &[Unsigned("state", 1)]),
    (&[(2, 2)], &[Bits(BINARY), TIME]),
    (&[(2, 3)], &[Bits(BINARY), Unsigned("timestamp", 2)]),
    (&[(3, 2), (4, 1)], &[Bits(DOUBLE_BIT)]),
    (&[(4, 2)], &[Bits(DOUBLE_BIT), TIME]),
    (
        &[(4, 3)],
        &[Bits(DOUBLE_BIT), Unsigned("relative_time_ms", 2)],
    ),
    (&[(10, 2), (11, 1)], &[Bits(OUTPUT)]),
    (&[(11, 2)], &[Bits(OUTPUT), TIME]),
    (
        &[(12, 1), (12, 2)],
        &[
            Bits(CONTROL),
            Unsigned("count", 1),
            Unsigned("ontime", 4),
            Unsigned("offtime", 4),
            Bits(STATUS),
        ],
    ),
    (&[(13, 1)], &[Bits(COMMANDED)]),
    (&[(13, 2)], &[Bits(COMMANDED), TIME]),
    (
        &[(20, 1), (21, 1), (22, 1), (23, 1)],
        &[Bits(COUNTER), Unsigned("count", 4)],
    ),
    (
        &[(20, 2), (21, 2), (22, 2)],
        &[Bits(COUNTER), Unsigned("count", 2)],
    ),
    (
        &[(20, 3), (21, 3), (22, 3), (23, 3)],
        &[Bits(FROZEN), Unsigned("count", 4)],
    ),
    (
        &[(20, 4), (21, 4), (22, 4), (23, 2), (23, 4)],
        &[Bits(FROZEN), Unsigned("count", 2)],
    ),
    (
        &[(20, 5), (20, 7), (21, 9), (21, 11)],
        &[Unsigned("count", 4)],
    ),
    (
        &[(20, 6), (20, 8), (21, 10), (21, 12)],
        &[Unsigned("count", 2)],
    ),
    (
        &[(21, 5)],
        &[Bits(FROZEN_TIMED), Unsigned("count", 4), TIME],
    ),
    (
        &[(21, 6)],
        &[Bits(FROZEN_TIMED), Unsigned("count", 2), TIME],
    ),
    (
        &[(21, 7), (22, 5), (22, 7), (23, 7)],
        &[Bits(FROZEN), Unsigned("count", 4), TIME],
    ),
    (
        &[(21, 8), (22, 8), (23, 8)],
        &[Bits(FROZEN), Unsigned("count", 2), TIME],
    ),
    (
        &[(22, 6), (23, 6)],
        &[Bits(COUNTER), Unsigned("count", 2), TIME],
    ),
    (&[(23, 5)], &[Bits(COUNTER), Unsigned("count", 4), TIME]),
    (
        &[(30, 1), (31, 1), (32, 1), (33, 1), (40, 1), (42, 1)],
        &[Bits(ANALOG), Signed("value", 4)],
    ),
    (
        &[(30, 2), (31, 2), (32, 2), (33, 2), (40, 2), (42, 2)],
        &[Bits(ANALOG), Signed("value", 2)],
    ),
    (&[(30, 3), (31, 5)], &[Signed("value", 4)]),
    (&[(30, 4), (31, 6)], &[Signed("value", 2)]),
    (
        &[(30, 5), (31, 7), (32, 5), (33, 5), (40, 3), (42, 5)],
        &[Bits(ANALOG), Real("value", 4)],
    ),
    (
        &[(30, 6), (31, 8), (32, 6), (33, 6), (40, 4), (42, 6)],
        &[Bits(ANALOG), Real("value", 8)],
    ),
    (
        &[(31, 3), (32, 3), (33, 3), (42, 3)],
        &[Bits(ANALOG), Signed("value", 4), TIME],
    ),
    (
        &[(31, 4), (32, 4), (33, 4), (42, 4)],
        &[Bits(ANALOG), Signed("value", 2), TIME],
    ),
    (
        &[(32, 7), (33, 7), (42, 7)],
        &[Bits(ANALOG), Real("value", 4), TIME],
    ),
    (
        &[(32, 8), (33, 8), (42, 8)],
        &[Bits(ANALOG), Real("value", 8), TIME],
    ),
    (&[(34, 1)], &[Unsigned("deadband_value", 2)]),
    (&[(34, 2)], &[Unsigned("deadband_value", 4)]),
    (&[(34, 3)], &[Real("deadband_value", 4)]),
    (
        &[(41, 1)],
        &[Signed("value", 4), Unsigned("control_status", 1)],
    ),
    (
        &[(41, 2)],
        &[Signed("value", 2), Unsigned("control_status", 1)],
    ),
    (
        &[(41, 3)],
        &[Real("value", 4), Unsigned("control_status", 1)],
    ),
    (
        &[(41, 4)],
        &[Real("value", 8), Unsigned("control_status", 1)],
    ),
    (
        &[(43, 1)],
        &[Bits(ANALOG_STATUS), Signed("commanded_value", 4)],
    ),
    (
        &[(43, 2)],
        &[Bits(ANALOG_STATUS), Signed("commanded_value", 2)],
    ),
    (
        &[(43, 3)],
        &[Bits(ANALOG_STATUS), Signed("commanded_value", 4), TIME],
    ),
    (
        &[(43, 4)],
        &[Bits(ANALOG_STATUS), Signed("commanded_value", 2), TIME],
    ),
    (
        &[(43, 5)],
        &[Bits(ANALOG_STATUS), Real("commanded_value", 4)],
    ),
    (
        &[(43, 6)],
        &[Bits(ANALOG_STATUS), Real("commanded_value", 8)],
    ),
    (
        &[(43, 7)],
        &[Bits(ANALOG_STATUS), Real("commanded_value", 4), TIME],
    ),
    (
        &[(43, 8)],
        &[Bits(ANALOG_STATUS), Real("commanded_value", 8), TIME],
    ),
    (&[(50, 1), (50, 3), (51, 1), (51, 2)], &[TIME]),
    (&[(50, 2)], &[TIME, Unsigned("interval", 4)]),
    (
        &[(50, 4)],
        &[
            TIME,
            Unsigned("interval_count", 4),
            Unsigned("interval_units", 1),
        ],
    ),
    (&[(52, 1)], &[Unsigned("delay_secs", 2)]),
    (&[(52, 2)], &[Unsigned("delay_ms", 2)]),
    (
        &[(70, 1)],
        &[
            Unsigned("filename_size", 2),
            Unsigned("filetype_code", 1),
            Unsigned("attribute_code", 1),
            Unsigned("start_record", 2),
            Unsigned("end_record", 2),
            Unsigned("file_size", 4),
            Unsigned("created_timestamp", 6),
            Unsigned("permission", 2),
            Unsigned("file_id", 4),
            Unsigned("owner_id", 4),
            Unsigned("group_id", 4),
            Unsigned("file_function_code", 1),
            Unsigned("status_code", 1),
            Text("filename", Told("filename_size")),
            Unsigned("data_size", 2),
            Text("data", Told("data_size")),
        ],
    ),
    (
        &[(70, 2)],
        &[
            Unsigned("username_offset", 2),
            Unsigned("username_size", 2),
            Unsigned("password_offset", 2),
            Unsigned("password_size", 2),
            Unsigned("authentication_key", 4),
            Text("username", Told("username_size")),
            Text("password", Told("password_size")),
        ],
    ),
    (
        &[(70, 3)],
        &[
            Unsigned("filename_offset", 2),
            Unsigned("filename_size", 2),
            Unsigned("created", 6),
            Unsigned("permissions", 2),
            Unsigned("authentication_key", 4),
            Unsigned("file_size", 4),
            Unsigned("operational_mode", 2),
            Unsigned("maximum_block_size", 2),
            Unsigned("request_id", 2),
            Text("filename", Told("filename_size")),
        ],
    ),
    (
        &[(70, 4)],
        &[
            Unsigned("file_handle", 4),
            Unsigned("file_size", 4),
            Unsigned("maximum_block_size", 2),
            Unsigned("request_id", 2),
            Unsigned("status_code", 1),
            Text("optional_text", Rest),
        ],
    ),
    (
        &[(70, 5)],
        &[
            Unsigned("file_handle", 4),
            Unsigned("block_number", 4),
            Text("file_data", Rest),
        ],
    ),
    (
        &[(70, 6)],
        &[
            Unsigned("file_handle", 4),
            Unsigned("block_number", 4),
            Unsigned("status_code", 1),
            Text("optional_text", Rest),
        ],
    ),
    (
        &[(70, 7)],
        &[
            Unsigned("filename_offset", 2),
            Unsigned("filename_size", 2),
            Unsigned("file_type", 2),
            Unsigned("file_size", 4),
            Unsigned("created_timestamp", 6),
            Unsigned("permissions", 2),
            Unsigned("request_id", 2),
            Text("filename", Told("filename_size")),
        ],
    ),
    (&[(70, 8)], &[Text("file_specification", Rest)]),
    (
        &[(81, 1)],
        &[Bits(BUFFER), Unsigned("group", 1), Unsigned("variation", 1)],
    ),
    (
        &[(83, 1)],
        &[
            Text("vendor_code", Size(4)),
            Unsigned("object_id", 2),
            Unsigned("length", 2),
            Bytes("data_objects", Told("length")),
        ],
    ),
    (&[(86, 2)], &[Bits(DATA_SET)]),
    (&[(102, 1)], &[Unsigned("value", 1)]),
    (
        &[(120, 1)],
        &[
            Unsigned("csq", 4),
            Unsigned("usr", 2),
            Unsigned("mal", 1),
            Unsigned("reason", 1),
            Bytes("challenge_data", Rest),
        ],
    ),
    (
        &[(120, 2)],
        &[
            Unsigned("csq", 4),
            Unsigned("usr", 2),
            Bytes("mac_value", Rest),
        ],
    ),
    (
        &[(120, 3)],
        &[Unsigned("csq", 4), Unsigned("user_number", 2)],
    ),
    (&[(120, 4)], &[Unsigned("user_number", 2)]),
    (
        &[(120, 5)],
        &[
            Unsigned("ksq", 4),
            Unsigned("user_number", 2),
            Unsigned("key_wrap_alg", 1),
            Unsigned("key_status", 1),
            Unsigned("mal", 1),
            Unsigned("challenge_data_len", 2),
            Bytes("challenge_data", Told("challenge_data_len")),
            Bytes("mac_value", Rest),
        ],
    ),
    (
        &[(120, 6)],
        &[
            Unsigned("ksq", 3),
            Unsigned("usr", 2),
            Bytes("wrapped_key_data", Rest),
        ],
    ),
    (
        &[(120, 7)],
        &[
            Unsigned("sequence_number", 4),
            Unsigned("usr", 2),
            Unsigned("association_id", 2),
            Unsigned("error_code", 1),
            Unsigned("time_of_error", 6),
            Text("error_text", Rest),
        ],
    ),
    (
        &[(120, 8)],
        &[
            Unsigned("key_change_method", 1),
            Unsigned("certificate_type", 1),
            Bytes("certificate", Rest),
        ],
    ),
    (&[(120, 9)], &[Bytes("mac_value", Rest)]),
    (
        &[(120, 10)],
        &[
            Unsigned("key_change_method", 1),
            Unsigned("operation", 1),
            Unsigned("scs", 4),
            Unsigned("user_role", 2),
            Unsigned("user_role_expiry_interval", 2),
            Unsigned("username_len", 2),
            Unsigned("user_public_key_len", 2),
            Unsigned("certification_data_len", 2),
            Text("username", Told("username_len")),
            Bytes("user_public_key", Told("user_public_key_len")),
            Bytes("certification_data", Told("certification_data_len")),
        ],
    ),
    (
        &[(120, 11)],
        &[
            Unsigned("key_change_method", 1),
            Unsigned("username_len", 2),
            Unsigned("master_challenge_data_len", 2),
            Text("username", Told("username_len")),
            Bytes("master_challenge_data", Told("master_challenge_data_len")),
        ],
    ),
    (
        &[(120, 12)],
        &[
            Unsigned("ksq", 4),
            Unsigned("user_number", 2),
            Unsigned("challenge_data_len", 2),
            Bytes("challenge_data", Told("challenge_data_len")),
        ],
    ),
    (
        &[(120, 13)],
        &[
            Unsigned("ksq", 4),
            Unsigned("user_number", 2),
            Unsigned("encrypted_update_key_len", 2),
            Bytes(
                "encrypted_update_key_data",
                Told("encrypted_update_key_len"),
            ),
        ],
    ),
    (&[(120, 14)], &[Bytes("digital_signature", Rest)]),
    (&[(120, 15)], &[Bytes("mac", Rest)]),
    (
        &[(121, 1), (122, 1)],
        &[
            Bits(STATISTIC),
            Unsigned("association_id", 2),
            Unsigned("count_value", 4),
        ],
    ),
    (
        &[(122, 2)],
        &[
            Bits(STATISTIC),
            Unsigned("association_id", 2),
            Unsigned("count_value", 4),
            TIME,
        ],
    ),
];
