//! The proxies that the environment sets (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), for all addresses
//! except this machine's.

use anyhow::Context;
use reqwest::{NoProxy, Proxy};

/// Never proxied: on the proxy's side, these names would mean another machine.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The proxies of the process.
///
/// # Errors
///
/// A variable is not a proxy's address. Sending requests without the proxy could be forbidden, so this is an error.
pub(super) fn of_environment() -> anyhow::Result<Vec<Proxy>> {
    from(|name| std::env::var(name).ok())
}

fn from(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Vec<Proxy>> {
    // The lower-case variable takes precedence, as with curl. In a CGI process, HTTP_PROXY could be set by the
    // client.
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
        // The error omits the address, which may contain a password.
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

    /// The proxies for these variables, as reqwest shows them.
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
