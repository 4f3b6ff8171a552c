//! Numbers of SMB as EVE writes them: commands, dialects, statuses. Commands and dialects of MS-CIFS
//! 2.2.2.1 and MS-SMB2 2.2.1 and 2.2.3, statuses of MS-ERREF 2.3.1; the words are those that
//! Suricata's readers know. A status without a word is told as its number.

use std::fmt::{self, Display};

use crate::app::Field;

/// A number of one of SMB's fields; `None`: no field of this page.
pub fn text(field: Field, number: u64) -> Option<impl Display> {
    let kind = match field {
        Field::SmbCommand => Kind::Command,
        Field::SmbStatus => Kind::Status,
        Field::SmbStatusCode => Kind::Code,
        Field::SmbDialect | Field::SmbClientDialects => Kind::Dialect,
        _ => return None,
    };
    Some(Number(kind, number))
}

#[derive(Clone, Copy)]
enum Kind {
    Command,
    Status,
    Code,
    Dialect,
}

struct Number(Kind, u64);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.0 {
            // The version stands above the command.
            Kind::Command => {
                let name = command(self.1);
                let version = if self.1 >> 16 == 1 { 1 } else { 2 };
                return write!(f, "SMB{version}_COMMAND_{}", name.unwrap_or("UNKNOWN"));
            }
            Kind::Status => status(self.1),
            Kind::Dialect => dialect(self.1),
            Kind::Code => None,
        };
        match (word, self.0) {
            (Some(word), _) => f.write_str(word),
            (None, Kind::Status) => write!(f, "{}", self.1),
            (None, _) => write!(f, "0x{:x}", self.1),
        }
    }
}

/// By code.
const SMB1_COMMANDS: &[(u64, &str)] = &[
    (0x00, "CREATE_DIRECTORY"),
    (0x01, "DELETE_DIRECTORY"),
    (0x02, "OPEN"),
    (0x03, "CREATE"),
    (0x04, "CLOSE"),
    (0x05, "FLUSH"),
    (0x06, "DELETE"),
    (0x07, "RENAME"),
    (0x08, "QUERY_INFORMATION"),
    (0x09, "SET_INFORMATION"),
    (0x0a, "READ"),
    (0x0b, "WRITE"),
    (0x0c, "LOCK_BYTE_RANGE"),
    (0x0d, "UNLOCK_BYTE_RANGE"),
    (0x0e, "CREATE_TEMPORARY"),
    (0x0f, "CREATE_NEW"),
    (0x10, "CHECK_DIRECTORY"),
    (0x11, "PROCESS_EXIT"),
    (0x12, "SEEK"),
    (0x13, "LOCK_AND_READ"),
    (0x14, "WRITE_AND_UNLOCK"),
    (0x24, "LOCKING_ANDX"),
    (0x25, "TRANS"),
    (0x2b, "ECHO"),
    (0x2c, "WRITE_AND_CLOSE"),
    (0x2d, "OPEN_ANDX"),
    (0x2e, "READ_ANDX"),
    (0x2f, "WRITE_ANDX"),
    (0x32, "TRANS2"),
    (0x33, "TRANS2_SECONDARY"),
    (0x34, "FIND_CLOSE2"),
    (0x71, "TREE_DISCONNECT"),
    (0x72, "NEGOTIATE_PROTOCOL"),
    (0x73, "SESSION_SETUP_ANDX"),
    (0x74, "LOGOFF_ANDX"),
    (0x75, "TREE_CONNECT_ANDX"),
    (0x80, "QUERY_INFO_DISK"),
    (0xa0, "NT_TRANS"),
    (0xa1, "NT_TRANS_SECONDARY"),
    (0xa2, "NT_CREATE_ANDX"),
    (0xa4, "NT_CANCEL"),
];

fn command(number: u64) -> Option<&'static str> {
    let code = number & 0xffff;
    if number >> 16 == 1 {
        let found = SMB1_COMMANDS.binary_search_by_key(&code, |(known, _)| *known);
        return found
            .ok()
            .and_then(|place| SMB1_COMMANDS.get(place))
            .map(|(_, word)| *word);
    }
    const NAMES: [&str; 19] = [
        "NEGOTIATE_PROTOCOL",
        "SESSION_SETUP",
        "SESSION_LOGOFF",
        "TREE_CONNECT",
        "TREE_DISCONNECT",
        "CREATE",
        "CLOSE",
        "FLUSH",
        "READ",
        "WRITE",
        "LOCK",
        "IOCTL",
        "CANCEL",
        "KEEPALIVE",
        "FIND",
        "CHANGE_NOTIFY",
        "GET_INFO",
        "SET_INFO",
        "OPLOCK_BREAK",
    ];
    NAMES.get(code as usize).copied()
}

fn dialect(number: u64) -> Option<&'static str> {
    Some(match number {
        // The one of SMB1 that is still spoken (app/smb).
        0x0001 => "NT LM 0.12",
        0x0202 => "2.02",
        0x0210 => "2.10",
        0x0222 => "2.22",
        0x0224 => "2.24",
        0x02ff => "2.??",
        0x0300 => "3.00",
        0x0302 => "3.02",
        0x0310 => "3.10",
        0x0311 => "3.11",
        _ => return None,
    })
}

/// How a file is opened (MS-SMB2 2.2.13).
pub const DISPOSITIONS: [&str; 6] = [
    "FILE_SUPERSEDE",
    "FILE_OPEN",
    "FILE_CREATE",
    "FILE_OPEN_IF",
    "FILE_OVERWRITE",
    "FILE_OVERWRITE_IF",
];

/// The name of a control code.
pub fn function(number: u64) -> Option<&'static str> {
    let found = FUNCTIONS.binary_search_by_key(&number, |(known, _)| *known);
    found
        .ok()
        .and_then(|place| FUNCTIONS.get(place))
        .map(|(_, word)| *word)
}

/// By code (MS-FSCC 2.3, MS-SMB2 2.2.31, MS-RSVD 2.2.2).
const FUNCTIONS: [(u64, &str); 89] = [
    (0x0006_0194, "FSCTL_DFS_GET_REFERRALS"),
    (0x0006_01b0, "FSCTL_DFS_GET_REFERRALS_EX"),
    (0x0009_0000, "FSCTL_REQUEST_OPLOCK_LEVEL_1"),
    (0x0009_0004, "FSCTL_REQUEST_OPLOCK_LEVEL_2"),
    (0x0009_0008, "FSCTL_REQUEST_BATCH_OPLOCK"),
    (0x0009_000c, "FSCTL_OPLOCK_BREAK_ACKNOWLEDGE"),
    (0x0009_0010, "FSCTL_OPBATCH_ACK_CLOSE_PENDING"),
    (0x0009_0014, "FSCTL_OPLOCK_BREAK_NOTIFY"),
    (0x0009_0018, "FSCTL_LOCK_VOLUME"),
    (0x0009_001c, "FSCTL_UNLOCK_VOLUME"),
    (0x0009_0020, "FSCTL_DISMOUNT_VOLUME"),
    (0x0009_0028, "FSCTL_IS_VOLUME_MOUNTED"),
    (0x0009_002c, "FSCTL_IS_PATHNAME_VALID"),
    (0x0009_0030, "FSCTL_MARK_VOLUME_DIRTY"),
    (0x0009_003b, "FSCTL_QUERY_RETRIEVAL_POINTERS"),
    (0x0009_003c, "FSCTL_GET_COMPRESSION"),
    (0x0009_004f, "FSCTL_MARK_AS_SYSTEM_HIVE"),
    (0x0009_0050, "FSCTL_OPLOCK_BREAK_ACK_NO_2"),
    (0x0009_0054, "FSCTL_INVALIDATE_VOLUMES"),
    (0x0009_0058, "FSCTL_QUERY_FAT_BPB"),
    (0x0009_005c, "FSCTL_REQUEST_FILTER_OPLOCK"),
    (0x0009_0060, "FSCTL_FILESYSTEM_GET_STATISTICS"),
    (0x0009_0064, "FSCTL_GET_NTFS_VOLUME_DATA"),
    (0x0009_0068, "FSCTL_GET_NTFS_FILE_RECORD"),
    (0x0009_006f, "FSCTL_GET_VOLUME_BITMAP"),
    (0x0009_0073, "FSCTL_GET_RETRIEVAL_POINTERS"),
    (0x0009_0074, "FSCTL_MOVE_FILE"),
    (0x0009_0078, "FSCTL_IS_VOLUME_DIRTY"),
    (0x0009_007c, "FSCTL_GET_HFS_INFORMATION"),
    (0x0009_0083, "FSCTL_ALLOW_EXTENDED_DASD_IO"),
    (0x0009_0087, "FSCTL_READ_PROPERTY_DATA"),
    (0x0009_008b, "FSCTL_WRITE_PROPERTY_DATA"),
    (0x0009_008f, "FSCTL_FIND_FILES_BY_SID"),
    (0x0009_0097, "FSCTL_DUMP_PROPERTY_DATA"),
    (0x0009_009c, "FSCTL_GET_OBJECT_ID"),
    (0x0009_00a4, "FSCTL_SET_REPARSE_POINT"),
    (0x0009_00a8, "FSCTL_GET_REPARSE_POINT"),
    (0x0009_00c0, "FSCTL_CREATE_OR_GET_OBJECT_ID"),
    (0x0009_00c4, "FSCTL_SET_SPARSE"),
    (0x0009_00d4, "FSCTL_SET_ENCRYPTION"),
    (0x0009_00db, "FSCTL_ENCRYPTION_FSCTL_IO"),
    (0x0009_00df, "FSCTL_WRITE_RAW_ENCRYPTED"),
    (0x0009_00e3, "FSCTL_READ_RAW_ENCRYPTED"),
    (0x0009_00f0, "FSCTL_EXTEND_VOLUME"),
    (0x0009_0244, "FSCTL_CSV_TUNNEL_REQUEST"),
    (0x0009_027c, "FSCTL_GET_INTEGRITY_INFORMATION"),
    (0x0009_0284, "FSCTL_QUERY_FILE_REGIONS"),
    (0x0009_02c8, "FSCTL_CSV_SYNC_TUNNEL_REQUEST"),
    (0x0009_0300, "FSCTL_QUERY_SHARED_VIRTUAL_DISK_SUPPORT"),
    (0x0009_0304, "FSCTL_SVHDX_SYNC_TUNNEL_REQUEST"),
    (0x0009_0308, "FSCTL_SVHDX_SET_INITIATOR_INFORMATION"),
    (0x0009_030c, "FSCTL_SET_EXTERNAL_BACKING"),
    (0x0009_0310, "FSCTL_GET_EXTERNAL_BACKING"),
    (0x0009_0314, "FSCTL_DELETE_EXTERNAL_BACKING"),
    (0x0009_0318, "FSCTL_ENUM_EXTERNAL_BACKING"),
    (0x0009_031f, "FSCTL_ENUM_OVERLAY"),
    (0x0009_0350, "FSCTL_STORAGE_QOS_CONTROL"),
    (0x0009_0364, "FSCTL_SVHDX_ASYNC_TUNNEL_REQUEST"),
    (0x0009_40b3, "FSCTL_ENUM_USN_DATA"),
    (0x0009_40b7, "FSCTL_SECURITY_ID_CHECK"),
    (0x0009_40bb, "FSCTL_READ_USN_JOURNAL"),
    (0x0009_40cf, "FSCTL_QUERY_ALLOCATED_RANGES"),
    (0x0009_40e7, "FSCTL_CREATE_USN_JOURNAL"),
    (0x0009_40eb, "FSCTL_READ_FILE_USN_DATA"),
    (0x0009_40ef, "FSCTL_WRITE_USN_CLOSE_RECORD"),
    (0x0009_4264, "FSCTL_OFFLOAD_READ"),
    (0x0009_8098, "FSCTL_SET_OBJECT_ID"),
    (0x0009_80a0, "FSCTL_DELETE_OBJECT_ID"),
    (0x0009_80a4, "FSCTL_SET_REPARSE_POINT"),
    (0x0009_80ac, "FSCTL_DELETE_REPARSE_POINT"),
    (0x0009_80bc, "FSCTL_SET_OBJECT_ID_EXTENDED"),
    (0x0009_80c8, "FSCTL_SET_ZERO_DATA"),
    (0x0009_80d0, "FSCTL_ENABLE_UPGRADE"),
    (0x0009_8208, "FSCTL_FILE_LEVEL_TRIM"),
    (0x0009_8268, "FSCTL_OFFLOAD_WRITE"),
    (0x0009_c040, "FSCTL_SET_COMPRESSION"),
    (0x0009_c280, "FSCTL_SET_INTEGRITY_INFORMATION"),
    (0x0011_0018, "FSCTL_PIPE_WAIT"),
    (0x0011_400c, "FSCTL_PIPE_PEEK"),
    (0x0011_c017, "FSCTL_PIPE_TRANSCEIVE"),
    (0x0014_0078, "FSCTL_SRV_REQUEST_RESUME_KEY"),
    (0x0014_01d4, "FSCTL_LMR_REQUEST_RESILIENCY"),
    (0x0014_01fc, "FSCTL_QUERY_NETWORK_INTERFACE_INFO"),
    (0x0014_0200, "FSCTL_VALIDATE_NEGOTIATE_INFO_224"),
    (0x0014_0204, "FSCTL_VALIDATE_NEGOTIATE_INFO"),
    (0x0014_4064, "FSCTL_SRV_ENUMERATE_SNAPSHOTS"),
    (0x0014_40f2, "FSCTL_SRV_COPYCHUNK"),
    (0x0014_41bb, "FSCTL_SRV_READ_HASH"),
    (0x0014_80f2, "FSCTL_SRV_COPYCHUNK_WRITE"),
];

/// A handle of a file or a GUID, as Suricata writes them: two bytes as a number, sixteen with the
/// bytes of each part but the second half turned.
pub struct Handle<'a>(pub &'a [u8]);

impl Display for Handle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 9, 8, 11, 10, 15, 14, 13, 12];
        match self.0 {
            [low, high] => write!(f, "{high:02x}{low:02x}"),
            bytes if bytes.len() == ORDER.len() => {
                ORDER.iter().enumerate().try_for_each(|(place, at)| {
                    let dash = if matches!(place, 4 | 6 | 8 | 10) {
                        "-"
                    } else {
                        ""
                    };
                    write!(f, "{dash}{:02x}", bytes.get(*at).unwrap_or(&0))
                })
            }
            _ => Ok(()),
        }
    }
}

fn status(number: u64) -> Option<&'static str> {
    let found = STATUSES.binary_search_by_key(&number, |(known, _)| *known);
    found
        .ok()
        .and_then(|place| STATUSES.get(place))
        .map(|(_, word)| *word)
}

/// By number.
const STATUSES: &[(u64, &str)] = &[
    (0x0000_0000, "STATUS_SUCCESS"),
    (0x0000_0103, "STATUS_PENDING"),
    (0x0000_010b, "STATUS_NOTIFY_CLEANUP"),
    (0x0000_010c, "STATUS_NOTIFY_ENUM_DIR"),
    (0x8000_0005, "STATUS_BUFFER_OVERFLOW"),
    (0x8000_0006, "STATUS_NO_MORE_FILES"),
    (0x8000_002d, "STATUS_STOPPED_ON_SYMLINK"),
    (0xc000_0001, "STATUS_UNSUCCESSFUL"),
    (0xc000_0002, "STATUS_NOT_IMPLEMENTED"),
    (0xc000_0003, "STATUS_INVALID_INFO_CLASS"),
    (0xc000_0004, "STATUS_INFO_LENGTH_MISMATCH"),
    (0xc000_0005, "STATUS_ACCESS_VIOLATION"),
    (0xc000_0008, "STATUS_INVALID_HANDLE"),
    (0xc000_000d, "STATUS_INVALID_PARAMETER"),
    (0xc000_000e, "STATUS_NO_SUCH_DEVICE"),
    (0xc000_000f, "STATUS_NO_SUCH_FILE"),
    (0xc000_0010, "STATUS_INVALID_DEVICE_REQUEST"),
    (0xc000_0011, "STATUS_END_OF_FILE"),
    (0xc000_0016, "STATUS_MORE_PROCESSING_REQUIRED"),
    (0xc000_0018, "STATUS_CONFLICTING_ADDRESSES"),
    (0xc000_0022, "STATUS_ACCESS_DENIED"),
    (0xc000_0023, "STATUS_BUFFER_TOO_SMALL"),
    (0xc000_0033, "STATUS_OBJECT_NAME_INVALID"),
    (0xc000_0034, "STATUS_OBJECT_NAME_NOT_FOUND"),
    (0xc000_0035, "STATUS_OBJECT_NAME_COLLISION"),
    (0xc000_0039, "STATUS_OBJECT_PATH_INVALID"),
    (0xc000_003a, "STATUS_OBJECT_PATH_NOT_FOUND"),
    (0xc000_003b, "STATUS_OBJECT_PATH_SYNTAX_BAD"),
    (0xc000_0043, "STATUS_SHARING_VIOLATION"),
    (0xc000_004f, "STATUS_EAS_NOT_SUPPORTED"),
    (0xc000_0054, "STATUS_FILE_LOCK_CONFLICT"),
    (0xc000_0055, "STATUS_LOCK_NOT_GRANTED"),
    (0xc000_0056, "STATUS_DELETE_PENDING"),
    (0xc000_0061, "STATUS_PRIVILEGE_NOT_HELD"),
    (0xc000_0064, "STATUS_NO_SUCH_USER"),
    (0xc000_006a, "STATUS_WRONG_PASSWORD"),
    (0xc000_006d, "STATUS_LOGON_FAILURE"),
    (0xc000_006e, "STATUS_ACCOUNT_RESTRICTION"),
    (0xc000_006f, "STATUS_INVALID_LOGON_HOURS"),
    (0xc000_0070, "STATUS_INVALID_WORKSTATION"),
    (0xc000_0071, "STATUS_PASSWORD_EXPIRED"),
    (0xc000_0072, "STATUS_ACCOUNT_DISABLED"),
    (0xc000_007e, "STATUS_RANGE_NOT_LOCKED"),
    (0xc000_007f, "STATUS_DISK_FULL"),
    (0xc000_0098, "STATUS_FILE_INVALID"),
    (0xc000_009a, "STATUS_INSUFFICIENT_RESOURCES"),
    (0xc000_00ac, "STATUS_PIPE_NOT_AVAILABLE"),
    (0xc000_00ad, "STATUS_INVALID_PIPE_STATE"),
    (0xc000_00ae, "STATUS_PIPE_BUSY"),
    (0xc000_00b0, "STATUS_PIPE_DISCONNECTED"),
    (0xc000_00b1, "STATUS_PIPE_CLOSING"),
    (0xc000_00b5, "STATUS_IO_TIMEOUT"),
    (0xc000_00ba, "STATUS_FILE_IS_A_DIRECTORY"),
    (0xc000_00bb, "STATUS_NOT_SUPPORTED"),
    (0xc000_00c9, "STATUS_NETWORK_NAME_DELETED"),
    (0xc000_00ca, "STATUS_NETWORK_ACCESS_DENIED"),
    (0xc000_00cb, "STATUS_BAD_DEVICE_TYPE"),
    (0xc000_00cc, "STATUS_BAD_NETWORK_NAME"),
    (0xc000_00d0, "STATUS_REQUEST_NOT_ACCEPTED"),
    (0xc000_0101, "STATUS_DIRECTORY_NOT_EMPTY"),
    (0xc000_0103, "STATUS_NOT_A_DIRECTORY"),
    (0xc000_0120, "STATUS_CANCELLED"),
    (0xc000_0121, "STATUS_CANNOT_DELETE"),
    (0xc000_0128, "STATUS_FILE_CLOSED"),
    (0xc000_0133, "STATUS_TIME_DIFFERENCE_AT_DC"),
    (0xc000_014b, "STATUS_PIPE_BROKEN"),
    (0xc000_015b, "STATUS_LOGON_TYPE_NOT_GRANTED"),
    (0xc000_0184, "STATUS_INVALID_DEVICE_STATE"),
    (0xc000_0193, "STATUS_ACCOUNT_EXPIRED"),
    (0xc000_0203, "STATUS_USER_SESSION_DELETED"),
    (0xc000_0205, "STATUS_INSUFF_SERVER_RESOURCES"),
    (0xc000_0224, "STATUS_PASSWORD_MUST_CHANGE"),
    (0xc000_0225, "STATUS_NOT_FOUND"),
    (0xc000_0234, "STATUS_ACCOUNT_LOCKED_OUT"),
    (0xc000_0257, "STATUS_PATH_NOT_COVERED"),
    (0xc000_0275, "STATUS_NOT_A_REPARSE_POINT"),
    (0xc000_035c, "STATUS_NETWORK_SESSION_EXPIRED"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(field: Field, number: u64) -> String {
        text(field, number).map_or(String::new(), |text| text.to_string())
    }

    #[test]
    fn numbers_have_the_words_that_readers_know() {
        let rows = [
            (Field::SmbCommand, 2 << 16 | 5, "SMB2_COMMAND_CREATE"),
            (
                Field::SmbCommand,
                1 << 16 | 0xa2,
                "SMB1_COMMAND_NT_CREATE_ANDX",
            ),
            (Field::SmbCommand, 2 << 16 | 99, "SMB2_COMMAND_UNKNOWN"),
            (Field::SmbStatus, 0xc000_0022, "STATUS_ACCESS_DENIED"),
            (Field::SmbStatus, 0xc0de_0000, "3235774464"),
            (Field::SmbStatusCode, 0xc000_0022, "0xc0000022"),
            (Field::SmbDialect, 0x311, "3.11"),
            (Field::SmbClientDialects, 0x299, "0x299"),
            (Field::SmbVersion, 2, ""),
        ];
        for (field, number, wanted) in rows {
            assert_eq!(shown(field, number), wanted);
        }
        assert!(STATUSES.is_sorted() && SMB1_COMMANDS.is_sorted() && FUNCTIONS.is_sorted());
        assert_eq!(function(0x0011_c017), Some("FSCTL_PIPE_TRANSCEIVE"));
        let guid: Vec<u8> = (0..16).collect();
        let text = Handle(&guid).to_string();
        assert_eq!(text, "03020100-0504-0706-0908-0b0a0f0e0d0c");
        assert_eq!(Handle(&[1, 0x40]).to_string(), "4001");
    }
}
