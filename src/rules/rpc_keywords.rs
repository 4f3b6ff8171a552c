//! Keywords of remote procedure calls that are no buffers: `dcerpc.iface` becomes tests on the
//! instances of the field of that name (see `app::dcerpc::IFACE_SIZE`), `dcerpc.opnum` and
//! `nfs_procedure` comparisons.

use super::app_keywords::number_test;
use super::argument::Argument;
use super::diagnostic::Problem;
use super::keyword::{BufferRow, Side};
use super::number;
use super::parse::Builder;
use super::signature::{ByteFormat, ByteOperator, ByteTest, Compare, Content, Number, Test};
use crate::app::Field;

/// The instances of the interface: each test list is one interface's.
static INTERFACE: BufferRow = BufferRow {
    name: "dcerpc.iface",
    aliases: &[],
    protocol: "dcerpc|smb",
    side: Side::Both,
    multiple: true,
};

/// Places in an instance.
const VERSION_AT: i64 = 16;
const FIRST_AT: i64 = 18;

/// Procedures of NFS by name: their numbers in versions 2 (RFC 1094 2.2), 3 (RFC 1813 3.3) and 4
/// (operations, RFC 8881 16.2). EVE names them, too.
pub const NFS_PROCEDURES: &[(&str, [Option<u64>; 3])] = &[
    ("null", [Some(0), Some(0), Some(0)]),
    ("getattr", [Some(1), Some(1), Some(9)]),
    ("setattr", [Some(2), Some(2), Some(34)]),
    ("root", [Some(3), None, None]),
    ("lookup", [Some(4), Some(3), Some(15)]),
    ("access", [None, Some(4), Some(3)]),
    ("readlink", [Some(5), Some(5), Some(27)]),
    ("read", [Some(6), Some(6), Some(25)]),
    ("writecache", [Some(7), None, None]),
    ("write", [Some(8), Some(7), Some(38)]),
    ("create", [Some(9), Some(8), Some(6)]),
    ("remove", [Some(10), Some(12), Some(28)]),
    ("rename", [Some(11), Some(14), Some(29)]),
    ("link", [Some(12), Some(15), Some(11)]),
    ("symlink", [Some(13), Some(10), None]),
    ("mkdir", [Some(14), Some(9), None]),
    ("rmdir", [Some(15), Some(13), None]),
    ("readdir", [Some(16), Some(16), Some(26)]),
    ("statfs", [Some(17), None, None]),
    ("mknod", [None, Some(11), None]),
    ("readdirplus", [None, Some(17), None]),
    ("fsstat", [None, Some(18), None]),
    ("fsinfo", [None, Some(19), None]),
    ("pathconf", [None, Some(20), None]),
    ("commit", [None, Some(21), Some(5)]),
    ("compound", [None, None, Some(1)]),
    ("close", [None, None, Some(4)]),
    ("delegpurge", [None, None, Some(7)]),
    ("delegreturn", [None, None, Some(8)]),
    ("getfh", [None, None, Some(10)]),
    ("lock", [None, None, Some(12)]),
    ("lockt", [None, None, Some(13)]),
    ("locku", [None, None, Some(14)]),
    ("lookupp", [None, None, Some(16)]),
    ("nverify", [None, None, Some(17)]),
    ("open", [None, None, Some(18)]),
    ("openattr", [None, None, Some(19)]),
    ("open_confirm", [None, None, Some(20)]),
    ("open_downgrade", [None, None, Some(21)]),
    ("putfh", [None, None, Some(22)]),
    ("putpubfh", [None, None, Some(23)]),
    ("putrootfh", [None, None, Some(24)]),
    ("renew", [None, None, Some(30)]),
    ("restorefh", [None, None, Some(31)]),
    ("savefh", [None, None, Some(32)]),
    ("secinfo", [None, None, Some(33)]),
    ("setclientid", [None, None, Some(35)]),
    ("setclientid_confirm", [None, None, Some(36)]),
    ("verify", [None, None, Some(37)]),
    ("release_lockowner", [None, None, Some(39)]),
    ("exchange_id", [None, None, Some(42)]),
    ("create_session", [None, None, Some(43)]),
    ("destroy_session", [None, None, Some(44)]),
    ("getdevinfo", [None, None, Some(47)]),
    ("layoutget", [None, None, Some(50)]),
    ("layoutreturn", [None, None, Some(51)]),
    ("secinfo_no_name", [None, None, Some(52)]),
    ("sequence", [None, None, Some(53)]),
    ("destroy_clientid", [None, None, Some(57)]),
    ("reclaim_complete", [None, None, Some(58)]),
    ("illegal", [None, None, Some(10_044)]),
];

/// `nfs_procedure:17`, `:1-5` (both counted), `:readdirplus` or `:!read`.
pub fn nfs_procedure(builder: &mut Builder<'_, '_>, argument: Argument<'_>) -> Result<(), Problem> {
    let max = u64::from(u32::MAX);
    if let Some(compare) = number::compare_inclusive(argument.text, max) {
        number_test(builder, &argument, Field::NfsProcedure, vec![compare]);
        return Ok(());
    }
    let text = argument.text.trim();
    let (negated, name) = match text.strip_prefix('!') {
        Some(name) => (true, name.trim_start()),
        None => (false, text),
    };
    let known = NFS_PROCEDURES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    let Some((_, numbers)) = known else {
        return Err(argument.bad(format!("`{name}` is no procedure of NFS")));
    };
    let mut any_of = Vec::new();
    for (version, number) in (2u64..).zip(numbers) {
        let Some(number) = number else { continue };
        let call = version << 32 | number;
        if negated {
            // All others of the version.
            any_of.push(Compare::Between((version << 32) - 1, call));
            any_of.push(Compare::Between(call, (version + 1) << 32));
        } else {
            any_of.push(Compare::Equal(call));
        }
    }
    number_test(builder, &argument, Field::NfsCall, any_of);
    Ok(())
}

/// `dcerpc.iface:UUID[,VERSION][,any_frag]`.
pub fn interface<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let mut parts = argument.text.split(',').map(str::trim);
    let Some(uuid) = parts.next().and_then(uuid) else {
        return Err(argument.bad("an interface is named by its UUID"));
    };
    let mut tests = vec![Test::Content(Content {
        bytes: uuid.into(),
        startswith: true,
        ..Content::default()
    })];
    let mut first = true;
    for (place, part) in parts.enumerate() {
        if part == "any_frag" && first {
            first = false;
        } else if place == 0
            && let Some(version) = number::compare(part, u64::from(u16::MAX))
            && let Some(version) = comparison(version)
        {
            tests.extend(version);
        } else {
            return Err(argument.bad(format!("`{part}` is no version, nor `any_frag`")));
        }
    }
    if first {
        tests.push(byte_test(1, FIRST_AT, ByteOperator::Equal, 1, false));
    }
    builder.executable(argument.keyword.name, true);
    let list = builder.list(&INTERFACE, argument.name);
    for test in tests {
        builder.push_to(list, test, argument.span);
    }
    Ok(())
}

/// `dcerpc.opnum:N[-M][,...]`, or a comparison.
pub fn operation<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    let listed: Option<Vec<Compare>> = argument.text.split(',').map(range).collect();
    let any_of = match listed {
        Some(any_of) => any_of,
        None => match number::compare(argument.text, u64::from(u16::MAX)) {
            Some(compare) => vec![compare],
            None => return Err(argument.bad("operations are numbers and ranges of them")),
        },
    };
    number_test(builder, &argument, Field::DcerpcOpnum, any_of);
    Ok(())
}

/// `N` or `N-M`, both included.
fn range(text: &str) -> Option<Compare> {
    let text = text.trim();
    match text.split_once('-') {
        None => Some(Compare::Equal(u64::from(text.parse::<u32>().ok()?))),
        Some((from, to)) => {
            let (from, to): (u32, u32) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
            let (from, to) = (u64::from(from), u64::from(to));
            match from.checked_sub(1) {
                _ if from > to => None,
                Some(before) => Some(Compare::Between(before, to + 1)),
                None => Some(Compare::LessEqual(to)),
            }
        }
    }
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let hyphens = text.bytes().filter(|byte| *byte == b'-').count();
    if digits.len() != 32 || (hyphens != 0 && hyphens != 4) {
        return None;
    }
    let mut out = [0; 16];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

/// A comparison of the version as byte tests that must all hold.
fn comparison(compare: Compare) -> Option<Vec<Test>> {
    let test = |operator, value, negated| byte_test(2, VERSION_AT, operator, value as i64, negated);
    Some(match compare {
        Compare::Equal(value) => vec![test(ByteOperator::Equal, value, false)],
        Compare::NotEqual(value) => vec![test(ByteOperator::Equal, value, true)],
        Compare::Less(value) => vec![test(ByteOperator::Less, value, false)],
        Compare::LessEqual(value) => vec![test(ByteOperator::LessEqual, value, false)],
        Compare::Greater(value) => vec![test(ByteOperator::Greater, value, false)],
        Compare::GreaterEqual(value) => vec![test(ByteOperator::GreaterEqual, value, false)],
        Compare::Between(from, to) => vec![
            test(ByteOperator::Greater, from, false),
            test(ByteOperator::Less, to, false),
        ],
        Compare::NotBetween(..) | Compare::Mask { .. } => return None,
    })
}

/// A test of a binary number.
pub fn byte_test(count: i64, at: i64, operator: ByteOperator, value: i64, negated: bool) -> Test {
    Test::ByteTest(ByteTest {
        format: ByteFormat {
            count: Number::Literal(count),
            little: false,
            base: None,
            dce: false,
        },
        negated,
        operator,
        value: Number::Literal(value),
        offset: Number::Literal(at),
        relative: false,
        bitmask: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_and_ranges_read() {
        let read = uuid("12345678-1234-abcd-ef00-01234567cffb").unwrap();
        assert_eq!(read[..4], [0x12, 0x34, 0x56, 0x78]);
        assert!(uuid("12345678-1234-abcd-ef00-01234567cff").is_none());
        assert!(range("9-3").is_none());
        let within = range("5-9").unwrap();
        let held: Vec<u64> = (0..12).filter(|x| within.test(*x)).collect();
        assert_eq!(held, [5, 6, 7, 8, 9]);
        assert!(range("0-1").unwrap().test(0) && range("3").unwrap().test(3));
        assert!(range("x").is_none());
    }
}
