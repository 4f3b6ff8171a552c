//! `sluice check`.
use super::Failure;
/// Arguments.
#[derive(clap::Args)]
pub struct CheckArgs {}
/// Runs.
pub fn run(_args: &CheckArgs) -> Result<u8, Failure> {
    Ok(0)
}
