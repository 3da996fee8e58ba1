//! Packs and records as they travel: unresolved, each record with only the members it was given.
//!
//! Strings borrow from the decoded bytes wherever those hold them without escapes.

use crate::error::{Error, Kind};
use crate::resolve::{Resolved, Resolver};
use crate::time;
use std::borrow::Cow;

/// A SenML pack (RFC 8428 §4): records in the order they came.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pack<'a> {
    /// The records.
    pub records: Vec<Record<'a>>,
}

/// A record as given (RFC 8428 §4.1, §4.2). `None`: the member is absent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record<'a> {
    /// `bn`, put before the names from here on.
    pub base_name: Option<Cow<'a, str>>,
    /// `bt` in seconds, added to the times from here on.
    pub base_time: Option<f64>,
    /// `bu`, unit of the records from here on that have none.
    pub base_unit: Option<Cow<'a, str>>,
    /// `bv`, added to the numeric values from here on.
    pub base_value: Option<f64>,
    /// `bs`, added to the sums from here on.
    pub base_sum: Option<f64>,
    /// `bver`, 1 to 10.
    pub version: Option<u8>,
    /// `bct` or `bct_` (RFC 9193), content type of the data values from here on that have none.
    pub base_content_type: Option<ContentType<'a>>,
    /// `n`
    pub name: Option<Cow<'a, str>>,
    /// `u`
    pub unit: Option<Cow<'a, str>>,
    /// `t` in seconds.
    pub time: Option<f64>,
    /// `v`, `vs`, `vb` or `vd`.
    pub value: Option<Value<'a>>,
    /// `s`, in the unit multiplied by seconds.
    pub sum: Option<f64>,
    /// `ut` in seconds: the next value comes no later than this.
    pub update_time: Option<f64>,
    /// `ct` or `ct_` (RFC 9193), what the data value is.
    pub content_type: Option<ContentType<'a>>,
}

/// The value of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `v`, finite.
    Number(f64),
    /// `vs`
    Text(Cow<'a, str>),
    /// `vb`
    Bool(bool),
    /// `vd`: base64url in JSON, a byte string in CBOR.
    Data(Cow<'a, [u8]>),
}

/// A content type (RFC 9193): the number of a CoAP Content-Format such as `60`, or a media type
/// with an optional content coding such as `text/csv@gzip`. Taken as it is, not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType<'a> {
    /// The text.
    pub text: Cow<'a, str>,
    /// Whether it came with the label that ends in `_`; such a one goes before one without.
    pub required: bool,
}

impl<'a> Pack<'a> {
    /// Applies the base fields to every record and gives the records in chronological order
    /// (RFC 8428 §4.6). Times that count from "now" count from `now_ns`, nanoseconds since the epoch.
    ///
    /// # Errors
    /// The first record that breaks a rule of §4: names, units, times, versions, sums that overflow.
    pub fn resolve(self, now_ns: i64) -> Result<Vec<Resolved<'a>>, Error> {
        let mut resolver = Resolver::new();
        let mut resolved = Vec::with_capacity(self.records.len());
        for record in self.records {
            resolved.extend(resolver.resolve(record, now_ns)?);
        }
        if !resolved.is_sorted_by_key(|record| record.time.ns) {
            resolved.sort_by_key(|record| record.time.ns);
        }
        Ok(resolved)
    }

    /// The pack that holds these records in resolved form (RFC 8428 §4.6), ready to encode.
    /// Times come out in seconds, to the microsecond.
    ///
    /// # Errors
    /// [`Kind::TimeRange`] where a time is before 2^28 s (1978-07-04), which SenML takes as relative.
    pub fn from_resolved(resolved: Vec<Resolved<'a>>) -> Result<Self, Error> {
        let records = resolved.into_iter().enumerate().map(|(index, record)| {
            Record::from_resolved(record).map_err(|kind| Error::of_member("t", kind).in_record(index))
        });
        Ok(Pack { records: records.collect::<Result<_, _>>()? })
    }

    /// The same pack, owning its strings.
    pub fn into_owned(self) -> Pack<'static> {
        Pack { records: self.records.into_iter().map(Record::into_owned).collect() }
    }
}

impl<'a> Record<'a> {
    fn from_resolved(resolved: Resolved<'a>) -> Result<Self, Kind> {
        Ok(Record {
            version: (resolved.version != crate::VERSION).then_some(resolved.version),
            name: Some(resolved.name),
            unit: resolved.unit.map(|unit| Cow::Borrowed(unit.symbol)),
            time: Some(time::absolute_seconds(resolved.time.ns).ok_or(Kind::TimeRange)?),
            value: resolved.value,
            sum: resolved.sum,
            update_time: resolved.update_time,
            content_type: resolved.content_type,
            ..Record::default()
        })
    }

    /// Whether the record holds base fields only. Such a record measures nothing by itself, as in
    /// the first example of RFC 8428 §5.1.7.
    pub fn is_base_only(&self) -> bool {
        !self.has_regular_field() && self.has_base_field()
    }

    fn has_regular_field(&self) -> bool {
        self.name.is_some()
            || self.unit.is_some()
            || self.time.is_some()
            || self.value.is_some()
            || self.sum.is_some()
            || self.update_time.is_some()
            || self.content_type.is_some()
    }

    fn has_base_field(&self) -> bool {
        self.base_name.is_some()
            || self.base_time.is_some()
            || self.base_unit.is_some()
            || self.base_value.is_some()
            || self.base_sum.is_some()
            || self.version.is_some()
            || self.base_content_type.is_some()
    }

    /// RFC 8428 §4.2: a value, or a sum, or base fields only.
    pub(crate) fn check_has_value(&self) -> Result<(), Kind> {
        let complete = self.value.is_some() || self.sum.is_some() || self.is_base_only();
        if complete { Ok(()) } else { Err(Kind::NoValue) }
    }

    /// The same record, owning its strings.
    pub fn into_owned(self) -> Record<'static> {
        Record {
            base_name: self.base_name.map(owned),
            base_time: self.base_time,
            base_unit: self.base_unit.map(owned),
            base_value: self.base_value,
            base_sum: self.base_sum,
            version: self.version,
            base_content_type: self.base_content_type.map(ContentType::into_owned),
            name: self.name.map(owned),
            unit: self.unit.map(owned),
            time: self.time,
            value: self.value.map(Value::into_owned),
            sum: self.sum,
            update_time: self.update_time,
            content_type: self.content_type.map(ContentType::into_owned),
        }
    }
}

impl Value<'_> {
    /// The same value, owning its bytes.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Number(number) => Value::Number(number),
            Value::Text(text) => Value::Text(owned(text)),
            Value::Bool(bool) => Value::Bool(bool),
            Value::Data(data) => Value::Data(Cow::Owned(data.into_owned())),
        }
    }
}

impl ContentType<'_> {
    /// The same content type, owning its text.
    pub fn into_owned(self) -> ContentType<'static> {
        ContentType { text: owned(self.text), required: self.required }
    }
}

pub(crate) fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}
