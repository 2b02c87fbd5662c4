//! Figures of what was measured: quantiles of times, medians of rounds.

use std::fmt;
use std::time::Duration;

/// The times of something that happened often.
#[derive(Clone, Default)]
pub struct Times(Vec<Duration>);

impl From<Vec<Duration>> for Times {
    fn from(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }
}

impl Times {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that a part of them (0 to 1) did not exceed, in milliseconds; not a number where there are none.
    pub fn ms(&self, part: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let time = self.0.get((last as f64 * part).round() as usize);
        time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

/// The median, the 99th percentile and the longest.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, p99, longest] = [0.5, 0.99, 1.0].map(|part| self.ms(part));
        write!(f, "{median:.1} / {p99:.1} / {longest:.1} ms")
    }
}

/// The median; not a number where there are none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}
