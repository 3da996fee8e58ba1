//! The scanner against a table and against serde_json.

use super::*;
use proptest::prelude::*;

fn scanner(text: &str) -> Scanner<'_> {
    Scanner::new(text.as_bytes(), 0, &Limits { depth: 100, ..Limits::default() }).expect("UTF-8")
}

/// Whether the text is one JSON value and nothing else, by passing over it.
fn accepts(text: &str) -> bool {
    let mut scanner = scanner(text);
    scanner.skip().is_ok() && scanner.end().is_ok()
}

#[test]
fn accepts_what_json_is() {
    for text in [
        "0",
        "-0",
        "1.5e+3",
        "1E-2",
        "\"\"",
        " [ ] ",
        "{}",
        "[[],{}]",
        "[1,[2,{\"a\":[]}],3]",
        "null",
        "{\"a\":{\"b\":null},\"c\":\"\\u00e9\\ud83d\\ude00\\n\"}",
        "[true,false]",
    ] {
        assert!(accepts(text), "{text}");
    }
}

#[test]
fn refuses_what_json_is_not() {
    for text in [
        "",
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "1e",
        "1e+",
        "0x1",
        "NaN",
        "Infinity",
        "nul",
        "tru",
        "True",
        "'a'",
        "\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"a\nb\"",
        "[",
        "]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1,}",
        "{\"a\":1]",
        "[1}",
        "1 2",
        "[1]]",
        "{\"a\" 1}",
        "\u{feff}1",
    ] {
        assert!(!accepts(text), "{text}");
    }
}

#[test]
fn numbers_are_the_nearest_double() {
    let table = [
        ("23.1", Ok(23.1)),
        ("1.276020076001e+09", Ok(1_276_020_076.001)),
        ("9007199254740993", Ok(9_007_199_254_740_992.0)),
        ("9007199254740991", Ok(9_007_199_254_740_991.0)),
        ("5e-324", Ok(5e-324)),
        ("1e-999", Ok(0.0)),
        ("1.7976931348623157e308", Ok(f64::MAX)),
        ("1e999", Err(Kind::NotFinite)),
        ("-1e309", Err(Kind::NotFinite)),
        ("\"1\"", Err(Kind::WrongType { expected: "a number" })),
        ("null", Err(Kind::WrongType { expected: "a number" })),
        ("-x", Err(Kind::Syntax { offset: 1, expected: "a digit" })),
        ("?", Err(Kind::Syntax { offset: 0, expected: "a value" })),
        ("", Err(Kind::Truncated { offset: 0 })),
    ];
    for (text, want) in table {
        assert_eq!(scanner(text).number(), want, "{text}");
    }
}

#[test]
fn strings_borrow_unless_escaped() {
    assert!(matches!(scanner("\"plain é\"").string("", 100), Ok(Cow::Borrowed("plain é"))));
    let text = scanner(r#""a\"\\\/\b\f\n\r\tA\u00e9\ud83d\ude00z""#).string("", 100);
    assert_eq!(text.as_deref(), Ok("a\"\\/\u{8}\u{c}\n\r\tAé😀z"));
    assert_eq!(scanner("\"abcd\"").string("", 3), Err(Kind::TooLong { limit: 3 }));
    assert_eq!(scanner("\"\\n\\n\\n\\n\"").string("", 3), Err(Kind::TooLong { limit: 3 }));
}

/// Text that is JSON or nearly so.
fn nearly_json() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just(",".to_owned()),
        Just(":".to_owned()),
        Just(" ".to_owned()),
        Just("\"a\":".to_owned()),
        "true|false|null|nul",
        "-?[0-9]{1,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?",
        "\"(\\\\[\"nu]|[a-z0-9]|\\\\u[0-9a-f]{3,4}|\\\\ud83d\\\\ude00){0,4}\"?",
    ];
    proptest::collection::vec(token, 0..8).prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn agrees_with_serde_json_on_what_json_is(text in nearly_json()) {
        let oracle = serde_json::from_str::<serde_json::Value>(&text);
        // serde_json also judges the size of numbers, which is our business only where one is wanted.
        let is_size = oracle.as_ref().is_err_and(|error| error.to_string().starts_with("number out of range"));
        prop_assume!(!is_size);
        prop_assert_eq!(accepts(&text), oracle.is_ok(), "{} {:?}", text, oracle);
    }

    #[test]
    fn agrees_with_serde_json_on_numbers(number: f64) {
        let text = serde_json::to_string(&number).expect("serialises");
        if number.is_finite() {
            prop_assert_eq!(scanner(&text).number(), Ok(number));
        }
    }

    #[test]
    fn agrees_with_serde_json_on_strings(text: String) {
        let json = serde_json::to_string(&text).expect("serialises");
        prop_assert_eq!(scanner(&json).string("", usize::MAX), Ok(Cow::from(text)));
    }
}
