//! Formats values for the pages.

use jiff::{Timestamp, tz::TimeZone};

use crate::event::GitRef;
use crate::run::{RunState, StatusState};

/// A time for a machine and for a person.
pub(super) struct Moment {
    /// RFC 3339.
    pub(super) machine: String,
    /// `2026-11-22 07:10:05 UTC`
    pub(super) person: String,
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self {
            machine: at.to_string(),
            person: at
                .to_zoned(TimeZone::UTC)
                .strftime("%Y-%m-%d %H:%M:%S UTC")
                .to_string(),
        }
    }
}

/// A state as a word, a sign and a colour, so that colour-blind people can read it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Badge {
    pub(super) word: &'static str,
    pub(super) sign: &'static str,
    /// A class of the style sheet.
    pub(super) tone: &'static str,
}

impl From<RunState> for Badge {
    fn from(state: RunState) -> Self {
        let (sign, tone) = match state {
            RunState::Pending => ("●", "busy"),
            RunState::Succeeded => ("✓", "good"),
            RunState::Failed => ("✕", "bad"),
            RunState::Errored => ("!", "bad"),
            RunState::Superseded => ("↷", "quiet"),
            RunState::Cancelled => ("–", "quiet"),
        };
        let word = state.as_str();
        Self { word, sign, tone }
    }
}

impl From<StatusState> for Badge {
    fn from(state: StatusState) -> Self {
        let (sign, tone) = match state {
            StatusState::Pending => ("●", "busy"),
            StatusState::Success => ("✓", "good"),
            StatusState::Failure => ("✕", "bad"),
            StatusState::Error => ("!", "bad"),
        };
        let word = state.as_str();
        Self { word, sign, tone }
    }
}

/// A duration: `850 ms`, `12 s`, `3 min 5 s`, `2 h 4 min`.
pub(super) fn duration(from: Timestamp, to: Timestamp) -> String {
    let ms = (to.as_millisecond() - from.as_millisecond()).max(0);
    let (s, min, h) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    if s == 0 {
        format!("{ms} ms")
    } else if min == 0 {
        format!("{s} s")
    } else if h == 0 {
        format!("{min} min {} s", s % 60)
    } else {
        format!("{h} h {} min", min % 60)
    }
}

/// The name of a branch or tag; empty if there is none.
pub(super) fn ref_name(git_ref: Option<&GitRef>) -> &str {
    git_ref.map_or("", GitRef::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc() {
        let at: Timestamp = "2026-11-22T08:10:05.250+01:00".parse().unwrap();

        let moment = Moment::from(at);

        assert_eq!(moment.person, "2026-11-22 07:10:05 UTC");
        assert_eq!(moment.machine, "2026-11-22T07:10:05.25Z");
    }

    #[test]
    fn durations_have_at_most_two_parts() {
        let start = Timestamp::UNIX_EPOCH;
        let after = |ms| duration(start, Timestamp::from_millisecond(ms).unwrap());

        assert_eq!(after(850), "850 ms");
        assert_eq!(after(12_999), "12 s");
        assert_eq!(after(185_000), "3 min 5 s");
        assert_eq!(after(7_440_000), "2 h 4 min");
        assert_eq!(after(-5), "0 ms");
    }
}
