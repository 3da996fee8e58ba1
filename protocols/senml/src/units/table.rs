//! The table of units, ordered by symbol (bytewise).
//!
//! Sources: RFC 8428 §12.1; RFC 8798 §2 and §3; IANA "SenML" registry for `NTU` (ISO 7027-1) and for
//! `ppb`, `ppt`, `VAh`, `mg/l`, `ug/l`, `g/l`. The relations of primary units to each other are no part
//! of a registry: they follow from the definitions of the units.

use super::{Registry, Relation, Unit};
use std::f64::consts::PI;

#[rustfmt::skip] // one line a unit
pub(super) const UNITS: &[Unit] = &[
    derived("%", "1 (ratio, e.g. value of a switch; not a percentage)", scaled("/", 1.0, 1.0)),
    primary("%EL", "percentage (remaining battery energy level)"),
    primary("%RH", "percentage (relative humidity)"),
    primary("/", "1 (ratio, e.g. value of a switch)"),
    secondary("/100", "percent", scaled("/", 1.0, 100.0)),
    secondary("/1000", "permille", scaled("/", 1.0, 1000.0)),
    derived("1/min", "1 per minute (event rate, \"rpm\")", scaled("1/s", 1.0, 60.0)),
    primary("1/s", "1 per second (event rate)"),
    primary("A", "ampere"),
    secondary("Ah", "ampere-hour", scaled("C", 3600.0, 1.0)),
    primary("B", "byte (information content)"),
    secondary("B/s", "byte per second", scaled("bit/s", 8.0, 1.0)),
    primary("Bq", "becquerel"),
    primary("Bspl", "bel (sound pressure level; logarithmic quantity)"),
    primary("C", "coulomb"),
    derived("Cel", "degrees Celsius", linear("K", 1.0, 1.0, 273.15)),
    primary("EL", "seconds (remaining battery energy level)"),
    primary("F", "farad"),
    secondary("GB", "gigabyte", scaled("B", 1e9, 1.0)),
    primary("Gy", "gray"),
    primary("H", "henry"),
    primary("Hz", "hertz"),
    primary("J", "joule"),
    primary("J/m", "joule per meter (energy per distance)"),
    primary("K", "kelvin"),
    secondary("KiB", "kibibyte", scaled("B", 1024.0, 1.0)),
    secondary("MB/s", "megabyte per second", scaled("bit/s", 8e6, 1.0)),
    secondary("MHz", "megahertz", scaled("Hz", 1e6, 1.0)),
    secondary("Mbit/s", "megabit per second", scaled("bit/s", 1e6, 1.0)),
    primary("N", "newton"),
    primary("NTU", "nephelometric turbidity unit"),
    primary("Ohm", "ohm"),
    primary("Pa", "pascal"),
    primary("S", "siemens"),
    primary("S/m", "siemens per meter (conductivity)"),
    primary("Sv", "sievert"),
    primary("T", "tesla"),
    primary("V", "volt"),
    primary("VA", "volt-ampere (apparent power)"),
    secondary("VAh", "volt-ampere-hour", scaled("VAs", 3600.0, 1.0)),
    primary("VAs", "volt-ampere second (apparent energy)"),
    primary("W", "watt"),
    primary("W/m2", "watt per square meter (irradiance)"),
    primary("Wb", "weber"),
    secondary("Wh", "watt-hour", scaled("J", 3600.0, 1.0)),
    secondary("Wh/km", "watt-hour per kilometer", scaled("J/m", 3.6, 1.0)),
    derived("beat/min", "1 per minute (heart rate in beats per minute)", scaled("1/s", 1.0, 60.0)),
    derived("beats", "1 (cumulative number of heart beats)", scaled("count", 1.0, 1.0)),
    primary("bit", "bit (information content)"),
    primary("bit/s", "bit per second (data rate)"),
    primary("cd", "candela"),
    primary("cd/m2", "candela per square meter (luminance)"),
    secondary("cm", "centimeter", scaled("m", 1.0, 100.0)),
    primary("count", "1 (counter value)"),
    primary("dB", "decibel (logarithmic quantity)"),
    primary("dBW", "decibel relative to 1 W (power level)"),
    secondary("dBm", "decibel (milliwatt)", linear("dBW", 1.0, 1.0, -30.0)),
    derived("deg", "degree (angle)", scaled("rad", PI, 180.0)),
    derived("g", "gram", scaled("kg", 1.0, 1000.0)),
    secondary("g/l", "gram per liter", scaled("kg/m3", 1.0, 1.0)),
    secondary("h", "hour", scaled("s", 3600.0, 1.0)),
    secondary("hPa", "hectopascal", scaled("Pa", 100.0, 1.0)),
    secondary("kVA", "kilovolt-ampere", scaled("VA", 1000.0, 1.0)),
    secondary("kVAh", "kilovolt-ampere-hour", scaled("VAs", 3.6e6, 1.0)),
    secondary("kW", "kilowatt", scaled("W", 1000.0, 1.0)),
    secondary("kWh", "kilowatt-hour", scaled("J", 3.6e6, 1.0)),
    primary("kat", "katal"),
    primary("kg", "kilogram"),
    primary("kg/m3", "kilogram per cubic meter (mass density, mass concentration)"),
    secondary("km", "kilometer", scaled("m", 1000.0, 1.0)),
    secondary("km/h", "kilometer per hour", scaled("m/s", 1.0, 3.6)),
    secondary("kvar", "kilovar", scaled("var", 1000.0, 1.0)),
    secondary("kvarh", "kilovar-hour", scaled("vars", 3.6e6, 1.0)),
    derived("l", "liter (volume)", scaled("m3", 1.0, 1000.0)),
    derived("l/s", "liter per second (flow rate)", scaled("m3/s", 1.0, 1000.0)),
    primary("lat", "degrees latitude"),
    primary("lm", "lumen"),
    primary("lon", "degrees longitude"),
    primary("lx", "lux"),
    primary("m", "meter"),
    secondary("m/h", "meter per hour", scaled("m/s", 1.0, 3600.0)),
    primary("m/s", "meter per second (velocity)"),
    primary("m/s2", "meter per square second (acceleration)"),
    primary("m2", "square meter (area)"),
    primary("m3", "cubic meter (volume)"),
    primary("m3/s", "cubic meter per second (flow rate)"),
    secondary("mA", "milliampere", scaled("A", 1.0, 1000.0)),
    secondary("mV", "millivolt", scaled("V", 1.0, 1000.0)),
    secondary("mg/l", "milligram per liter", scaled("kg/m3", 1.0, 1000.0)),
    secondary("min", "minute", scaled("s", 60.0, 1.0)),
    secondary("mm", "millimeter", scaled("m", 1.0, 1000.0)),
    secondary("mm/h", "millimeter per hour", scaled("m/s", 1.0, 3.6e6)),
    primary("mol", "mole"),
    secondary("ms", "millisecond", scaled("s", 1.0, 1000.0)),
    primary("pH", "pH value (acidity; logarithmic quantity)"),
    secondary("ppb", "parts per billion", scaled("/", 1.0, 1e9)),
    secondary("ppm", "parts per million", scaled("/", 1.0, 1e6)),
    secondary("ppt", "parts per trillion", scaled("/", 1.0, 1e12)),
    primary("rad", "radian"),
    primary("s", "second"),
    primary("sr", "steradian"),
    secondary("ug/l", "microgram per liter", scaled("kg/m3", 1.0, 1e6)),
    secondary("ug/m3", "microgram per cubic meter", scaled("kg/m3", 1.0, 1e9)),
    primary("var", "volt-ampere reactive (reactive power)"),
    secondary("varh", "var-hour", scaled("vars", 3600.0, 1.0)),
    primary("vars", "volt-ampere-reactive second (reactive energy)"),
];

const fn primary(symbol: &'static str, description: &'static str) -> Unit {
    Unit { symbol, description, registry: Registry::Primary, relation: None }
}

const fn derived(symbol: &'static str, description: &'static str, relation: Relation) -> Unit {
    Unit { symbol, description, registry: Registry::Primary, relation: Some(relation) }
}

const fn secondary(symbol: &'static str, description: &'static str, relation: Relation) -> Unit {
    Unit { symbol, description, registry: Registry::Secondary, relation: Some(relation) }
}

const fn scaled(to: &'static str, numerator: f64, denominator: f64) -> Relation {
    linear(to, numerator, denominator, 0.0)
}

const fn linear(to: &'static str, numerator: f64, denominator: f64, offset: f64) -> Relation {
    Relation { to, numerator, denominator, offset }
}
