//! delivery -> event -> run -> change set -> plan -> purges -> tasks -> statuses
//!
//! purgehook keeps CDNs in step with a git repository: a signed webhook becomes purges of exactly what changed, and
//! a status on the commit. The path above is the path through these modules; a module uses only those above it.
//!
//! - [`clock`]: time and randomness, passed in so that tests can control them.
//! - [`cause`]: the sources of our errors.
//! - [`numerals`]: numbers with their nouns.
//! - [`sanitize`]: foreign text, made safe to show.
//! - [`table`]: tables of text for a terminal.
//! - [`redact`]: removes secrets from text.
//! - [`cache`]: a bounded cache.
//! - [`http`]: the one client for outgoing requests, with its limits.
//! - [`settings`]: a YAML file as located values, and the reader that collects every problem in it.
//! - [`account`], [`changes`], [`event`], [`run`], [`purge`]: the domain as types.
//! - [`rules`]: globs, templates and URL building: turns a path into targets.
//! - [`plan`]: turns targets into purges.
//! - [`forge`]: the git hosts that send webhooks and take statuses.
//! - [`cdn`]: the CDNs with their limits, errors and signatures.
//! - [`store`]: durable state, and the transactions that keep it consistent.
//! - [`config`]: turns rules.yaml into a checked configuration.
//! - [`engine`]: the durable steps that carry a run from delivery to status.
//! - [`server`]: webhooks, pages, API, health.
//! - [`sandbox`]: stand-ins for forges and CDNs, for `demo` and the tests.
//! - [`commands`]: one command each; wiring only.
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
