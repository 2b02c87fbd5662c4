//! The engine over days and many histories: real clients, a real database and
//! the sandbox, on a clock that the tests move, so that a day takes no time.

mod changes;
mod histories;
mod pushes;
mod quota;
mod several_cdns;
mod world;
