//! Modbus messages as the `modbus` object of EVE: read by the event writer from the messages' bytes,
//! which a record carries. Modbus Application Protocol 1.1b3, sections 5 and 6.
//!
//! Names are those that Suricata's readers know. A message that is cut short ends its object where
//! its bytes end, and says so in `error_flags`.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::text::{Bytes, Text};

/// Bytes before the unit: transaction, protocol.
const HEADER: usize = 4;

/// A message: transaction, protocol, then unit and what follows it on the wire.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// It answers.
    pub response: bool,
}

impl<'a> Message<'a> {
    fn u8(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let two = self.bytes.get(at..at + 2)?;
        Some(u16::from_be_bytes(two.try_into().ok()?))
    }

    /// What follows the function.
    fn data(&self) -> &'a [u8] {
        self.bytes.get(HEADER + 2..).unwrap_or(&[])
    }

    /// A number of the data.
    fn word(&self, at: usize) -> Option<u16> {
        self.u16(HEADER + 2 + at)
    }
}

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, number) in [
            ("transaction_id", self.u16(0)),
            ("protocol_id", self.u16(2)),
            ("unit_id", self.u8(HEADER).map(u16::from)),
        ] {
            if let Some(number) = number {
                map.serialize_entry(key, &number)?;
            }
        }
        let Some(raw) = self.u8(HEADER + 1) else {
            return map.end();
        };
        let function = raw & 0x7f;
        let (name, access, category) = function_of(function);
        map.serialize_entry("function_raw", &raw)?;
        map.serialize_entry("function_code", name)?;
        map.serialize_entry("access_type", access)?;
        map.serialize_entry("category", category)?;
        let whole = self.fits(raw);
        map.serialize_entry("error_flags", if whole { "NONE" } else { "DATA_LENGTH" })?;
        if raw & 0x80 != 0 {
            if let Some(code) = self.data().first() {
                map.serialize_entry("exception", &Code(u16::from(*code), exception(*code), None))?;
            }
            return map.end();
        }
        self.body(function, &mut map)?;
        map.end()
    }
}

impl Message<'_> {
    /// Whether what the function needs is there.
    fn fits(&self, raw: u8) -> bool {
        let least = match (raw, self.response) {
            (0x80.., _) => 1,
            (1..=4, false) | (5 | 6, _) | (8, _) => 4,
            (15 | 16, false) => 5,
            (15 | 16, true) => 4,
            (22, _) => 6,
            (23, false) => 9,
            (1..=4 | 23, true) | (43, _) => 1,
            _ => 0,
        };
        self.data().len() >= least
    }

    fn body<M: SerializeMap>(&self, function: u8, map: &mut M) -> Result<(), M::Error> {
        let data = self.data();
        let tail = |at: usize| Text(Bytes(data.get(at..).unwrap_or(&[])));
        match (function, self.response) {
            (1..=4, false) => map.serialize_entry("read", &self.span(0, "quantity")),
            (1..=4 | 23, true) => map.serialize_entry("read", &Data(tail(1))),
            (5 | 6, _) => map.serialize_entry("write", &self.span(0, "data")),
            (15 | 16, false) => {
                map.serialize_entry("write", &Many(self.span(0, "quantity"), tail(5)))
            }
            (15 | 16, true) => map.serialize_entry("write", &self.span(0, "quantity")),
            (22, _) => {
                map.serialize_entry("write", &Mask([self.word(0), self.word(2), self.word(4)]))
            }
            (23, false) => {
                map.serialize_entry("read", &self.span(0, "quantity"))?;
                map.serialize_entry("write", &Many(self.span(4, "quantity"), tail(9)))
            }
            (8, _) => {
                let raw = self.word(0).unwrap_or(0);
                map.serialize_entry("diagnostic", &Code(raw, diagnostic(raw), Some(tail(2))))
            }
            (43, _) => {
                let raw = u16::from(data.first().copied().unwrap_or(0));
                let name = match raw {
                    13 => "CANOpenGenRefReqResp",
                    14 => "RdDevId",
                    _ => "Unknown",
                };
                map.serialize_entry("mei", &Code(raw, name, Some(tail(1))))
            }
            _ if data.is_empty() => Ok(()),
            _ => map.serialize_entry("data", &tail(0)),
        }
    }

    fn span(&self, at: usize, second: &'static str) -> Span {
        Span([self.word(at), self.word(at + 2)], second)
    }
}

/// An address, and a number under a key.
struct Span([Option<u16>; 2], &'static str);

impl Span {
    fn entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        for (key, number) in ["address", self.1].iter().zip(self.0) {
            if let Some(number) = number {
                map.serialize_entry(key, &number)?;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.entries(&mut map)?;
        map.end()
    }
}

/// Several values that are written.
struct Many<'a>(Span, Text<Bytes<'a>>);

impl Serialize for Many<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.0.entries(&mut map)?;
        map.serialize_entry("data", &self.1)?;
        map.end()
    }
}

/// A change of single bits.
struct Mask([Option<u16>; 3]);

impl Serialize for Mask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, number) in ["address", "and_mask", "or_mask"].iter().zip(self.0) {
            if let Some(number) = number {
                map.serialize_entry(key, &number)?;
            }
        }
        map.end()
    }
}

/// Bytes alone.
struct Data<'a>(Text<Bytes<'a>>);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("data", &self.0)?;
        map.end()
    }
}

/// A code with its name, and what follows it.
struct Code<'a>(u16, &'static str, Option<Text<Bytes<'a>>>);

impl Serialize for Code<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("raw", &self.0)?;
        map.serialize_entry("code", self.1)?;
        if let Some(data) = &self.2 {
            map.serialize_entry("data", data)?;
        }
        map.end()
    }
}

/// Name, access and category of a function.
fn function_of(function: u8) -> (&'static str, &'static str, &'static str) {
    const ASSIGNED: &str = "PUBLIC_ASSIGNED";
    const RESERVED: &str = "RESERVED";
    match function {
        1 => ("RdCoils", "READ | COILS", ASSIGNED),
        2 => ("RdDiscreteInputs", "READ | DISCRETES", ASSIGNED),
        3 => ("RdHoldRegs", "READ | HOLDING", ASSIGNED),
        4 => ("RdInputRegs", "READ | INPUT", ASSIGNED),
        5 => ("WrSingleCoil", "WRITE | COILS | SINGLE", ASSIGNED),
        6 => ("WrSingleReg", "WRITE | HOLDING | SINGLE", ASSIGNED),
        7 => ("RdExcStatus", "NONE", ASSIGNED),
        8 => ("Diagnostic", "NONE", ASSIGNED),
        9 => ("Program484", "NONE", RESERVED),
        10 => ("Poll484", "NONE", RESERVED),
        11 => ("GetCommEventCtr", "NONE", ASSIGNED),
        12 => ("GetCommEventLog", "NONE", ASSIGNED),
        13 => ("ProgramController", "NONE", RESERVED),
        14 => ("PollController", "NONE", RESERVED),
        15 => ("WrMultCoils", "WRITE | COILS | MULTIPLE", ASSIGNED),
        16 => ("WrMultRegs", "WRITE | HOLDING | MULTIPLE", ASSIGNED),
        17 => ("ReportServerID", "NONE", ASSIGNED),
        18 => ("Program884", "NONE", RESERVED),
        19 => ("ResetCommLink", "NONE", RESERVED),
        20 => ("RdFileRec", "NONE", ASSIGNED),
        21 => ("WrFileRec", "NONE", ASSIGNED),
        22 => ("MaskWrReg", "WRITE | HOLDING", ASSIGNED),
        23 => (
            "RdWrMultRegs",
            "READ | WRITE | HOLDING | MULTIPLE",
            ASSIGNED,
        ),
        24 => ("RdFIFOQueue", "NONE", ASSIGNED),
        43 => ("MEI", "NONE", ASSIGNED),
        65..=72 | 100..=110 => ("Unknown", "NONE", "USER_DEFINED"),
        _ => ("Unknown", "NONE", "PUBLIC_UNASSIGNED"),
    }
}

fn exception(code: u8) -> &'static str {
    match code {
        1 => "IllegalFunction",
        2 => "IllegalDataAddr",
        3 => "IllegalDataValue",
        4 => "ServerDeviceFail",
        5 => "Ack",
        6 => "ServerDeviceBusy",
        7 => "NegAck",
        8 => "MemParityErr",
        10 => "GatewayPathUnavailable",
        11 => "GatewayTargetFailToResp",
        _ => "Unknown",
    }
}

fn diagnostic(code: u16) -> &'static str {
    const NAMES: [&str; 19] = [
        "RetQueryData",
        "RestartCommOpt",
        "RetDiagReg",
        "ChangeInputDelimiter",
        "ForceListenOnlyMode",
        "Reserved",
        "Reserved",
        "Reserved",
        "Reserved",
        "Reserved",
        "ClearCtrDiagReg",
        "RetBusMsgCount",
        "RetBusCommErrCount",
        "RetBusExcErrCount",
        "RetServerMsgCount",
        "RetServerNoRespCount",
        "RetServerNAKCount",
        "RetServerBusyCount",
        "RetBusCharOverrunCount",
    ];
    NAMES.get(usize::from(code)).copied().unwrap_or("Reserved")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    fn shown(bytes: &[u8], response: bool) -> Value {
        serde_json::to_value(super::Message { bytes, response }).unwrap()
    }

    #[test]
    fn a_read_and_its_answer_have_the_parts_of_their_functions() {
        let request = shown(&[0, 7, 0, 0, 9, 3, 0, 16, 0, 2], false);
        assert_eq!(
            request,
            json!({"transaction_id": 7, "protocol_id": 0, "unit_id": 9, "function_raw": 3,
                "function_code": "RdHoldRegs", "access_type": "READ | HOLDING",
                "category": "PUBLIC_ASSIGNED", "error_flags": "NONE",
                "read": {"address": 16, "quantity": 2}})
        );
        let answer = shown(&[0, 7, 0, 0, 9, 3, 4, b'a', b'b', b'c', b'd'], true);
        assert_eq!(answer["read"], json!({"data": "abcd"}));
        let refused = shown(&[0, 7, 0, 0, 9, 0x83, 2], true);
        assert_eq!(
            refused["exception"],
            json!({"raw": 2, "code": "IllegalDataAddr"})
        );
    }

    #[test]
    fn writes_tell_where_and_what() {
        let many = shown(&[0, 1, 0, 0, 1, 16, 0, 4, 0, 1, 2, b'x', b'y'], false);
        assert_eq!(
            many["write"],
            json!({"address": 4, "quantity": 1, "data": "xy"})
        );
        let mask = shown(&[0, 1, 0, 0, 1, 22, 0, 4, 0, 0xf2, 0, 0x25], false);
        assert_eq!(
            mask["write"],
            json!({"address": 4, "and_mask": 0xf2, "or_mask": 0x25})
        );
        let single = shown(&[0, 1, 0, 0, 1, 5, 0, 4, 0xff, 0], true);
        assert_eq!(single["write"], json!({"address": 4, "data": 0xff00}));
        let test = shown(&[0, 1, 0, 0, 1, 8, 0, 4, 0, 0], false);
        assert_eq!(test["diagnostic"]["code"], "ForceListenOnlyMode");
    }

    #[test]
    fn a_message_that_is_cut_anywhere_is_still_an_object() {
        let whole = [
            0, 1, 0, 0, 1, 23, 0, 3, 0, 6, 0, 14, 0, 3, 6, 0, 0xff, 0, 0xff, 0, 0xff,
        ];
        for length in 0..whole.len() {
            for response in [false, true] {
                for function in 0..=255 {
                    let mut bytes = whole;
                    bytes[5] = function;
                    assert!(shown(&bytes[..length], response).is_object());
                }
            }
        }
        assert_eq!(shown(&whole[..12], false)["error_flags"], "DATA_LENGTH");
    }
}
