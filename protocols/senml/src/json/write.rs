//! Packs to JSON text, members in the order of the examples of RFC 8428 §5.1.

use crate::base64;
use crate::error::{Error, Kind};
use crate::label::Label;
use crate::pack::{ContentType, Pack, Record, Value};
use std::fmt::Write;

/// Encodes a pack, resolved or not, without white space.
///
/// # Errors
/// [`Kind::NotFinite`] where a number of the pack is not finite, which JSON cannot say.
pub fn encode(pack: &Pack<'_>) -> Result<Vec<u8>, Error> {
    let mut out = String::with_capacity(2 + pack.records.len() * 64);
    out.push('[');
    for (index, record) in pack.records.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_record(&mut out, record).map_err(|error| error.in_record(index))?;
    }
    out.push(']');
    Ok(out.into_bytes())
}

fn write_record(out: &mut String, record: &Record<'_>) -> Result<(), Error> {
    let mut object = Object { out, members: 0 };
    object.text(Label::BaseName, record.base_name.as_deref());
    object.number(Label::BaseTime, record.base_time)?;
    object.text(Label::BaseUnit, record.base_unit.as_deref());
    object.number(Label::BaseValue, record.base_value)?;
    object.number(Label::BaseSum, record.base_sum)?;
    object.number(Label::Version, record.version.map(f64::from))?;
    let base_labels = (Label::BaseContentType, Label::BaseContentTypeRequired);
    object.content_type(base_labels, record.base_content_type.as_ref());
    object.text(Label::Name, record.name.as_deref());
    object.text(Label::Unit, record.unit.as_deref());
    object.number(Label::Time, record.time)?;
    object.value(record.value.as_ref())?;
    object.number(Label::Sum, record.sum)?;
    object.number(Label::UpdateTime, record.update_time)?;
    object.content_type((Label::ContentType, Label::ContentTypeRequired), record.content_type.as_ref());
    object.close();
    Ok(())
}

/// An object that is being written.
struct Object<'o> {
    out: &'o mut String,
    members: usize,
}

impl Object<'_> {
    fn label(&mut self, label: Label) {
        self.out.push_str(if self.members == 0 { "{\"" } else { ",\"" });
        self.members += 1;
        self.out.push_str(label.text());
        self.out.push_str("\":");
    }

    fn close(self) {
        self.out.push_str(if self.members == 0 { "{}" } else { "}" });
    }

    fn number(&mut self, label: Label, number: Option<f64>) -> Result<(), Error> {
        let Some(number) = number else { return Ok(()) };
        if !number.is_finite() {
            return Err(Error::of_member(label.text(), Kind::NotFinite));
        }
        self.label(label);
        write_number(self.out, number);
        Ok(())
    }

    fn text(&mut self, label: Label, text: Option<&str>) {
        if let Some(text) = text {
            self.label(label);
            write_string(self.out, text);
        }
    }

    fn content_type(&mut self, (plain, required): (Label, Label), content_type: Option<&ContentType<'_>>) {
        if let Some(content_type) = content_type {
            let label = if content_type.required { required } else { plain };
            self.text(label, Some(&content_type.text));
        }
    }

    fn value(&mut self, value: Option<&Value<'_>>) -> Result<(), Error> {
        match value {
            None => {}
            Some(Value::Number(number)) => self.number(Label::Value, Some(*number))?,
            Some(Value::Text(text)) => self.text(Label::StringValue, Some(text)),
            Some(Value::Bool(bool)) => {
                self.label(Label::BooleanValue);
                self.out.push_str(if *bool { "true" } else { "false" });
            }
            Some(Value::Data(data)) => {
                self.label(Label::DataValue);
                self.out.push('"');
                base64::encode(data, self.out);
                self.out.push('"');
            }
        }
        Ok(())
    }
}

/// The number as JSON writes it.
pub(crate) fn number_text(number: f64) -> String {
    let mut text = String::new();
    write_number(&mut text, number);
    text
}

/// The shortest digits that read back as the same double; an exponent only where zeros would abound.
fn write_number(out: &mut String, number: f64) {
    let magnitude = number.abs();
    let written = if magnitude == 0.0 || (1e-5..1e17).contains(&magnitude) {
        write!(out, "{number}")
    } else {
        write!(out, "{number:e}")
    };
    written.expect("writing to a String does not fail");
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ..' ' => {
                write!(out, "\\u{:04x}", u32::from(character)).expect("writing to a String does not fail")
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_read_back() {
        let table = [
            (0.0, "0"),
            (-0.0, "-0"),
            (23.1, "23.1"),
            (-5.0, "-5"),
            (1_276_020_076.001, "1276020076.001"),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (1e-5, "0.00001"),
            (1.5e-7, "1.5e-7"),
            (1e17, "1e17"),
            (f64::MAX, "1.7976931348623157e308"),
            (5e-324, "5e-324"),
        ];
        for (number, want) in table {
            let text = number_text(number);
            assert_eq!(text, want);
            assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(number.to_bits()));
        }
    }

    #[test]
    fn strings_are_escaped() {
        let mut out = String::new();
        write_string(&mut out, "a\"\\\n\r\t\u{1}\u{7f}é😀");
        assert_eq!(out, "\"a\\\"\\\\\\n\\r\\t\\u0001\u{7f}é😀\"");
    }

    #[test]
    fn refuses_numbers_that_json_cannot_say() {
        let record = Record { value: Some(Value::Number(f64::NAN)), ..Record::default() };
        let error = encode(&Pack { records: vec![Record::default(), record] }).expect_err("NaN");
        assert_eq!(error.to_string(), r#"record 1: "v": not a finite number"#);
    }
}
