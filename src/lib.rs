//! Forebay, an IoT site gateway: the code map, in reading order.
//!
//! A reading's way: a listener gets bytes ([`listen`]), intake makes readings of them ([`intake`]), the
//! journal makes them durable and only then are they acknowledged ([`journal`]); lanes pull them from the
//! journal and hand them to one actor per sensor ([`engine`]), whose windows ([`window`]) and alerts
//! ([`alert`]) yield outputs; these go to the `results` stream, and each sink ([`sink`]) takes what its
//! routes ([`route`]) want at its own pace ([`outbox`], [`deliver`]).
//!
//! | layer | modules |
//! |---|---|
//! | 0 | `model`, `telemetry` |
//! | 1 | `config`, `access`, `expr`, `http_client`, `tables` |
//! | 2, pure | `intake`, `window`, `pattern`, `detector`, `alert`, `route`, `engine::step` |
//! | 3 | `journal`, `store` |
//! | 4 | `engine`, `outbox`, `downlink`, `feed`, `latest` |
//! | 5 | `listen`, `sink` + `deliver`, `admin`: never see each other |
//! | 6 | `app`, `cli`, `main` |
//!
//! A file sees its own module and lower layers. Pure means: no `async`, IO, clock or metrics; `now` is an
//! argument. `tests/it/house.rs` checks both.

pub mod model;
pub mod telemetry;
pub mod config;
pub mod expr;
pub mod http_client;
pub mod intake;
pub mod journal;
pub mod store;
pub mod engine;
pub mod window;
pub mod alert;
pub mod access;
pub mod route;
pub mod outbox;
pub mod deliver;
pub mod sink;
pub mod listen;
pub mod admin;
pub mod app;
pub mod cli;
