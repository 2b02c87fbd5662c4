//! Checks whether two clocks are close enough for signatures that contain the time.

use jiff::SignedDuration;

use super::finding::Finding;
use crate::clock::ClockSkew;

/// The finding for a difference between clocks.
pub fn finding(subject: &str, skew: ClockSkew) -> Finding {
    let ClockSkew { ahead, tolerance } = skew;
    let off = ahead.abs();
    let direction = if ahead.is_negative() {
        "ahead of"
    } else {
        "behind"
    };
    let difference = format!(
        "this machine's clock is {} {direction} its clock; what goes by the time may be off by {}",
        words(off),
        words(tolerance)
    );
    if off > tolerance {
        Finding::wrong(
            subject,
            difference,
            "have the clock set by NTP, e.g. `timedatectl set-ntp true`",
        )
    } else if off > tolerance / 2 {
        Finding::note(subject, difference)
    } else {
        Finding::ok(subject, "its clock and this machine's agree")
    }
}

/// "40 s", "10 min".
fn words(duration: SignedDuration) -> String {
    match duration.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds => format!("{} min", (seconds + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::online::finding::Verdict;

    #[test]
    fn a_clock_may_be_off_by_as_much_as_signatures_may() {
        let of = |seconds| {
            let skew = ClockSkew {
                ahead: SignedDuration::from_secs(seconds),
                tolerance: SignedDuration::from_mins(5),
            };
            finding("tencent", skew)
        };

        assert_eq!(of(100).verdict, Verdict::Ok);
        assert_eq!(of(-200).verdict, Verdict::Note);
        assert_eq!(of(300).verdict, Verdict::Note);
        let behind = of(601);
        assert_eq!(behind.verdict, Verdict::Wrong);
        assert_eq!(
            behind.message,
            "this machine's clock is 10 min behind its clock; what goes by the time may be off by 5 min"
        );
        assert!(of(-301).message.contains("5 min ahead of"));
    }
}
