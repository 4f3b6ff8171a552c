//! What the match stages will take of memory, by what it is for, before anything is allocated: flows
//! with detection state, windows on streams, what silent streams keep, parsers. Their sizes are the
//! configuration's; what is in them is state.rs's, window.rs's, recent.rs's and app's.

use std::fmt;

use super::recent::Recent;
use super::window;
use crate::config::Config;

/// Bytes of the parsers' heap that one flow has use for, on average.
const APP_FLOW_MEMORY: usize = 16 << 10;

/// Counts of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchPlan {
    /// Lanes.
    pub lanes: usize,
    /// Flows with detection state.
    pub flows: usize,
    /// Windows on stream directions.
    pub windows: usize,
    /// Flows whose application layer is followed.
    pub app_flows: usize,
    /// Bytes of the parsers' heap.
    pub app_memory: usize,
}

impl MatchPlan {
    /// Divides what the configuration allows among the lanes.
    pub fn new(config: &Config) -> MatchPlan {
        let lanes = usize::from(config.lanes.max(1));
        let flows = (config.inspected_flows_max as usize).div_ceil(lanes).max(1);
        let app_flows = (config.app_flows_max as usize)
            .div_ceil(lanes)
            .clamp(1, flows);
        let windows = config.window_memory as usize / lanes / window::MEMORY;
        MatchPlan {
            lanes,
            flows,
            windows: windows.clamp(1, 2 * flows),
            app_flows,
            app_memory: (config.app_memory as usize)
                .div_ceil(lanes)
                .min(app_flows * APP_FLOW_MEMORY),
        }
    }
}

impl fmt::Display for MatchPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: usize| (bytes * self.lanes) >> 20;
        write!(
            f,
            "stream windows {} MiB ({} at once), last bytes of silent streams {} MiB, parsers {} MiB \
             ({} flows at once)",
            mib(self.windows * window::MEMORY),
            self.windows * self.lanes,
            mib(Recent::size_of(self.windows, self.flows)),
            mib(self.app_memory),
            self.app_flows * self.lanes,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_direction_has_a_window_by_default_and_not_at_ten_million_flows() {
        let plan = MatchPlan::new(&Config::default());
        assert_eq!(plan.windows, 2 * plan.flows);
        let many = Config {
            inspected_flows_max: 10_000_000,
            lanes: 2,
            ..Config::default()
        };
        let plan = MatchPlan::new(&many);
        assert_eq!(plan.flows, 5_000_000);
        assert!(plan.windows < plan.flows && plan.app_flows < plan.flows);
        assert!(
            plan.to_string().contains("of silent streams 1221 MiB"),
            "{plan}"
        );
    }
}
