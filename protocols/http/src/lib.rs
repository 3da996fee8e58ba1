//! HTTP server on hyper: limits, problem+json.
