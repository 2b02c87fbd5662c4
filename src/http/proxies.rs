//! The proxies that the environment names (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), for all but this machine.

use anyhow::Context;
use reqwest::{NoProxy, Proxy};

/// What never goes through a proxy: there, the names mean another machine.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The process's proxies.
///
/// # Errors
///
/// A variable holds what is no proxy's address: to go out without it may be what must not happen.
pub(super) fn of_environment() -> anyhow::Result<Vec<Proxy>> {
    from(|name| std::env::var(name).ok())
}

fn from(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Vec<Proxy>> {
    // In small letters they win, as with curl; of HTTP_PROXY, a CGI script's caller could set the other.
    let either = |name: &str| {
        let small = name.to_ascii_lowercase();
        let found = [small.as_str(), name].into_iter().find_map(|name| {
            let value = variable(name)?;
            (!value.trim().is_empty()).then(|| (name.to_owned(), value))
        });
        found.filter(|(found, _)| found != "HTTP_PROXY" || variable("REQUEST_METHOD").is_none())
    };
    let mut except = either("NO_PROXY").map_or_else(String::new, |(_, names)| names + ",");
    except.push_str(LOOPBACK);
    let mut proxies = Vec::new();
    for kind in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        let Some((name, address)) = either(kind) else {
            continue;
        };
        let proxy = match kind {
            "HTTP_PROXY" => Proxy::http(address),
            "HTTPS_PROXY" => Proxy::https(address),
            _ => Proxy::all(address),
        };
        // The address may hold a password, and is not repeated.
        let proxy = proxy
            .ok()
            .with_context(|| format!("{name} is no address of an HTTP proxy"))?;
        proxies.push(proxy.no_proxy(NoProxy::from_string(&except)));
    }
    Ok(proxies)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which proxies there are with these variables, as reqwest shows them.
    fn shown(variables: &[(&str, &str)]) -> Vec<String> {
        let proxies = from(|name| {
            let mut found = variables.iter().filter(|(known, _)| *known == name);
            found.next().map(|(_, value)| (*value).to_owned())
        });
        let proxies = proxies.unwrap().into_iter();
        proxies.map(|proxy| format!("{proxy:?}")).collect()
    }

    #[test]
    fn each_variable_is_a_proxy_and_none_is_for_this_machine() {
        let all = shown(&[
            ("HTTP_PROXY", "http://one:1"),
            ("https_proxy", "http://two:2"),
            ("ALL_PROXY", "three:3"),
            ("NO_PROXY", "example.com"),
        ]);

        assert_eq!(all.len(), 3);
        for proxy in all {
            for except in ["localhost", "127.0.0.0", "::1", "example.com"] {
                assert!(proxy.contains(except), "{except}: {proxy}");
            }
        }
    }

    #[test]
    fn what_is_not_set_is_no_proxy() {
        assert!(shown(&[]).is_empty());
        assert!(shown(&[("HTTP_PROXY", ""), ("ALL_PROXY", " ")]).is_empty());
        assert!(shown(&[("HTTP_PROXY", "http://one:1"), ("REQUEST_METHOD", "GET")]).is_empty());
    }

    #[test]
    fn what_is_no_address_is_an_error_that_does_not_repeat_it() {
        let error = from(|name| (name == "ALL_PROXY").then(|| "no address: hunter2".to_owned()));

        let words = format!("{:#}", error.unwrap_err());
        assert!(words.contains("ALL_PROXY"), "{words}");
        assert!(!words.contains("hunter2"), "{words}");
    }
}
