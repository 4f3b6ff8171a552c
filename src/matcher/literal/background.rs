//! How common a piece of bytes is in ordinary traffic: decides which bytes of a literal are its
//! windows, worth up to 2.5x on text (MATCHER.md 5). A wrong answer costs time, never a match.
//!
//! A table of logarithms, four bits for each hash of three or four folded bytes, and a byte for each
//! value of a byte. The one that is built in was counted over the captures of `shared/` whose name begins with an even hex digit
//! (benches/prefilter.rs measures on the others).

/// Cells of the table, as a power of two.
const CELLS_BITS: u32 = 17;
/// Largest logarithm.
const LOG_MAX: u8 = 15;

/// Bytes of the cells.
const CELLS_BYTES: usize = 1 << (CELLS_BITS - 1);

static BUILT_IN: &[u8; CELLS_BYTES + 256] = include_bytes!("background.bin");

/// Logarithms of counts: of pieces of three and four bytes (`CELLS_BYTES`), then of single bytes,
/// as 16 times the binary logarithm of one more than their share in 65,536.
#[derive(Clone, Debug)]
pub struct Background {
    cells: Box<[u8]>,
}

impl Default for Background {
    fn default() -> Self {
        Background {
            cells: BUILT_IN.as_slice().into(),
        }
    }
}

impl Background {
    /// Counts over samples of traffic.
    pub fn train<'a>(samples: impl Iterator<Item = &'a [u8]>) -> Background {
        let mut counts = vec![0u32; 1 << CELLS_BITS];
        let (mut total, mut bytes) = (0u64, [0u64; 256]);
        for sample in samples {
            let folded = sample.to_ascii_lowercase();
            for byte in &folded {
                bytes[usize::from(*byte)] += 1;
            }
            for piece in folded.windows(4) {
                total += 1;
                for size in [3, 4] {
                    counts[cell(&piece[..size])] += 1;
                }
            }
        }
        let floor = (total >> CELLS_BITS).max(1);
        let log = |count: u32| {
            (u64::from(count) * 4 / floor)
                .checked_ilog2()
                .map_or(0, |l| l + 1)
        };
        let pairs = counts.chunks(2).map(|pair| {
            let log = |count| (log(count) as u8).min(LOG_MAX);
            log(pair[0]) | log(pair[1]) << 4
        });
        let all = bytes.iter().sum::<u64>().max(1);
        let singles = bytes.iter().map(|count| {
            let share = *count as f64 * 65_536.0 / all as f64;
            (16.0 * (share + 1.0).log2()).min(255.0) as u8
        });
        Background {
            cells: pairs.chain(singles).collect(),
        }
    }

    /// The table, as `background.bin` holds it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.cells
    }

    /// Share of a folded byte in traffic, 0 to 1.
    pub fn share(&self, byte: u8) -> f64 {
        let log = self
            .cells
            .get(CELLS_BYTES + usize::from(byte))
            .copied()
            .unwrap_or(0);
        ((f64::from(log) / 16.0).exp2() - 1.0) / 65_536.0
    }

    fn log(&self, piece: &[u8]) -> u32 {
        let cell = cell(piece);
        let pair = self.cells.get(cell >> 1).copied().unwrap_or(0);
        u32::from(pair >> (4 * (cell & 1)) & 15)
    }

    /// How common folded bytes are, as twice a logarithm; three bytes or more.
    pub fn cost(&self, bytes: &[u8]) -> u32 {
        if bytes.len() < 4 {
            return 2 * self.log(bytes);
        }
        // Not more common than the rarest piece, and rarer still the longer.
        let rarest = bytes.windows(4).map(|piece| self.log(piece)).min();
        let sum: u32 = bytes.windows(4).map(|piece| self.log(piece)).sum();
        let mean = sum / (bytes.len() as u32 - 3);
        rarest.unwrap_or(0) + mean
    }
}

fn cell(piece: &[u8]) -> usize {
    let mut word = [0u8; 8];
    let size = piece.len().min(4);
    word[..size].copy_from_slice(&piece[..size]);
    word[7] = size as u8;
    (u64::from_le_bytes(word).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - CELLS_BITS)) as usize
}
