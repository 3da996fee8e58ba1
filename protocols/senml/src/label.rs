//! The labels of RFC 8428 §4.3 (text in JSON, integers in CBOR, Table 4) and of RFC 9193.

/// A label that this crate knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    BaseName,
    BaseTime,
    BaseUnit,
    BaseValue,
    BaseSum,
    Version,
    BaseContentType,
    BaseContentTypeRequired,
    Name,
    Unit,
    Time,
    Value,
    StringValue,
    BooleanValue,
    DataValue,
    Sum,
    UpdateTime,
    ContentType,
    ContentTypeRequired,
}

impl Label {
    /// The label with this text, if it is a known one.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        Some(match text {
            "n" => Label::Name,
            "u" => Label::Unit,
            "v" => Label::Value,
            "t" => Label::Time,
            "s" => Label::Sum,
            "vs" => Label::StringValue,
            "vb" => Label::BooleanValue,
            "vd" => Label::DataValue,
            "ut" => Label::UpdateTime,
            "ct" => Label::ContentType,
            "ct_" => Label::ContentTypeRequired,
            "bn" => Label::BaseName,
            "bt" => Label::BaseTime,
            "bu" => Label::BaseUnit,
            "bv" => Label::BaseValue,
            "bs" => Label::BaseSum,
            "bver" => Label::Version,
            "bct" => Label::BaseContentType,
            "bct_" => Label::BaseContentTypeRequired,
            _ => return None,
        })
    }

    /// The label with this CBOR number, if it is one of Table 4.
    pub(crate) fn from_number(number: i128) -> Option<Self> {
        Some(match number {
            -6 => Label::BaseSum,
            -5 => Label::BaseValue,
            -4 => Label::BaseUnit,
            -3 => Label::BaseTime,
            -2 => Label::BaseName,
            -1 => Label::Version,
            0 => Label::Name,
            1 => Label::Unit,
            2 => Label::Value,
            3 => Label::StringValue,
            4 => Label::BooleanValue,
            5 => Label::Sum,
            6 => Label::Time,
            7 => Label::UpdateTime,
            8 => Label::DataValue,
            _ => return None,
        })
    }

    /// The text of the label, as JSON has it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Label::BaseName => "bn",
            Label::BaseTime => "bt",
            Label::BaseUnit => "bu",
            Label::BaseValue => "bv",
            Label::BaseSum => "bs",
            Label::Version => "bver",
            Label::BaseContentType => "bct",
            Label::BaseContentTypeRequired => "bct_",
            Label::Name => "n",
            Label::Unit => "u",
            Label::Time => "t",
            Label::Value => "v",
            Label::StringValue => "vs",
            Label::BooleanValue => "vb",
            Label::DataValue => "vd",
            Label::Sum => "s",
            Label::UpdateTime => "ut",
            Label::ContentType => "ct",
            Label::ContentTypeRequired => "ct_",
        }
    }

    /// The number of the label in CBOR. `None`: it has none and is written as text.
    pub(crate) fn number(self) -> Option<i8> {
        Some(match self {
            Label::BaseSum => -6,
            Label::BaseValue => -5,
            Label::BaseUnit => -4,
            Label::BaseTime => -3,
            Label::BaseName => -2,
            Label::Version => -1,
            Label::Name => 0,
            Label::Unit => 1,
            Label::Value => 2,
            Label::StringValue => 3,
            Label::BooleanValue => 4,
            Label::Sum => 5,
            Label::Time => 6,
            Label::UpdateTime => 7,
            Label::DataValue => 8,
            Label::BaseContentType | Label::BaseContentTypeRequired => return None,
            Label::ContentType | Label::ContentTypeRequired => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_4_of_rfc8428_section_6() {
        let table = [
            (-1, "bver"),
            (-2, "bn"),
            (-3, "bt"),
            (-4, "bu"),
            (-5, "bv"),
            (-6, "bs"),
            (0, "n"),
            (1, "u"),
            (2, "v"),
            (3, "vs"),
            (4, "vb"),
            (5, "s"),
            (6, "t"),
            (7, "ut"),
            (8, "vd"),
        ];
        for (number, text) in table {
            let label = Label::from_number(number).expect(text);
            assert_eq!((label.text(), label.number().map(i128::from)), (text, Some(number)));
            assert_eq!(Label::from_text(text), Some(label));
        }
        assert_eq!((Label::from_number(9), Label::from_number(-7)), (None, None));
    }

    #[test]
    fn labels_of_rfc9193_have_text_only() {
        for text in ["ct", "ct_", "bct", "bct_"] {
            let label = Label::from_text(text).expect(text);
            assert_eq!((label.text(), label.number()), (text, None));
        }
    }
}
