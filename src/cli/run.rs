//! `sluice run`.
use super::Failure;
/// Arguments.
#[derive(clap::Args)]
pub struct RunArgs {}
/// Runs.
pub fn run(_args: &RunArgs) -> Result<u8, Failure> {
    Ok(0)
}
