//! delivery -> event -> run -> change set -> plan -> purges -> tasks -> statuses
//!
//! purgehook keeps CDNs in step with a git repository: a signed webhook becomes
//! purges of exactly what changed, and a status on the commit. The path above
//! is the path through these rooms; a room uses only rooms above it.
//!
//! - [`clock`]: the time and the randomness, handed in so that tests can drive them.
//! - [`cause`]: the errors that stand behind ours.
//! - [`numerals`]: numbers of things in words.
//! - [`sanitize`]: text from elsewhere, fit to be shown.
//! - [`table`]: tables of text for a terminal.
//! - [`redact`]: text without secrets.
//! - [`cache`]: a cache with a bound.
//! - [`http`]: the one client for outgoing requests, with its limits.
//! - [`settings`]: a YAML file as located values, and the reader that collects every problem in it.
//! - [`account`], [`changes`], [`event`], [`run`], [`purge`]: the domain as types.
//! - [`rules`]: globs, templates, URL building: a path in, targets out.
//! - [`plan`]: targets to purges.
//! - [`forge`]: the git hosts that send webhooks and take statuses.
//! - [`cdn`]: the CDNs, their limits, their errors, their signatures.
//! - [`store`]: what is kept, and the transactions that keep it.
//! - [`config`]: rules.yaml to a checked configuration.
//! - [`engine`]: the durable steps that carry a run from delivery to status.
//! - [`server`]: hooks, pages, API, health.
//! - [`sandbox`]: the stand-in for the outside world, for `demo` and the tests.
//! - [`commands`]: one verb each, wiring only.
//! - [`cli`]: the command line.

#![forbid(unsafe_code)]

pub mod account;
pub mod cache;
pub mod cause;
pub mod cdn;
pub mod changes;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod engine;
pub mod event;
pub mod forge;
pub mod http;
pub mod numerals;
pub mod plan;
pub mod purge;
pub mod redact;
pub mod rules;
pub mod run;
pub mod sandbox;
pub mod sanitize;
pub mod server;
pub mod settings;
pub mod store;
pub mod table;
