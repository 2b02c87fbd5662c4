//! Parses the vendors' local times, such as "2018-07-30 18:10:53", whose time zone no document names.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// China Standard Time, which the consoles of Tencent and Huawei show. The API documents specify no zone, so code
/// that relies on it needs another way if it finds nothing.
pub const CHINA: Offset = Offset::constant(8);

/// A time in the API's format, to the second.
pub fn written(moment: Timestamp, zone: Offset) -> String {
    moment
        .to_zoned(TimeZone::fixed(zone))
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// Parses a local time.
pub fn read(text: &str, zone: Offset) -> Option<Timestamp> {
    let local: DateTime = text.trim().parse().ok()?;
    zone.to_timestamp(local).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_chinas_time_and_read_back() {
        let moment: Timestamp = "2018-07-30T10:10:53Z".parse().unwrap();

        assert_eq!(written(moment, CHINA), "2018-07-30 18:10:53");
        assert_eq!(read("2018-07-30 18:10:53", CHINA), Some(moment));
        assert_eq!(read("yesterday", CHINA), None);
    }
}
