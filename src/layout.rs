//! Layout: which stages of a lane sit together on one worker.
//!
//! `fused` puts all four on one worker, `split` gives each its own, and any cut between can be
//! written: `decode+flow|match+verdict`. An edge inside a worker is a function call, an edge
//! between two is an SPSC ring; stages cannot tell the difference. Knows no other room.

/// The stages in the packet's order.
pub const STAGES: [&str; 4] = ["decode", "flow", "match", "verdict"];

/// Stages per worker of one lane: `cuts[i]` says that a ring follows stage i.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    cuts: [bool; 3],
}

/// Why a layout was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LayoutError(String);

impl std::fmt::Display for LayoutError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "layout `{}` is not one\n [hint] write fused, split, or the stages in order with `+` \
             and `|` between them, e.g. decode+flow|match+verdict",
            self.0
        )
    }
}

impl std::error::Error for LayoutError {}

impl Layout {
    /// All stages on one worker.
    pub const FUSED: Layout = Layout { cuts: [false; 3] };
    /// Each stage on its own worker.
    pub const SPLIT: Layout = Layout { cuts: [true; 3] };

    /// The eight layouts that four stages allow.
    pub fn all() -> impl Iterator<Item = Layout> {
        (0..8u8).map(|bits| Layout {
            cuts: std::array::from_fn(|i| bits >> i & 1 == 1),
        })
    }

    /// Workers of a lane.
    pub fn workers(self) -> usize {
        1 + self.cuts.iter().filter(|cut| **cut).count()
    }

    /// The worker (within the lane) that runs a stage (0 decode to 3 verdict).
    pub fn worker_of(self, stage: usize) -> usize {
        self.cuts.iter().take(stage).filter(|cut| **cut).count()
    }

    /// Whether a worker (within the lane) runs a stage.
    pub fn runs(self, worker: usize, stage: usize) -> bool {
        self.worker_of(stage) == worker
    }

    /// First stage of a worker (within the lane).
    pub fn first_stage(self, worker: usize) -> usize {
        (0..STAGES.len())
            .find(|stage| self.runs(worker, *stage))
            .unwrap_or(0)
    }
}

impl std::str::FromStr for Layout {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Layout, LayoutError> {
        Layout::all()
            .find(|layout| layout.to_string() == text)
            .or(match text {
                "fused" => Some(Layout::FUSED),
                "split" => Some(Layout::SPLIT),
                _ => None,
            })
            .ok_or_else(|| LayoutError(text.to_string()))
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", STAGES[0])?;
        for (cut, stage) in self.cuts.iter().zip(&STAGES[1..]) {
            write!(f, "{}{stage}", if *cut { '|' } else { '+' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_reads_back_as_written() {
        let all: Vec<Layout> = Layout::all().collect();
        assert_eq!(all.len(), 8);
        for layout in all {
            assert_eq!(layout.to_string().parse::<Layout>().unwrap(), layout);
        }
        assert_eq!("split".parse::<Layout>().unwrap().workers(), 4);
        assert_eq!("fused".parse::<Layout>().unwrap().workers(), 1);
    }

    #[test]
    fn a_cut_divides_the_stages() {
        let layout: Layout = "decode+flow|match+verdict".parse().unwrap();
        assert_eq!(
            (0..4)
                .map(|stage| layout.worker_of(stage))
                .collect::<Vec<_>>(),
            [0, 0, 1, 1]
        );
        assert_eq!((layout.first_stage(0), layout.first_stage(1)), (0, 2));
    }

    #[test]
    fn a_wrong_layout_is_explained() {
        let error = "decode|verdict".parse::<Layout>().unwrap_err().to_string();
        assert!(error.contains("decode+flow|match+verdict"), "{error}");
    }
}
