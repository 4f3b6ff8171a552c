//! DCERPC (The Open Group C706, chapter 12; MS-RPCE): connection-oriented over TCP, connectionless
//! over UDP. What the calls on an SMB pipe need of it (headers, bindings) stands here too; how
//! their bytes are found is smb/'s.
//!
//! A transaction is a call: a request with its fragments put together, and the response; bind and
//! alter context are calls of their own. Interfaces become an instance each: see [`IFACE_SIZE`].

use super::field::{Field, Progress};
use super::heap::Heap;
use super::output::{Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::reader::Reader;
use super::settings::Number;
use super::table::{Table, growing_of, growing_word, guid_words, tx_of, tx_words};
use crate::packet::Direction;

mod interfaces;

pub(super) use interfaces::Interfaces;
use interfaces::tell_interface;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Dcerpc,
    probe,
    over: &[Transport::Tcp, Transport::Udp],
    fields: &[
        Field::DcerpcIface,
        Field::DcerpcOpnum,
        Field::DcerpcStubData,
        Field::DcerpcLittleEndian,
        Field::FrameDcerpcPdu,
        Field::FrameDcerpcHdr,
        Field::FrameDcerpcData,
    ],
    events: &[],
};

/// Bytes of an instance of `dcerpc.iface`: UUID as it is written (16), major version (2, most
/// significant byte first), whether the binding was in a first fragment (1).
pub const IFACE_SIZE: usize = 19;
/// Bytes of the connection-oriented header (C706 12.6.3.1).
pub(super) const HEADER: usize = 16;
/// Bytes of the connectionless header (C706 12.5.1).
const HEADER_UDP: usize = 80;
/// Bytes of a request after the header: allocation hint, context, operation.
pub(super) const REQUEST_HEAD: usize = 8;
/// Bindings that a flow remembers; the oldest is forgotten.
const INTERFACES_MAX: usize = 64;

/// Kinds of PDUs.
pub(super) mod kind {
    pub const REQUEST: u8 = 0;
    pub const RESPONSE: u8 = 2;
    pub const FAULT: u8 = 3;
    pub const REJECT: u8 = 6;
    pub const BIND: u8 = 11;
    pub const BIND_ACK: u8 = 12;
    pub const BIND_NAK: u8 = 13;
    pub const ALTER_CONTEXT: u8 = 14;
    pub const ALTER_CONTEXT_RESP: u8 = 15;
    /// The last one there is.
    pub const LAST: u8 = 20;
}

/// A connection-oriented header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Minor version.
    pub minor: u8,
    pub kind: u8,
    pub first: bool,
    pub last: bool,
    pub little: bool,
    /// Bytes of the fragment, header included.
    pub length: u16,
    pub call: u32,
}

impl Header {
    /// Reads one; `None` if it is too short or of another version.
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let mut at = Reader::new(bytes);
        let [5, minor @ (0 | 1), kind, flags] = at.array::<4>()? else {
            return None;
        };
        let [order, _, _, _] = at.array::<4>()?;
        let little = order & 0x10 != 0;
        let length = at.u16_of(little)?;
        at.skip(2)?;
        Some(Header {
            minor,
            kind,
            first: flags & 1 != 0,
            last: flags & 2 != 0,
            little,
            length,
            call: at.u32_of(little)?,
        })
    }
}

fn probe(probe: &Probe<'_>) -> Guess {
    match probe.transport {
        Transport::Tcp => probe_tcp(probe.bytes),
        Transport::Udp => probe_udp(probe.bytes),
    }
}

fn probe_tcp(bytes: &[u8]) -> Guess {
    for (place, byte) in bytes.iter().take(6).enumerate() {
        let fits = match place {
            0 => *byte == 5,
            1 => *byte == 0,
            2 => *byte <= kind::LAST,
            4 => byte & 0xee == 0,
            5 => *byte <= 3,
            _ => true,
        };
        if !fits {
            return Guess::No;
        }
    }
    match Header::read(bytes) {
        Some(header) if usize::from(header.length) >= HEADER => Guess::Yes,
        Some(_) => Guess::No,
        None => Guess::More,
    }
}

fn probe_udp(bytes: &[u8]) -> Guess {
    let fits = Datagram::read(bytes).is_some_and(|datagram| {
        datagram.fragment == 0
            && bytes.get(3).is_some_and(|flags| flags & 0xfc == 0)
            && bytes.get(4).is_some_and(|order| order & 0xee == 0)
            && bytes.get(5).is_some_and(|float| *float <= 3)
    });
    if fits { Guess::Yes } else { Guess::No }
}

/// A UUID in the order in which it is written.
fn uuid_of(mut wire: [u8; 16], little: bool) -> [u8; 16] {
    if little {
        wire[..4].reverse();
        wire[4..6].reverse();
        wire[6..8].reverse();
    }
    wire
}

/// Begins a transaction of a call: the byte order of its sender goes with both directions.
pub(super) fn open_call(out: &mut Output<'_>, little: bool) -> TxId {
    let tx = out.open();
    if out.wants(Field::DcerpcStubData) {
        for direction in [Direction::ToServer, Direction::ToClient] {
            out.number(tx, Field::DcerpcLittleEndian, direction, u64::from(little));
        }
    }
    tx
}

/// Tells operation and interfaces of a request, in both directions.
pub(super) fn tell_operation(out: &mut Output<'_>, tx: TxId, operation: u16) {
    for direction in [Direction::ToServer, Direction::ToClient] {
        out.number(tx, Field::DcerpcOpnum, direction, u64::from(operation));
    }
}

/// Adds bytes to the stub data of a direction, up to the setting's number of them; `growing` is the
/// word that names it, if it has begun.
fn add_stub(out: &mut Output<'_>, tx: TxId, direction: Direction, growing: &mut u32, bytes: &[u8]) {
    if bytes.is_empty() || !out.wants(Field::DcerpcStubData) {
        return;
    }
    if *growing == NOT_BEGUN {
        *growing = growing_word(out.begin(tx, Field::DcerpcStubData, direction));
    }
    let most = match out.flow.protocol {
        AppProtocol::Smb => Number::SmbStub,
        _ => Number::DcerpcStub,
    };
    let most = out.shared.limits.parsers.number(most) as usize;
    let room = most - out.grown(tx, growing_of(*growing)).min(most);
    let kept = bytes.get(..room).unwrap_or(bytes);
    if !kept.is_empty() {
        out.grow(tx, growing_of(*growing), kept);
    }
}

/// Counts a fragment of a call for events.
fn count_fragment(out: &mut Output<'_>, tx: TxId, direction: Direction, stub: &[u8]) {
    out.count_for_events(tx, Field::DcerpcFragments, direction, 1);
    let size = stub.len() as u64;
    out.count_for_events(tx, Field::DcerpcStubSize, direction, size);
}

/// Takes a fragment of a call: its stub data, and the count of fragments.
pub(super) fn add_fragment(
    out: &mut Output<'_>,
    tx: TxId,
    direction: Direction,
    growing: &mut u32,
    stub: &[u8],
) {
    count_fragment(out, tx, direction, stub);
    add_stub(out, tx, direction, growing, stub);
}

/// No stub data yet.
pub(super) const NOT_BEGUN: u32 = u32::MAX;

/// An open call.
#[derive(Clone, Copy, Debug)]
struct Call {
    /// Call id, or sequence number of a datagram.
    id: u32,
    /// Kinds of the request and of the response that it waits for.
    kinds: [u8; 2],
    done: [bool; 2],
    /// Whether its interface has been named.
    told: bool,
    context: u16,
    tx: TxId,
    stub: [u32; 2],
    /// Activity of a datagram.
    activity: [u32; 4],
}

impl Call {
    fn encode(&self) -> [u32; 11] {
        let [a, b, c, d] = self.activity;
        let [tx, serial] = tx_words(self.tx);
        let flags = u32::from(self.done[0])
            | u32::from(self.done[1]) << 1
            | u32::from(self.told) << 2
            | u32::from(self.context) << 16;
        let kinds = u32::from(self.kinds[0]) | u32::from(self.kinds[1]) << 8;
        let [to_server, to_client] = self.stub;
        [
            self.id, kinds, flags, tx, serial, to_server, to_client, a, b, c, d,
        ]
    }

    fn decode(words: &[u32; 11]) -> Call {
        Call {
            id: words[0],
            kinds: [words[1] as u8, (words[1] >> 8) as u8],
            done: [words[2] & 1 != 0, words[2] & 2 != 0],
            told: words[2] & 4 != 0,
            context: (words[2] >> 16) as u16,
            tx: tx_of(words[3], words[4]),
            stub: [words[5], words[6]],
            activity: [words[7], words[8], words[9], words[10]],
        }
    }
}

/// The parser of a flow.
#[derive(Debug, Default)]
pub struct Dcerpc {
    interfaces: Interfaces,
    calls: Table<11>,
    /// Bytes were lost: a header has to be found first.
    lost: [bool; 2],
}

impl Parse for Dcerpc {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        if input.transport == Transport::Udp {
            self.datagram(input, out);
            return Ok(Taken::all(input.bytes.len()));
        }
        let way = input.direction.index();
        if input.gap > 0 {
            self.lost[way] = true;
            self.give_up(out, input.direction);
        }
        let mut taken = 0;
        if self.lost[way] {
            taken = self.search(input.bytes, way);
        }
        // Every round takes a fragment: at least a header.
        loop {
            let rest = input.bytes.get(taken..).unwrap_or(&[]);
            if self.lost[way] || rest.is_empty() {
                return Ok(Taken::all(taken));
            }
            let Some(header) = Header::read(rest) else {
                if rest.len() < HEADER {
                    return Ok(Taken::until(taken, HEADER));
                }
                return Err(Broken);
            };
            let length = usize::from(header.length);
            if length < HEADER {
                return Err(Broken);
            }
            let Some(body) = rest.get(HEADER..length) else {
                return Ok(Taken::until(taken, length));
            };
            let whole = rest.get(..length).unwrap_or(rest);
            out.frame(Field::FrameDcerpcPdu, input.direction, whole);
            if let Some((head, data)) = whole.split_at_checked(HEADER) {
                out.frame(Field::FrameDcerpcHdr, input.direction, head);
                out.frame(Field::FrameDcerpcData, input.direction, data);
            }
            self.fragment(&header, body, out);
            taken += length;
        }
    }

    fn free(&mut self, heap: &mut Heap) {
        self.interfaces.clear(heap);
        self.calls.clear(heap);
    }
}

impl Dcerpc {
    /// Looks for a header after a gap; how many bytes are of no use.
    fn search(&mut self, bytes: &[u8], way: usize) -> usize {
        let mut from = 0;
        while let Some(found) = memchr::memchr(5, bytes.get(from..).unwrap_or(&[])) {
            let place = from + found;
            match probe_tcp(bytes.get(place..).unwrap_or(&[])) {
                Guess::Yes => {
                    self.lost[way] = false;
                    return place;
                }
                Guess::More => return place,
                Guess::No => from = place + 1,
            }
        }
        bytes.len()
    }

    /// After lost bytes no open call of that direction gets more.
    fn give_up(&mut self, out: &mut Output<'_>, direction: Direction) {
        for place in 0..self.calls.len() {
            if let Some(words) = self.calls.get(out.heap(), place) {
                let mut call = Call::decode(&words);
                call.done[direction.index()] = true;
                out.progress(call.tx, direction, Progress::Complete);
                self.calls.set(out.heap(), place, &call.encode());
            }
        }
        self.sweep(out);
    }

    /// Forgets calls that are done in both directions.
    fn sweep(&mut self, out: &mut Output<'_>) {
        let mut place = 0;
        while let Some(words) = self.calls.get(out.heap(), place) {
            if Call::decode(&words).done == [true; 2] {
                let _ = self.calls.remove(out.heap(), place);
            } else {
                place += 1;
            }
        }
    }

    /// The open call that a PDU of `kind` belongs to.
    fn find(
        &self,
        out: &Output<'_>,
        id: u32,
        activity: [u32; 4],
        kind: u8,
        way: usize,
    ) -> Option<usize> {
        let wanted = |words: &[u32; 11]| {
            let call = Call::decode(words);
            call.id == id
                && call.activity == activity
                && !call.done[way]
                && partner(kind).is_none_or(|other| call.kinds[1 - way] == other)
        };
        self.calls
            .find(&out.shared.heap, wanted)
            .map(|(place, _)| place)
    }

    fn begin(
        &mut self,
        out: &mut Output<'_>,
        id: u32,
        activity: [u32; 4],
        little: bool,
    ) -> Option<usize> {
        let call = Call {
            id,
            kinds: [kind::REQUEST, kind::RESPONSE],
            done: [false; 2],
            told: false,
            context: 0,
            tx: open_call(out, little),
            stub: [NOT_BEGUN; 2],
            activity,
        };
        let record = call.encode();
        // Beyond the bound the oldest is completed.
        let most = out.shared.limits.parsers.number(Number::DcerpcTransactions) as usize;
        if let Some(oldest) = self.calls.push(out.heap(), most, &record) {
            out.complete(Call::decode(&oldest).tx);
            if oldest == record {
                return None;
            }
        }
        self.calls.len().checked_sub(1)
    }

    /// Takes a fragment in. Its kind says which way it goes, not who sent it: servers call back.
    fn fragment(&mut self, header: &Header, body: &[u8], out: &mut Output<'_>) {
        let (direction, stub, whole): (_, &[u8], _) = match header.kind {
            kind::BIND | kind::ALTER_CONTEXT => {
                let _ = self.interfaces.bind(out.heap(), header, body);
                (Direction::ToServer, &[], true)
            }
            kind::BIND_ACK | kind::ALTER_CONTEXT_RESP => {
                let _ = self.interfaces.answer(out.heap(), header, body);
                (Direction::ToClient, &[], true)
            }
            kind::REQUEST => {
                let stub = body.get(REQUEST_HEAD..).unwrap_or(&[]);
                (Direction::ToServer, stub, false)
            }
            kind::RESPONSE => (Direction::ToClient, body, false),
            kind::FAULT | kind::REJECT | kind::BIND_NAK => (Direction::ToClient, &[], true),
            _ => return,
        };
        let way = direction.index();
        let refused = matches!(header.kind, kind::FAULT | kind::REJECT | kind::BIND_NAK);
        let place = match self.find(out, header.call, [0; 4], header.kind, way) {
            Some(place) => Some(place),
            None if refused => return,
            None => self.begin(out, header.call, [0; 4], header.little),
        };
        let Some((place, words)) = place.and_then(|at| Some((at, self.calls.get(out.heap(), at)?)))
        else {
            return;
        };
        let mut call = Call::decode(&words);
        if header.first || call.stub[way] == NOT_BEGUN {
            tell_kind(out, call.tx, direction, header.kind);
            let (id, minor) = (u64::from(header.call), u64::from(header.minor));
            out.number_for_events(call.tx, Field::DcerpcCallId, direction, id);
            out.number_for_events(call.tx, Field::DcerpcRpcVersion, direction, minor);
        }
        call.kinds[way] = header.kind;
        // Neither first nor last: the middle of a call, or a whole one of a careless sender.
        let done = whole || header.last || (!header.first && call.stub[way] == NOT_BEGUN);
        self.name(out, header, body, &mut call);
        if header.kind == kind::BIND_ACK {
            self.interfaces.show_bind(out, call.tx, Some(header.call));
        }
        if matches!(header.kind, kind::REQUEST | kind::RESPONSE) {
            count_fragment(out, call.tx, direction, stub);
        }
        add_stub(out, call.tx, direction, &mut call.stub[way], stub);
        self.end(out, place, call, direction, done);
    }

    /// Tells operation and interface of a call, as soon as they are known.
    fn name(&self, out: &mut Output<'_>, header: &Header, body: &[u8], call: &mut Call) {
        if header.kind == kind::REQUEST {
            let mut at = Reader::at(body, 4);
            let context = at.u16_of(header.little);
            if let (Some(context), Some(operation)) = (context, at.u16_of(header.little))
                && (header.first || call.stub[0] == NOT_BEGUN)
            {
                call.context = context;
                tell_operation(out, call.tx, operation);
                call.told = self.interfaces.tell(out, call.tx, Some(context));
            }
        } else if header.kind == kind::RESPONSE && !call.told && call.kinds[0] == kind::REQUEST {
            // Its binding may have been answered after the request was sent.
            call.told = self.interfaces.tell(out, call.tx, Some(call.context));
        }
    }

    fn end(
        &mut self,
        out: &mut Output<'_>,
        place: usize,
        mut call: Call,
        direction: Direction,
        done: bool,
    ) {
        call.done[direction.index()] |= done;
        let progress = if done {
            Progress::Complete
        } else {
            Progress::Head
        };
        out.progress(call.tx, direction, progress);
        if call.done == [true; 2] {
            let _ = self.calls.remove(out.heap(), place);
        } else {
            self.calls.set(out.heap(), place, &call.encode());
        }
    }

    fn datagram(&mut self, input: &Input<'_>, out: &mut Output<'_>) {
        let Some(datagram) = Datagram::read(input.bytes) else {
            return;
        };
        let direction = match datagram.kind {
            kind::REQUEST => Direction::ToServer,
            kind::RESPONSE => Direction::ToClient,
            _ => return,
        };
        let way = direction.index();
        let activity = guid_words(datagram.activity);
        let found = self.find(out, datagram.sequence, activity, datagram.kind, way);
        let place = match found {
            Some(place) => Some(place),
            None => self.begin(out, datagram.sequence, activity, datagram.little),
        };
        let Some((place, words)) = place.and_then(|at| Some((at, self.calls.get(out.heap(), at)?)))
        else {
            return;
        };
        let mut call = Call::decode(&words);
        tell_kind(out, call.tx, direction, datagram.kind);
        if !call.told {
            call.told = true;
            let sequence = u64::from(datagram.sequence);
            out.number_for_events(call.tx, Field::DcerpcSequence, direction, sequence);
            if out.wants(Field::DcerpcActivity) {
                let activity = &datagram.activity;
                out.field(call.tx, Field::DcerpcActivity, direction, activity);
            }
            tell_operation(out, call.tx, datagram.operation);
            tell_interface(out, call.tx, datagram.interface, datagram.version, true);
        }
        add_fragment(out, call.tx, direction, &mut call.stub[way], datagram.stub);
        self.end(out, place, call, direction, datagram.last);
    }
}

/// Tells events what a PDU is.
fn tell_kind(out: &mut Output<'_>, tx: TxId, direction: Direction, kind: u8) {
    let field = match direction {
        Direction::ToServer => Field::DcerpcRequest,
        Direction::ToClient => Field::DcerpcResponse,
    };
    out.number_for_events(tx, field, direction, u64::from(kind));
}

/// The kind of the other half of a call, if it must be a certain one.
fn partner(of: u8) -> Option<u8> {
    match of {
        kind::REQUEST => Some(kind::RESPONSE),
        kind::RESPONSE => Some(kind::REQUEST),
        kind::BIND_ACK => Some(kind::BIND),
        kind::ALTER_CONTEXT_RESP => Some(kind::ALTER_CONTEXT),
        // No call waits for a bind.
        kind::BIND | kind::ALTER_CONTEXT => Some(u8::MAX),
        _ => None,
    }
}

/// A connectionless PDU.
#[derive(Debug)]
struct Datagram<'a> {
    kind: u8,
    little: bool,
    last: bool,
    interface: [u8; 16],
    activity: [u8; 16],
    version: u16,
    sequence: u32,
    operation: u16,
    fragment: u16,
    stub: &'a [u8],
}

impl<'a> Datagram<'a> {
    fn read(bytes: &'a [u8]) -> Option<Datagram<'a>> {
        let mut at = Reader::new(bytes);
        let [4, kind, flags, _] = at.array::<4>()? else {
            return None;
        };
        let [order, _, _, _] = at.array::<4>()?;
        let little = order & 0x10 != 0;
        at.skip(16)?;
        let interface = uuid_of(at.array()?, little);
        let activity = at.array()?;
        at.skip(4)?;
        let version = at.u32_of(little)? as u16;
        let sequence = at.u32_of(little)?;
        let operation = at.u16_of(little)?;
        at.skip(4)?;
        let length = usize::from(at.u16_of(little)?);
        let fragment = at.u16_of(little)?;
        let stub = bytes.get(HEADER_UDP..HEADER_UDP + length)?;
        Some(Datagram {
            kind,
            little,
            // A fragment, and not the last one (C706 12.5.2.3).
            last: flags & 4 == 0 || flags & 2 != 0,
            interface,
            activity,
            version,
            sequence,
            operation,
            fragment,
            stub,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run, run_missing, same_for_every_cut};
    use super::*;
    use crate::packet::Direction::{ToClient, ToServer};

    const TCP: Place = Place {
        transport: Transport::Tcp,
        server_port: 135,
    };

    /// A little-endian PDU.
    pub fn pdu(kind: u8, flags: u8, call: u32, body: &[u8]) -> Vec<u8> {
        let mut out = vec![5, 0, kind, flags, 0x10, 0, 0, 0];
        out.extend(((HEADER + body.len()) as u16).to_le_bytes());
        out.extend([0, 0]);
        out.extend(call.to_le_bytes());
        out.extend(body);
        out
    }

    /// A bind to interface 33221100-5544-7766-8899-aabbccddeeff, version 3.
    fn bind() -> Vec<u8> {
        let mut body = vec![0xb8, 0x10, 0xb8, 0x10, 0, 0, 0, 0, 1, 0, 0, 0];
        body.extend([7, 0, 1, 0]);
        body.extend([0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77]);
        body.extend([0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]);
        body.extend([3, 0, 0, 0]);
        body.extend([0; 20]);
        pdu(kind::BIND, 3, 1, &body)
    }

    fn bind_ack(result: u8) -> Vec<u8> {
        let mut body = vec![0xb8, 0x10, 0xb8, 0x10, 0, 0, 0, 0];
        // The address "135" with its zero, which ends at a multiple of four plus two.
        body.extend([4, 0, b'1', b'3', b'5', 0, 0, 0]);
        body.extend([1, 0, 0, 0, result, 0, 0, 0]);
        body.extend([0; 20]);
        pdu(kind::BIND_ACK, 3, 1, &body)
    }

    fn request(flags: u8, stub: &[u8]) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 0, 7, 0, 26, 0];
        body.extend(stub);
        pdu(kind::REQUEST, flags, 2, &body)
    }

    #[test]
    fn a_call_in_fragments_is_one_transaction() {
        let (protocol, lines) = same_for_every_cut(
            TCP,
            &[
                (ToServer, &bind()),
                (ToClient, &bind_ack(0)),
                (ToServer, &request(1, b"ab")),
                (ToServer, &request(0, b"cd")),
                (ToServer, &request(2, b"ef")),
                (ToClient, &pdu(kind::RESPONSE, 3, 2, b"12345678answer")),
            ],
        );
        assert_eq!(protocol, AppProtocol::Dcerpc);
        let iface = "3\\\"\\x11\\x00UDwf\\x88\\x99\\xaa\\xbb\\xcc\\xdd\\xee\\xff\\x00\\x03\\x01";
        let expected: Vec<String> = [
            "tx 0 ToServer -dcerpc.little_endian 1".into(),
            "tx 0 ToClient -dcerpc.little_endian 1".into(),
            "tx 1 ToServer -dcerpc.little_endian 1".into(),
            "tx 1 ToClient -dcerpc.little_endian 1".into(),
            "tx 1 ToServer dcerpc.opnum 26".into(),
            "tx 1 ToClient dcerpc.opnum 26".into(),
            format!("tx 1 ToServer dcerpc.iface \"{iface}\""),
            format!("tx 1 ToClient dcerpc.iface \"{iface}\""),
            "tx 1 ToServer dcerpc.stub_data \"abcdef\"".into(),
            "tx 1 ToClient dcerpc.stub_data \"12345678answer\"".into(),
        ]
        .into();
        assert_eq!(lines, expected);
    }

    #[test]
    fn stub_data_ends_at_its_setting() {
        let calls = [bind(), request(1, b"ab"), request(2, b"cdef")].concat();
        let of = |bytes: &str| {
            let settings = [("app-layer.protocols.dcerpc.max-stub-size", bytes)];
            run_missing(TCP, &settings, &[(ToServer, 0, &calls)]).join("\n")
        };
        assert!(
            of("5").contains("dcerpc.stub_data \"abcde\""),
            "{}",
            of("5")
        );
        assert!(
            of("0").contains("dcerpc.stub_data \"abcdef\""),
            "no limit of none"
        );
    }

    #[test]
    fn a_rejected_interface_is_not_named() {
        let (_, lines) = run(
            TCP,
            &[
                (ToServer, &bind()),
                (ToClient, &bind_ack(2)),
                (ToServer, &request(3, b"ab")),
            ],
        );
        assert!(lines.contains(&"tx 1 ToServer dcerpc.opnum 26".to_string()));
        assert!(
            !lines.iter().any(|line| line.contains("iface")),
            "{lines:?}"
        );
    }

    #[test]
    fn a_datagram_names_its_interface_itself() {
        let mut bytes = vec![4, 0, 0, 0, 0x10, 0, 0, 0];
        bytes.extend([0; 16]);
        bytes.extend([0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77]);
        bytes.extend([0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]);
        bytes.extend([9; 16]);
        bytes.extend([0, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0]);
        bytes.extend([4, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0]);
        bytes.extend(b"hi");
        let place = Place {
            transport: Transport::Udp,
            server_port: 1025,
        };
        let (protocol, lines) = run(place, &[(ToServer, &bytes)]);
        assert_eq!(protocol, AppProtocol::Dcerpc);
        assert!(lines.contains(&"tx 0 ToServer dcerpc.opnum 4".to_string()));
        assert!(lines.contains(&"tx 0 ToServer dcerpc.stub_data \"hi\"".to_string()));
        assert_eq!(lines.iter().filter(|l| l.contains("iface")).count(), 2);
    }

    #[test]
    fn calls_that_never_end_are_bounded() {
        let mut flood = Vec::new();
        for call in 0..1000 {
            flood.extend(pdu(kind::REQUEST, 1, call, &[0; 9]));
        }
        let (_, lines) = run(TCP, &[(ToServer, &flood)]);
        // The testing flow has room for eight transactions: the others are lost, and counted.
        assert!(lines.iter().any(|line| line.starts_with("tx 7")));
        assert!(!lines.iter().any(|line| line.starts_with("tx 999")));
    }
}
