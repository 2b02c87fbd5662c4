//! Scripted faults: which calls fail, how, and when.

use std::time::Duration;

use super::service::Service;

/// How a call fails.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The service's own answer to too many requests.
    Throttle,
    /// An API error with this code, in the service's format. For GitHub and GitLab the code is the HTTP status and
    /// a message: `422 Validation Failed`.
    Code(String),
    /// A bare HTTP status from a proxy in front of the service, optionally with `Retry-After` in seconds.
    Http(u16, Option<u32>),
    /// The service answers that the daily quota is used up.
    OutOfQuota,
    /// Never answers; the work is not done.
    Hang,
    /// The connection ends without an answer; the work is not done.
    DropBefore,
    /// The connection ends without an answer; the work is done.
    DropAfter,
    /// The answer breaks off in the middle; the work is done.
    Truncate,
    /// The answer is 200 but not valid JSON; the work is done.
    WrongJson,
    /// The answer comes this much later, by the sandbox's clock; the work is done then.
    Slow(Duration),
}

/// How often a rule applies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// The next this many matching calls.
    Times(u32),
    /// Each matching call, with this probability in `0.0..=1.0`.
    Chance(f64),
    /// Each matching call.
    Always,
}

#[derive(Clone, Debug)]
struct Rule {
    service: Service,
    action: String,
    when: When,
    fault: Fault,
}

/// The rules, of which the first matching one counts, and the randomness for those with a probability.
pub(super) struct Script {
    rules: Vec<Rule>,
    random: fastrand::Rng,
}

impl Script {
    pub fn new() -> Self {
        Self {
            rules: Vec::new(),
            random: fastrand::Rng::with_seed(1),
        }
    }

    pub fn add(&mut self, service: Service, action: &str, when: When, fault: Fault) {
        self.rules.push(Rule {
            service,
            action: action.to_owned(),
            when,
            fault,
        });
    }

    pub fn clear(&mut self) {
        self.rules.clear();
    }

    pub fn seed(&mut self, seed: u64) {
        self.random = fastrand::Rng::with_seed(seed);
    }

    /// How many calls the rules with a number still wait for.
    pub fn pending(&self) -> u32 {
        self.rules
            .iter()
            .map(|rule| match rule.when {
                When::Times(left) => left,
                When::Chance(_) | When::Always => 0,
            })
            .sum()
    }

    /// The fault of this call, if a rule matches. Counts the call.
    pub fn take(&mut self, service: Service, action: &str) -> Option<Fault> {
        let Self { rules, random } = self;
        for rule in rules.iter_mut() {
            let matches = rule.service == service && (rule.action == "*" || rule.action == action);
            if !matches {
                continue;
            }
            let applies = match &mut rule.when {
                When::Times(0) => false,
                When::Times(left) => {
                    *left -= 1;
                    true
                }
                When::Chance(chance) => random.f64() < *chance,
                When::Always => true,
            };
            if applies {
                return Some(rule.fault.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_with_a_count_applies_that_often_and_in_order() {
        let mut script = Script::new();
        script.add(Service::GITHUB, "*", When::Times(1), Fault::Hang);
        script.add(
            Service::GITHUB,
            "GET compare",
            When::Times(2),
            Fault::Throttle,
        );

        assert_eq!(script.take(Service::GITLAB, "GET compare"), None);
        assert_eq!(
            script.take(Service::GITHUB, "GET compare"),
            Some(Fault::Hang)
        );
        assert_eq!(script.pending(), 2);
        assert_eq!(script.take(Service::GITHUB, "POST statuses"), None);
        assert_eq!(
            script.take(Service::GITHUB, "GET compare"),
            Some(Fault::Throttle)
        );
        assert_eq!(
            script.take(Service::GITHUB, "GET compare"),
            Some(Fault::Throttle)
        );
        assert_eq!(script.take(Service::GITHUB, "GET compare"), None);
    }

    #[test]
    fn the_same_seed_makes_the_same_trouble() {
        let run = || {
            let mut script = Script::new();
            script.seed(7);
            script.add(Service::GITHUB, "*", When::Chance(0.5), Fault::Throttle);
            (0..20)
                .map(|_| script.take(Service::GITHUB, "x").is_some())
                .collect::<Vec<_>>()
        };

        assert_eq!(run(), run());
        assert!(run().contains(&true) && run().contains(&false));
    }
}
