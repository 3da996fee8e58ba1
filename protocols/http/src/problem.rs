//! Refusals as `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::{Response, Status};

/// Members that RFC 9457 §3.1 defines; extensions may not repeat them.
const STANDARD_MEMBERS: [&str; 5] = ["type", "title", "status", "detail", "instance"];

/// A refusal: what kind, what exactly, where.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    status: Status,
    type_path: Cow<'static, str>,
    title: Cow<'static, str>,
    detail: Option<Cow<'static, str>>,
    instance: Option<String>,
    extensions: Vec<(&'static str, Value)>,
}

impl Problem {
    /// Creates a problem of a kind: `type_path` is a relative reference that stays the same for it,
    /// `title` its name in words.
    pub fn new(
        status: Status,
        type_path: impl Into<Cow<'static, str>>,
        title: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            type_path: type_path.into(),
            title: title.into(),
            detail: None,
            instance: None,
            extensions: Vec::new(),
        }
    }

    /// The 400 of a request that is not well formed.
    pub(crate) fn malformed() -> Self {
        Self::new(Status::BAD_REQUEST, "/problems/malformed", "Bad Request")
    }

    /// Says what is wrong this time.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Names this occurrence by a URI reference.
    #[must_use]
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// Says where in the body: a JSON pointer (RFC 6901).
    #[must_use]
    pub fn pointer(self, pointer: impl Into<String>) -> Self {
        self.with("pointer", pointer.into())
    }

    /// Adds an extension member, `record`, `reason`, `errors`, …; a second one of that name replaces
    /// the first.
    ///
    /// # Panics
    /// In debug builds, when `name` is a standard member; release builds leave it out.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        let standard = STANDARD_MEMBERS.contains(&name);
        debug_assert!(!standard, "problem extension {name} is a standard member");
        self.extensions.retain(|(present, _)| *present != name);
        if !standard {
            self.extensions.push((name, value.into()));
        }
        self
    }

    /// Returns the status it is answered with.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Turns the problem into its answer; the same as `Response::from`.
    pub fn into_response(self) -> Response {
        self.into()
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &self.type_path)?;
        map.serialize_entry("title", &self.title)?;
        map.serialize_entry("status", &self.status.code())?;
        if let Some(detail) = &self.detail {
            map.serialize_entry("detail", detail)?;
        }
        if let Some(instance) = &self.instance {
            map.serialize_entry("instance", instance)?;
        }
        for (name, value) in &self.extensions {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(problem: Problem, expected: Expect) {
        let response = Response::problem(problem);
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        expected.assert_eq(std::str::from_utf8(response.body()).unwrap());
    }

    #[test]
    fn members_stand_in_order_and_absent_ones_are_left_out() {
        let schema = || Problem::new(Status::UNPROCESSABLE_CONTENT, "/problems/schema", "Schema violated");
        check(schema(), expect![[r#"{"type":"/problems/schema","title":"Schema violated","status":422}"#]]);
        check(
            schema()
                .detail("\"x\" is not a number")
                .instance("/dead-letters/7")
                .pointer("/0/v")
                .with("record", 3)
                .with("record", 0)
                .with("errors", vec!["a", "b"]),
            expect![[
                r#"{"type":"/problems/schema","title":"Schema violated","status":422,"detail":"\"x\" is not a number","instance":"/dead-letters/7","pointer":"/0/v","record":0,"errors":["a","b"]}"#
            ]],
        );
    }
}
