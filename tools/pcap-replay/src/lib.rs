//! pcap-replay: the far end of every Sluice test. Makes traffic (`generate`), plays captures into
//! ports and watches what comes out (`replay`), compares the results of two runs (`diff`).
//!
//! The generator itself lives in sluice (`port::generator`), where the engine's own tests reach it;
//! here is the command line over it. Exit codes are Sluice's: 0 all well, 1 findings (frames lost
//! or changed, results that differ), 2 usage, 5 device or permission, 6 input file.
//!
//! The repository's demonstration capture was made by
//!
//! ```text
//! pcap-replay generate --demo tests/data/demo.pcap
//! ```
//!
//! which gives the same bytes everywhere; a test holds it to that.

pub mod diff;
pub mod generate;
pub mod latency;
pub mod replay;
pub mod track;

/// Why a command failed, and the exit code that says it.
#[derive(Debug)]
pub struct Failure {
    /// Exit code of the process.
    pub code: u8,
    /// What is wrong and, behind ` [hint] `, what to do.
    pub message: String,
}

impl Failure {
    /// A wrong or unreadable input file.
    pub fn input(message: impl ToString) -> Failure {
        Failure {
            code: 6,
            message: message.to_string(),
        }
    }

    /// A wrong argument.
    pub fn usage(message: impl ToString) -> Failure {
        Failure {
            code: 2,
            message: message.to_string(),
        }
    }

    /// A port that cannot be opened.
    pub fn device(message: impl ToString) -> Failure {
        Failure {
            code: 5,
            message: message.to_string(),
        }
    }
}
