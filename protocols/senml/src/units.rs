//! Units of measurement: the registry of RFC 8428 §12.1, the secondary units of RFC 8798, and the
//! later entries of both IANA registries; conversion between units of the same quantity.

use std::fmt;

mod table;

use table::UNITS;

/// A registered unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    /// The name as it stands in `u`, case sensitive.
    pub symbol: &'static str,
    /// What it is, in the words of the registry.
    pub description: &'static str,
    /// Which registry it is from.
    pub registry: Registry,
    /// How it follows from a unit nearer to SI. Every secondary unit has one, and so have those
    /// primary ones that are mere multiples of another (`g`, `l`, `1/min`, `Cel`, …).
    pub relation: Option<Relation>,
}

/// One of the two registries of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registry {
    /// "SenML Units" (RFC 8428 §12.1).
    Primary,
    /// "Secondary Units" (RFC 8798 §3).
    Secondary,
}

/// A linear relation: value in `to` = value * `numerator` / `denominator` + `offset`.
///
/// The scale is kept as a fraction so that 100 ms are 0.1 s to the last bit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Relation {
    /// Symbol of the other unit.
    pub to: &'static str,
    /// Scale, above the line.
    pub numerator: f64,
    /// Scale, below the line.
    pub denominator: f64,
    /// Added after scaling.
    pub offset: f64,
}

/// The unit with this symbol, if it is registered.
///
/// ```
/// assert_eq!(senml::units::lookup("km/h").and_then(|unit| unit.relation).map(|r| r.to), Some("m/s"));
/// assert!(senml::units::lookup("furlong").is_none());
/// ```
pub fn lookup(symbol: &str) -> Option<&'static Unit> {
    UNITS.binary_search_by(|unit| unit.symbol.cmp(symbol)).ok().map(|index| &UNITS[index])
}

/// All registered units, ordered by symbol.
pub fn all() -> &'static [Unit] {
    UNITS
}

/// Converts a value between two units. `None`: they do not measure the same quantity.
///
/// ```
/// use senml::units::{convert, lookup};
/// let (kmh, ms) = (lookup("km/h").unwrap(), lookup("m/s").unwrap());
/// assert_eq!(convert(36.0, kmh, ms), Some(10.0));
/// assert_eq!(convert(36.0, kmh, lookup("kg").unwrap()), None);
/// ```
pub fn convert(value: f64, from: &Unit, to: &Unit) -> Option<f64> {
    if from.symbol == to.symbol {
        return Some(value);
    }
    // A value in `from` passes through the units that lead to `to`, or through the common root.
    let mut value = value;
    let mut unit = from;
    while let Some(relation) = unit.relation {
        value = relation.apply(value);
        unit = lookup(relation.to)?;
        if unit.symbol == to.symbol {
            return Some(value);
        }
    }
    to.value_of(value, unit)
}

impl Unit {
    /// The unit nearest to SI that this one is a multiple of; itself if it is none.
    pub fn root(&'static self) -> &'static Unit {
        match self.relation.and_then(|relation| lookup(relation.to)) {
            Some(unit) => unit.root(),
            None => self,
        }
    }

    /// Value in this unit of a value in `root`. The table is at most two relations deep.
    fn value_of(&self, value: f64, root: &Unit) -> Option<f64> {
        if self.symbol == root.symbol {
            return Some(value);
        }
        let relation = self.relation?;
        lookup(relation.to)?.value_of(value, root).map(|value| relation.undo(value))
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol)
    }
}

impl Relation {
    /// The scale as one number.
    pub fn scale(&self) -> f64 {
        self.numerator / self.denominator
    }

    /// Converts to the other unit.
    pub fn apply(&self, value: f64) -> f64 {
        value * self.numerator / self.denominator + self.offset
    }

    /// Converts from the other unit.
    pub fn undo(&self, value: f64) -> f64 {
        (value - self.offset) * self.denominator / self.numerator
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(value: f64, from: &str, to: &str) -> Option<f64> {
        convert(value, lookup(from).expect(from), lookup(to).expect(to))
    }

    #[test]
    fn table_is_sorted_and_every_relation_leads_to_a_root() {
        assert!(UNITS.is_sorted_by(|a, b| a.symbol < b.symbol));
        for unit in UNITS {
            assert_eq!(lookup(unit.symbol), Some(unit));
            assert!(unit.relation.is_some() || unit.registry == Registry::Primary, "{unit}");
            assert_eq!(unit.root().relation, None, "{unit}");
            if let Some(relation) = unit.relation {
                let to = lookup(relation.to).expect(unit.symbol);
                assert_eq!(to.registry, Registry::Primary, "{unit}");
                assert!(relation.scale().is_finite() && relation.scale() != 0.0, "{unit}");
            }
        }
    }

    #[test]
    fn rfc8428_12_1_registry() {
        let symbols = "m kg g s A K cd mol Hz rad sr N Pa J W C V F Ohm S Wb T H Cel lm lx Bq Gy Sv kat \
            m2 m3 l m/s m/s2 m3/s l/s W/m2 cd/m2 bit bit/s lat lon pH dB dBW Bspl count / % %RH %EL EL \
            1/s 1/min beat/min beats S/m";
        for symbol in symbols.split_whitespace() {
            assert_eq!(lookup(symbol).map(|unit| unit.registry), Some(Registry::Primary), "{symbol}");
        }
    }

    #[test]
    fn rfc8798_2_new_primary_units() {
        for symbol in "B VA VAs var vars J/m kg/m3 deg".split_whitespace() {
            assert_eq!(lookup(symbol).map(|unit| unit.registry), Some(Registry::Primary), "{symbol}");
        }
    }

    #[test]
    fn rfc8798_3_secondary_units() {
        let table = [
            ("ms", "s", 1.0 / 1000.0, 0.0),
            ("min", "s", 60.0, 0.0),
            ("h", "s", 3600.0, 0.0),
            ("MHz", "Hz", 1e6, 0.0),
            ("kW", "W", 1000.0, 0.0),
            ("kVA", "VA", 1000.0, 0.0),
            ("kvar", "var", 1000.0, 0.0),
            ("Ah", "C", 3600.0, 0.0),
            ("Wh", "J", 3600.0, 0.0),
            ("kWh", "J", 3.6e6, 0.0),
            ("varh", "vars", 3600.0, 0.0),
            ("kvarh", "vars", 3.6e6, 0.0),
            ("kVAh", "VAs", 3.6e6, 0.0),
            ("Wh/km", "J/m", 3.6, 0.0),
            ("KiB", "B", 1024.0, 0.0),
            ("GB", "B", 1e9, 0.0),
            ("Mbit/s", "bit/s", 1e6, 0.0),
            ("B/s", "bit/s", 8.0, 0.0),
            ("MB/s", "bit/s", 8e6, 0.0),
            ("mV", "V", 1.0 / 1000.0, 0.0),
            ("mA", "A", 1.0 / 1000.0, 0.0),
            ("dBm", "dBW", 1.0, -30.0),
            ("ug/m3", "kg/m3", 1e-9, 0.0),
            ("mm/h", "m/s", 1.0 / 3.6e6, 0.0),
            ("m/h", "m/s", 1.0 / 3600.0, 0.0),
            ("ppm", "/", 1e-6, 0.0),
            ("/100", "/", 1.0 / 100.0, 0.0),
            ("/1000", "/", 1.0 / 1000.0, 0.0),
            ("hPa", "Pa", 100.0, 0.0),
            ("mm", "m", 1.0 / 1000.0, 0.0),
            ("cm", "m", 1.0 / 100.0, 0.0),
            ("km", "m", 1000.0, 0.0),
            ("km/h", "m/s", 1.0 / 3.6, 0.0),
        ];
        for (symbol, to, scale, offset) in table {
            let unit = lookup(symbol).expect(symbol);
            let relation = unit.relation.expect(symbol);
            assert_eq!((unit.registry, relation.to), (Registry::Secondary, to), "{symbol}");
            assert_eq!((relation.scale(), relation.offset), (scale, offset), "{symbol}");
        }
    }

    #[test]
    fn conversions() {
        let table = [
            (100.0, "ms", "s", Some(0.1)),     // the two examples
            (10.0, "dBm", "dBW", Some(-20.0)), // of RFC 8798 section 3
            (-20.0, "dBW", "dBm", Some(10.0)),
            (1.0, "kWh", "Wh", Some(1000.0)),
            (90.0, "km/h", "m/s", Some(25.0)),
            (25.0, "m/s", "km/h", Some(90.0)),
            (1.0, "h", "min", Some(60.0)),
            (1013.25, "hPa", "Pa", Some(101_325.0)),
            (25.0, "Cel", "K", Some(298.15)),
            (0.0, "K", "Cel", Some(-273.15)),
            (60.0, "1/min", "1/s", Some(1.0)),
            (2.0, "l", "m3", Some(0.002)),
            (0.5, "%", "/", Some(0.5)), // RFC 8428 section 12.1, note 2
            (50.0, "/100", "%", Some(0.5)),
            (5.0, "g/l", "mg/l", Some(5000.0)),
            (7.0, "Cel", "Cel", Some(7.0)),
            (1.0, "kWh", "W", None),
            (1.0, "lat", "deg", None),
            (1.0, "EL", "s", None),
        ];
        for (value, from, to, want) in table {
            assert_eq!(converted(value, from, to), want, "{value} {from} in {to}");
        }
    }

    #[test]
    fn symbols_are_case_sensitive() {
        for symbol in ["", "cel", "CEL", "KM", "hpa", " m", "mph"] {
            assert_eq!(lookup(symbol), None, "{symbol:?}");
        }
    }
}
