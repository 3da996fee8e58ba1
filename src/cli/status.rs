//! `forebay status`.
