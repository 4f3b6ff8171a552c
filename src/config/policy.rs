//! Exception policies: what happens to packets and flows where the engine cannot decide by
//! inspection. One policy for each area, a master switch for all of them, and what holds where
//! nobody said anything. Meanings are those of Suricata's guide ("Exception Policies").
//!
//! What is not here: the doing (flow stage, match stage).

use super::{Config, Mode, SettingError, error};

/// What to do where the engine cannot decide by inspection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// Go on as if nothing had happened.
    #[default]
    Ignore,
    /// Forward this packet without inspection.
    PassPacket,
    /// Forward the flow's packets without inspection, still tracking them.
    PassFlow,
    /// No more inspection of the flow; table hit and forward only.
    Bypass,
    /// Drop this packet.
    DropPacket,
    /// Drop this packet and the rest of its flow.
    DropFlow,
    /// Drop the flow and tell the sender.
    Reject,
    /// Drop the flow and tell both ends.
    RejectBoth,
}

impl Policy {
    /// Whether the packet at hand goes on.
    pub fn forwards(self) -> bool {
        use Policy::*;
        matches!(self, Ignore | PassPacket | PassFlow | Bypass)
    }

    /// The policy for a place that has no flow to act on.
    fn of_packet(self) -> Policy {
        match self {
            Policy::DropFlow => Policy::DropPacket,
            Policy::PassFlow => Policy::PassPacket,
            Policy::Bypass => Policy::Ignore,
            other => other,
        }
    }
}

/// A policy as it was written: `auto` is resolved when it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// `auto`: drop in the path, ignore beside it.
    Auto,
    /// This one.
    Is(Policy),
}

/// Where the engine may find itself unable to decide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Area {
    /// A TCP packet whose handshake was not seen (`stream.midstream-policy`).
    Midstream,
    /// No state left for another TCP connection (`stream.memcap-policy`).
    ConnectionMemory,
    /// No memory left for stream bytes, or a flow's share used up
    /// (`stream.reassembly.memcap-policy`).
    StreamMemory,
    /// The flow table is full (`flow.memcap-policy`).
    FlowTable,
    /// No memory left for fragments (`defrag.memcap-policy`).
    Fragments,
    /// An application layer that cannot be parsed (`app-layer.error-policy`).
    AppError,
    /// Inspection of a packet reached its budget (`detect.budget-policy`, ours).
    MatchBudget,
    /// A stream went past its depth (`stream.reassembly.depth-policy`, ours).
    StreamDepth,
}

/// Areas by the key that sets their policy.
const KEYS: [(&str, Area); AREAS] = [
    ("stream.midstream-policy", Area::Midstream),
    ("stream.memcap-policy", Area::ConnectionMemory),
    ("stream.reassembly.memcap-policy", Area::StreamMemory),
    ("flow.memcap-policy", Area::FlowTable),
    ("defrag.memcap-policy", Area::Fragments),
    ("app-layer.error-policy", Area::AppError),
    ("detect.budget-policy", Area::MatchBudget),
    ("stream.reassembly.depth-policy", Area::StreamDepth),
];
const AREAS: usize = 8;

/// All policies that were given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Policies {
    /// `exception-policy`.
    pub master: Option<Choice>,
    areas: [Option<Choice>; AREAS],
}

impl Policies {
    /// Gives one area its policy.
    pub fn set(&mut self, area: Area, choice: Choice) {
        if let Some(place) = self.areas.get_mut(area as usize) {
            *place = Some(choice);
        }
    }

    fn of(&self, area: Area) -> Option<Choice> {
        self.areas.get(area as usize).copied().flatten()
    }
}

impl Config {
    /// The policy in force for an area.
    ///
    /// What was written for the area stands first, then the master switch, then our defaults: in
    /// the path, packets that exceed a limit are dropped and all else goes on. A spent match budget
    /// and the depth of streams have no part in the master switch, which would then cut every long
    /// download.
    pub fn policy(&self, area: Area) -> Policy {
        let given = self.policies.of(area);
        let inherits = !matches!(area, Area::MatchBudget | Area::StreamDepth);
        let master = self.policies.master.filter(|_| inherits);
        let chosen = match (given, master) {
            (Some(Choice::Is(policy)), _) => policy,
            (Some(Choice::Auto), _) | (None, Some(Choice::Auto)) => self.automatic(area),
            (None, Some(Choice::Is(policy))) if policy.forwards() || self.is_inline() => policy,
            (None, Some(Choice::Is(_))) => Policy::Ignore,
            (None, None) => self.unsaid(area),
        };
        match area {
            Area::FlowTable | Area::Fragments => chosen.of_packet(),
            _ => chosen,
        }
    }

    fn automatic(&self, area: Area) -> Policy {
        let picks_up = area == Area::Midstream && self.midstream;
        if self.is_inline() && !picks_up {
            Policy::DropFlow
        } else {
            Policy::Ignore
        }
    }

    fn unsaid(&self, area: Area) -> Policy {
        use Area::*;
        match area {
            ConnectionMemory | StreamMemory | FlowTable | Fragments if self.is_inline() => {
                Policy::DropPacket
            }
            _ => Policy::Ignore,
        }
    }

    fn is_inline(&self) -> bool {
        self.mode == Mode::Inline
    }

    /// Takes a policy by its key; false if the key is none.
    pub(super) fn set_policy(&mut self, key: &str, value: &str) -> Result<bool, SettingError> {
        if key == "exception-policy" {
            self.policies.master = Some(choice(key, value)?);
            return Ok(true);
        }
        if key == "stream.bypass" {
            let bypasses = super::boolean(key, value)?;
            let policy = if bypasses {
                Policy::Bypass
            } else {
                Policy::Ignore
            };
            self.policies.set(Area::StreamDepth, Choice::Is(policy));
            return Ok(true);
        }
        let Some((_, area)) = KEYS.iter().find(|(name, _)| *name == key) else {
            return Ok(false);
        };
        self.policies.set(*area, choice(key, value)?);
        Ok(true)
    }
}

fn choice(key: &str, value: &str) -> Result<Choice, SettingError> {
    Ok(Choice::Is(match value {
        "auto" => return Ok(Choice::Auto),
        "ignore" | "none" => Policy::Ignore,
        "pass-packet" => Policy::PassPacket,
        "pass-flow" => Policy::PassFlow,
        "bypass" => Policy::Bypass,
        "drop-packet" => Policy::DropPacket,
        "drop-flow" => Policy::DropFlow,
        "reject" => Policy::Reject,
        "rejectboth" | "reject-both" => Policy::RejectBoth,
        _ => {
            return Err(error(
                format!("{key}: `{value}` is no policy"),
                "one of auto, ignore, pass-packet, pass-flow, bypass, drop-packet, drop-flow, \
                 reject, rejectboth",
            ));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(settings: &[(&str, &str)]) -> Config {
        let mut config = Config::default();
        for (key, value) in settings {
            config.set(key, value).unwrap();
        }
        config
    }

    #[test]
    #[allow(clippy::type_complexity)]
    fn what_is_nearest_decides() {
        let inline = ("inline", "true");
        let auto = ("exception-policy", "auto");
        let cases: &[(&[(&str, &str)], Area, Policy)] = &[
            (&[], Area::FlowTable, Policy::Ignore),
            (&[inline], Area::FlowTable, Policy::DropPacket),
            (&[inline], Area::Midstream, Policy::Ignore),
            (&[inline, auto], Area::Midstream, Policy::DropFlow),
            (&[auto, inline], Area::Midstream, Policy::DropFlow),
            (&[auto], Area::Midstream, Policy::Ignore),
            (
                &[inline, auto, ("stream.midstream", "yes")],
                Area::Midstream,
                Policy::Ignore,
            ),
            (&[inline, auto], Area::Fragments, Policy::DropPacket),
            (&[inline, auto], Area::StreamDepth, Policy::Ignore),
            (
                &[inline, ("stream.bypass", "true")],
                Area::StreamDepth,
                Policy::Bypass,
            ),
            (
                &[("exception-policy", "drop-flow")],
                Area::AppError,
                Policy::Ignore,
            ),
            (
                &[("flow.memcap-policy", "bypass")],
                Area::FlowTable,
                Policy::Ignore,
            ),
            (
                &[inline, auto, ("app-layer.error-policy", "pass-flow")],
                Area::AppError,
                Policy::PassFlow,
            ),
            (
                &[inline, auto, ("stream.memcap-policy", "rejectboth")],
                Area::ConnectionMemory,
                Policy::RejectBoth,
            ),
        ];
        for (settings, area, expected) in cases {
            let config = with(settings);
            assert_eq!(config.policy(*area), *expected, "{settings:?} {area:?}");
        }
    }

    #[test]
    fn a_word_that_is_no_policy_is_refused() {
        let error = Config::default()
            .set("stream.midstream-policy", "explode")
            .unwrap_err();
        assert!(error.to_string().contains("drop-flow"), "{error}");
    }
}
