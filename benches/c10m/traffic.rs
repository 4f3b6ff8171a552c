//! Traffic of ten million connections without a table of them: every frame follows from a flow's
//! number and its place in the flow's life. Every other flow is IPv6. One flow in ten thousand
//! carries the planted words, every other one of these across two segments.
//!
//! A *turn* opens one flow, closes the oldest one, and sends the ten data packets of ten flows of
//! ten ages, so that each flow sends each of its packets once in a life of as many turns as flows
//! are resident. Turns are sent in *rounds*: what clients send goes into one port, and what servers
//! answer into the other as soon as the engine has forwarded that. What is not here: rings, threads.

/// Data packets of one flow's life.
pub const DATA: u64 = 10;
/// Bytes of one.
pub const PAYLOAD: usize = 64;
/// Turns of a round.
pub const ROUND: u64 = 32;
/// Rounds until a client acknowledges.
pub const LATE: u64 = 3;
/// Turns between a flow's first data packet and its handshake, and between its last and its end.
const MARGIN: u64 = 16 * ROUND;
/// One flow in so many is planted.
pub const PLANTED: u64 = 10_000;
/// What the rule looks for.
pub const WORDS: &[u8; 18] = b"c10m-planted-words";
/// Place of the whole words in their packet, and of their first byte where they are split.
const WHOLE_AT: usize = 20;
const SPLIT_AT: usize = PAYLOAD - 7;
/// Data packet that carries the words, or their first part.
const PLANTED_DATA: u64 = 3;
/// Longest frame: Ethernet, IPv6, TCP and payload.
pub const FRAME_MAX: usize = 14 + 40 + 20 + PAYLOAD;

const FIN: u8 = 1;
const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// One packet of a flow's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Client: SYN.
    Syn,
    /// Server: SYN and ACK.
    SynAck,
    /// Client: the handshake's last.
    Open,
    /// Client: data packet of that age, 0 to 9.
    Data(u64),
    /// Server: acknowledges it.
    DataAck(u64),
    /// Client: FIN.
    Fin,
    /// Server: FIN, and acknowledges the client's.
    FinAck,
    /// Client: acknowledges the server's.
    Closed,
}

/// What a round sends, beside flows' numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Handshakes alone, of flows 0 to resident.
    Fill,
    /// Open, ten data packets with their acknowledgements, close.
    Whole,
    /// Open and close.
    Short,
}

/// A bijection that looks random.
#[inline(always)]
fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ word >> 31
}

/// The schedule and the frames.
#[derive(Clone, Copy)]
pub struct Traffic {
    /// Flows that stand open.
    pub resident: u64,
    /// First turn of the phase.
    pub first: u64,
    /// Turn at which flows began to send data: earlier ages of flows that stood then are left out.
    pub data_from: u64,
}

impl Traffic {
    /// Nothing has been sent, and data never begins.
    pub fn new(resident: u64) -> Traffic {
        Traffic {
            resident,
            first: 0,
            data_from: 1 << 60,
        }
    }

    /// Turns of age at which a flow sends data packet `age`.
    fn age_of(self, age: u64) -> u64 {
        MARGIN + age * ((self.resident - 2 * MARGIN) / DATA)
    }

    /// Turn at which a flow was opened; those of the fill stood before turn 0.
    fn opened(flow: u64, resident: u64) -> i64 {
        flow as i64 - resident as i64
    }

    /// Data packets that a flow has left out, because it was too old when data began.
    fn left_out(self, flow: u64) -> u64 {
        let age = self.data_from as i64 - Self::opened(flow, self.resident);
        (0..DATA)
            .take_while(|at| (self.age_of(*at) as i64) < age)
            .count() as u64
    }

    /// Data packets of a flow before its data packet of this age.
    fn sent_before(self, flow: u64, age: u64) -> u64 {
        age - self.left_out(flow)
    }

    /// What clients send in round `round`; [`Self::server`] is what servers answer to it. Handshakes
    /// and ends are acknowledged [`LATE`] rounds later, so that the server's answer has passed and
    /// the engine never waits for the generator. After the last round of a phase come as many that
    /// only acknowledge (`more` is false).
    pub fn client(self, life: Life, round: u64, more: bool, mut send: impl FnMut(u64, Step)) {
        for turn in round * ROUND..(round + 1) * ROUND {
            let late = turn.checked_sub(LATE * ROUND);
            if let Some(late) = late.filter(|late| *late >= self.first) {
                send(self.opens(life, late), Step::Open);
                if life != Life::Fill {
                    send(late, Step::Closed);
                }
            }
            if more {
                send(self.opens(life, turn), Step::Syn);
                self.data(life, turn, |flow, age| send(flow, Step::Data(age)));
                if life != Life::Fill {
                    send(turn, Step::Fin);
                }
            }
        }
    }

    /// What servers answer to round `round`.
    pub fn server(self, life: Life, round: u64, mut send: impl FnMut(u64, Step)) {
        for turn in round * ROUND..(round + 1) * ROUND {
            send(self.opens(life, turn), Step::SynAck);
            self.data(life, turn, |flow, age| send(flow, Step::DataAck(age)));
            if life != Life::Fill {
                send(turn, Step::FinAck);
            }
        }
    }

    /// The flow that a turn opens.
    fn opens(self, life: Life, turn: u64) -> u64 {
        match life {
            Life::Fill => turn,
            Life::Whole | Life::Short => self.resident + turn,
        }
    }

    fn data(self, life: Life, turn: u64, mut send: impl FnMut(u64, u64)) {
        if life != Life::Whole {
            return;
        }
        for age in 0..DATA {
            // The flow whose age it is; turn + resident is the youngest one's number.
            send(turn + self.resident - self.age_of(age), age);
        }
    }

    /// Whether this step completes planted words.
    pub fn completes(self, flow: u64, step: Step) -> bool {
        let Step::Data(age) = step else { return false };
        let split = flow / PLANTED % 2 == 1;
        flow.is_multiple_of(PLANTED)
            && age == PLANTED_DATA + u64::from(split)
            && self.left_out(flow) <= PLANTED_DATA
    }

    /// Writes the frame of one step, and gives its length.
    pub fn frame(self, flow: u64, step: Step, frame: &mut [u8; FRAME_MAX]) -> usize {
        let (client_isn, server_isn) = (mix(flow ^ 0xC11E) as u32, mix(flow ^ 0x5E4E) as u32);
        let (here, there) = (client_isn.wrapping_add(1), server_isn.wrapping_add(1));
        let sent = |count: u64| here.wrapping_add((count * PAYLOAD as u64) as u32);
        let end = || sent(DATA - self.left_out(flow));
        let (to_server, flags, seq, ack) = match step {
            Step::Syn => (true, SYN, client_isn, 0),
            Step::SynAck => (false, SYN | ACK, server_isn, here),
            Step::Open => (true, ACK, here, there),
            Step::Data(age) => (true, PSH | ACK, sent(self.sent_before(flow, age)), there),
            Step::DataAck(age) => (false, ACK, there, sent(self.sent_before(flow, age) + 1)),
            Step::Fin => (true, FIN | ACK, end(), there),
            Step::FinAck => (false, FIN | ACK, there, end().wrapping_add(1)),
            Step::Closed => (true, ACK, end().wrapping_add(1), there.wrapping_add(1)),
        };
        let data = match step {
            Step::Data(age) => Some(age),
            _ => None,
        };
        let (ip, protocol_sum) = addresses(flow, to_server, data.map_or(0, |_| PAYLOAD), frame);
        let tcp = ip;
        let ports = [0x4000 | (flow as u16 & 0xFF), 5000];
        let [from, to] = if to_server {
            ports
        } else {
            [ports[1], ports[0]]
        };
        frame[tcp..tcp + 2].copy_from_slice(&from.to_be_bytes());
        frame[tcp + 2..tcp + 4].copy_from_slice(&to.to_be_bytes());
        frame[tcp + 4..tcp + 8].copy_from_slice(&seq.to_be_bytes());
        frame[tcp + 8..tcp + 12].copy_from_slice(&ack.to_be_bytes());
        frame[tcp + 12..tcp + 20].copy_from_slice(&[0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
        let mut length = tcp + 20;
        if let Some(age) = data {
            let payload: &mut [u8; PAYLOAD] = (&mut frame[length..length + PAYLOAD])
                .try_into()
                .expect("a payload's room");
            fill(flow, age, payload);
            length += PAYLOAD;
        }
        let sum = fold(protocol_sum + words(&frame[tcp..length]));
        frame[tcp + 16..tcp + 18].copy_from_slice(&(!sum).to_ne_bytes());
        length
    }
}

/// Ethernet and IP of a flow; gives where TCP begins, and the sum of its pseudo header.
fn addresses(
    flow: u64,
    to_server: bool,
    payload: usize,
    frame: &mut [u8; FRAME_MAX],
) -> (usize, u64) {
    let word = mix(flow);
    let tcp_length = (20 + payload) as u16;
    let rest = u64::from(u16::from_ne_bytes([0, 6])) + u64::from(tcp_length.to_be());
    if flow.is_multiple_of(2) {
        frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
        let ip = &mut frame[14..34];
        ip.copy_from_slice(&[
            0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 0, 172, 16, 0, 0,
        ]);
        ip[2..4].copy_from_slice(&(20 + tcp_length).to_be_bytes());
        // Address and the port's low byte are the flow's number, so no two flows are alike.
        ip[13..16].copy_from_slice(&((flow >> 8) as u32).to_be_bytes()[1..]);
        ip[18..20].copy_from_slice(&(word as u16).to_be_bytes());
        if !to_server {
            let (client, server) = ip[12..].split_at_mut(4);
            client.swap_with_slice(server);
        }
        let sum = fold(words(ip));
        ip[10..12].copy_from_slice(&(!sum).to_ne_bytes());
        (34, words(&frame[26..34]) + rest)
    } else {
        frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xDD]);
        let ip = &mut frame[14..54];
        ip.fill(0);
        ip[0] = 0x60;
        ip[4..6].copy_from_slice(&tcp_length.to_be_bytes());
        ip[6..8].copy_from_slice(&[6, 64]);
        ip[8..12].copy_from_slice(&[0x20, 1, 0x0D, 0xB8]);
        ip[16..24].copy_from_slice(&(flow >> 8).to_be_bytes());
        ip[24..28].copy_from_slice(&[0x20, 1, 0x0D, 0xB8]);
        ip[32..40].copy_from_slice(&word.to_be_bytes());
        if !to_server {
            let (client, server) = ip[8..].split_at_mut(16);
            client.swap_with_slice(server);
        }
        (54, words(&frame[22..54]) + rest)
    }
}

/// The bytes of a data packet: noise, and planted words or a part of them.
fn fill(flow: u64, age: u64, payload: &mut [u8; PAYLOAD]) {
    let seed = mix(flow ^ (age << 56));
    for (index, word) in payload.chunks_exact_mut(8).enumerate() {
        let noise = mix(seed.wrapping_add(index as u64));
        word.copy_from_slice(&noise.to_ne_bytes());
    }
    if !flow.is_multiple_of(PLANTED) {
        return;
    }
    let first = PAYLOAD - SPLIT_AT;
    match (flow / PLANTED % 2 == 1, age) {
        (false, PLANTED_DATA) => payload[WHOLE_AT..WHOLE_AT + WORDS.len()].copy_from_slice(WORDS),
        (true, PLANTED_DATA) => payload[SPLIT_AT..].copy_from_slice(&WORDS[..first]),
        (true, age) if age == PLANTED_DATA + 1 => {
            payload[..WORDS.len() - first].copy_from_slice(&WORDS[first..]);
        }
        _ => (),
    }
}

/// Sum of 16-bit words in the machine's order (RFC 1071 2 B).
fn words(bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(4);
    let mut sum: u64 = chunks
        .by_ref()
        .map(|chunk| u64::from(u32::from_ne_bytes([chunk[0], chunk[1], chunk[2], chunk[3]])))
        .sum();
    if let [high, low] = *chunks.remainder() {
        sum += u64::from(u16::from_ne_bytes([high, low]));
    }
    sum
}

/// Folds carries.
fn fold(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum as u16
}
