//! Resolving (RFC 8428 §4.6): base fields applied, times absolute, every rule of §4 checked that
//! one record does not show by itself.
//!
//! Invariant: a [`Resolved`] has a valid name, a registered unit or none, a value or a sum, and a
//! time in nanoseconds.

use crate::VERSION;
use crate::error::{Error, Kind};
use crate::pack::{ContentType, Record, Value, owned};
use crate::time::{self, Time};
use crate::units::{self, Unit};
use std::borrow::Cow;

/// A record that stands by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved<'a> {
    /// Index of the record in its pack or stream, counted from 0.
    pub index: usize,
    /// Base name and name together.
    pub name: Cow<'a, str>,
    /// The unit. `None`: the sender gave none.
    pub unit: Option<&'static Unit>,
    /// The value, base value added. `None`: only a sum was given.
    pub value: Option<Value<'a>>,
    /// Integral of the value over time in the unit multiplied by seconds, base sum added.
    pub sum: Option<f64>,
    /// When the value was recorded.
    pub time: Time,
    /// Seconds until the next value is due at the latest.
    pub update_time: Option<f64>,
    /// What a data or string value is (RFC 9193).
    pub content_type: Option<ContentType<'a>>,
    /// Version of SenML, [`VERSION`] if the sender named none.
    pub version: u8,
}

/// The base fields in force, as records go by. For packs, [`Pack::resolve`](crate::Pack::resolve)
/// does all; a stream feeds a `Resolver` record by record, with the `now` of each.
#[derive(Debug, Clone, Default)]
pub struct Resolver<'a> {
    index: usize,
    base_name: Cow<'a, str>,
    base_time: Option<f64>,
    base_unit: Option<&'static Unit>,
    base_value: f64,
    base_sum: Option<f64>,
    base_content_type: Option<ContentType<'a>>,
    version: Option<u8>,
}

impl<'a> Resolver<'a> {
    /// A resolver before its first record.
    pub fn new() -> Self {
        Resolver::default()
    }

    /// Applies the base fields to the next record. `None`: it held base fields only.
    ///
    /// # Errors
    /// A rule of RFC 8428 §4 that the record breaks; its base fields may be in force already.
    pub fn resolve(&mut self, record: Record<'a>, now_ns: i64) -> Result<Option<Resolved<'a>>, Error> {
        let index = self.index;
        self.index += 1;
        self.apply(record, index, now_ns).map_err(|error| error.in_record(index))
    }

    fn apply(
        &mut self,
        mut record: Record<'a>,
        index: usize,
        now_ns: i64,
    ) -> Result<Option<Resolved<'a>>, Error> {
        let base_only = record.is_base_only();
        record.check_has_value()?;
        self.take_base_fields(&mut record)?;
        if base_only {
            return Ok(None);
        }
        let time = self.time(&record, now_ns)?;
        let unit = match record.unit {
            Some(unit) => Some(registered(&unit).map_err(|kind| Error::of_member("u", kind))?),
            None => self.base_unit,
        };
        let content_type = self.content_type(record.content_type, record.value.as_ref());
        Ok(Some(Resolved {
            index,
            name: self.name(record.name)?,
            unit,
            value: self.value(record.value)?,
            sum: self.sum(record.sum)?,
            time,
            update_time: period(record.update_time)?,
            content_type,
            version: self.version.unwrap_or(VERSION),
        }))
    }

    fn take_base_fields(&mut self, record: &mut Record<'a>) -> Result<(), Error> {
        if let Some(name) = record.base_name.take() {
            check_characters(&name).map_err(|kind| Error::of_member("bn", kind))?;
            self.base_name = name;
        }
        if let Some(unit) = record.base_unit.take() {
            self.base_unit = Some(registered(&unit).map_err(|kind| Error::of_member("bu", kind))?);
        }
        self.base_time = record.base_time.or(self.base_time);
        self.base_value = record.base_value.unwrap_or(self.base_value);
        self.base_sum = record.base_sum.or(self.base_sum);
        if let Some(content_type) = record.base_content_type.take() {
            self.base_content_type = Some(content_type);
        }
        self.take_version(record.version)
    }

    /// All records of a pack have the same version (§4.4); the first one says which.
    fn take_version(&mut self, version: Option<u8>) -> Result<(), Error> {
        let pack = *self.version.get_or_insert(version.unwrap_or(VERSION));
        match version {
            Some(found) if found != pack => {
                Err(Error::of_member("bver", Kind::VersionChange { found, pack }))
            }
            _ => Ok(()),
        }
    }

    /// The base name was checked when it came, so only the join and the name itself are left.
    fn name(&self, name: Option<Cow<'a, str>>) -> Result<Cow<'a, str>, Error> {
        let member = if name.is_some() { "n" } else { "bn" };
        let name = name.unwrap_or_default();
        check_characters(&name).map_err(|kind| Error::of_member(member, kind))?;
        let joined = match (self.base_name.is_empty(), name.is_empty()) {
            (true, _) => name,
            (false, true) => self.base_name.clone(),
            (false, false) => Cow::Owned([&*self.base_name, &*name].concat()),
        };
        match joined.chars().next() {
            Some(first) if first.is_ascii_alphanumeric() => Ok(joined),
            Some(found) => {
                let member = if self.base_name.is_empty() { "n" } else { "bn" };
                Err(Error::of_member(member, Kind::NameCharacter { found, place: "at the start of" }))
            }
            None => Err(Kind::NoName.into()),
        }
    }

    fn time(&self, record: &Record<'_>, now_ns: i64) -> Result<Time, Error> {
        let member = if record.time.is_some() { "t" } else { "bt" };
        time::resolve(self.base_time, record.time, now_ns).map_err(|kind| Error::of_member(member, kind))
    }

    fn value(&self, value: Option<Value<'a>>) -> Result<Option<Value<'a>>, Error> {
        match value {
            Some(Value::Number(number)) => Ok(Some(Value::Number(finite("v", self.base_value + number)?))),
            other => Ok(other),
        }
    }

    /// A base sum in force gives every record a sum (§4.5.4).
    fn sum(&self, sum: Option<f64>) -> Result<Option<f64>, Error> {
        match (self.base_sum, sum) {
            (None, None) => Ok(None),
            (base, sum) => finite("s", base.unwrap_or(0.0) + sum.unwrap_or(0.0)).map(Some),
        }
    }

    /// RFC 9193: the base one holds for data values only, and one that must be understood goes first.
    fn content_type(
        &self,
        own: Option<ContentType<'a>>,
        value: Option<&Value<'_>>,
    ) -> Option<ContentType<'a>> {
        let base = self.base_content_type.as_ref().filter(|_| matches!(value, Some(Value::Data(_))));
        match (own, base) {
            (Some(own), Some(base)) if base.required && !own.required => Some(base.clone()),
            (own, base) => own.or_else(|| base.cloned()),
        }
    }
}

impl Resolved<'_> {
    /// The same record, owning its strings.
    pub fn into_owned(self) -> Resolved<'static> {
        Resolved {
            index: self.index,
            name: owned(self.name),
            unit: self.unit,
            value: self.value.map(Value::into_owned),
            sum: self.sum,
            time: self.time,
            update_time: self.update_time,
            content_type: self.content_type.map(ContentType::into_owned),
            version: self.version,
        }
    }
}

fn check_characters(name: &str) -> Result<(), Kind> {
    if name.bytes().all(|byte| NAME_BYTES[usize::from(byte)]) {
        return Ok(());
    }
    let is_foreign = |c: &char| u8::try_from(*c).map_or(true, |byte| !NAME_BYTES[usize::from(byte)]);
    Err(Kind::NameCharacter { found: name.chars().find(is_foreign).unwrap_or_default(), place: "in" })
}

/// The bytes that a name may have (§4.5.1).
const NAME_BYTES: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        allowed[byte] = b.is_ascii_alphanumeric() || matches!(b, b'-' | b':' | b'.' | b'/' | b'_');
        byte += 1;
    }
    allowed
};

fn registered(symbol: &str) -> Result<&'static Unit, Kind> {
    units::lookup(symbol).ok_or_else(|| Kind::UnknownUnit { found: symbol.into() })
}

fn finite(member: &'static str, number: f64) -> Result<f64, Error> {
    if number.is_finite() { Ok(number) } else { Err(Error::of_member(member, Kind::NotFinite)) }
}

fn period(seconds: Option<f64>) -> Result<Option<f64>, Error> {
    match seconds {
        Some(seconds) if seconds < 0.0 => Err(Error::of_member("ut", Kind::NegativePeriod)),
        other => Ok(other),
    }
}
