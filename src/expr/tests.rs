//! Expressions as tables, and the lowered tree against `cel` itself.

use cel::common::types::{CelBool, CelDouble};
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

/// Names and values of a scope, found by slot.
struct Given<'a>(&'a Names, &'a [(&'a str, Cell<'a>)]);

impl Scope for Given<'_> {
    fn get(&self, slot: usize) -> Cell<'_> {
        let name = self.0.iter().nth(slot).expect("a slot of these names");
        self.1.iter().find(|(known, _)| **known == **name).map_or(Cell::Null, |(_, value)| *value)
    }
}

const READING: [(&str, Cell<'static>); 5] = [
    ("speed", Cell::Number(90.0)),
    ("limit", Cell::Number(80.0)),
    ("vendor", Cell::Text("acme")),
    ("model", Cell::Text("x1")),
    ("moving", Cell::Bool(true)),
];

fn run(text: &str) -> String {
    let mut names = Names::default();
    let program = match compile(text, &mut names) {
        Ok(program) => program,
        Err(error) => return format!("column {}: {error}", error.column),
    };
    let scope = Given(&names, &READING);
    match program.value(&scope) {
        Ok(value) => serde_json::to_string(&value).unwrap(),
        Err(failure) => format!("failure: {failure}"),
    }
}

fn check(texts: &[&str], expected: Expect) {
    let lines: Vec<_> = texts.iter().map(|text| format!("{text}  =>  {}\n", run(text))).collect();
    expected.assert_eq(&lines.concat());
}

#[test]
fn values() {
    check(
        &[
            "speed > limit * 1.1",
            "speed > 80 && moving",
            "1 + 2 * 3 - 4 / 8",
            "7 % 4",
            "-speed",
            "speed / 0",
            "vendor + \"/\" + model == 'acme/x1'",
            "vendor == 'acme' ? speed : limit",
            "speed > 100 ? 'critical' : 'warning'",
            "!moving || speed == 90",
            "speed == vendor",
        ],
        expect![[r#"
            speed > limit * 1.1  =>  true
            speed > 80 && moving  =>  true
            1 + 2 * 3 - 4 / 8  =>  6.5
            7 % 4  =>  3
            -speed  =>  -90
            speed / 0  =>  null
            vendor + "/" + model == 'acme/x1'  =>  true
            vendor == 'acme' ? speed : limit  =>  90
            speed > 100 ? 'critical' : 'warning'  =>  "warning"
            !moving || speed == 90  =>  true
            speed == vendor  =>  false
        "#]],
    );
}

#[test]
fn nulls() {
    check(
        &[
            "missing > 1",
            "missing <= 1",
            "missing == missing",
            "missing != 1",
            "missing == null",
            "missing != null",
            "null == speed",
            "has(missing)",
            "has(speed) && !has(missing)",
            "missing + 1",
            "(missing > 1 ? 1 : 2) == 2",
            "!(missing > 1)",
            "missing && false",
            "missing || true",
            "missing && true",
            "size(missing) > 1",
            "missing in ['a', 'b']",
            "missing.startsWith('a')",
        ],
        expect![[r#"
            missing > 1  =>  false
            missing <= 1  =>  false
            missing == missing  =>  false
            missing != 1  =>  false
            missing == null  =>  true
            missing != null  =>  false
            null == speed  =>  false
            has(missing)  =>  false
            has(speed) && !has(missing)  =>  true
            missing + 1  =>  null
            (missing > 1 ? 1 : 2) == 2  =>  true
            !(missing > 1)  =>  true
            missing && false  =>  false
            missing || true  =>  true
            missing && true  =>  null
            size(missing) > 1  =>  false
            missing in ['a', 'b']  =>  false
            missing.startsWith('a')  =>  null
        "#]],
    );
}

#[test]
fn what_cel_interprets() {
    check(
        &[
            "vendor in ['acme', 'other']",
            "speed in [90, 100]",
            "vendor.startsWith('ac') && vendor.endsWith('me') && vendor.contains('c')",
            "size(vendor) + 1",
            "[1, 2, 3].exists(x, x > speed)",
            "[80, 90, 100].exists_one(x, x == speed)",
            "[10, 20][1] + 0.5",
            "string(true) + vendor",
            "int(2.9) + double('1.5')",
            "bool('true') && moving",
        ],
        expect![[r#"
            vendor in ['acme', 'other']  =>  true
            speed in [90, 100]  =>  true
            vendor.startsWith('ac') && vendor.endsWith('me') && vendor.contains('c')  =>  true
            size(vendor) + 1  =>  5
            [1, 2, 3].exists(x, x > speed)  =>  false
            [80, 90, 100].exists_one(x, x == speed)  =>  true
            [10, 20][1] + 0.5  =>  20.5
            string(true) + vendor  =>  "trueacme"
            int(2.9) + double('1.5')  =>  3.5
            bool('true') && moving  =>  true
        "#]],
    );
}

#[test]
fn failures_and_errors() {
    let deep = format!("{}1{}", "(".repeat(200), ")".repeat(200));
    let long = "a".repeat(5000);
    assert_eq!(run(&vec!["1"; 200].join("+")), "200");
    assert_eq!(run(&format!("{}true", "!".repeat(200))), "true");
    let wide = format!("{}1{}", "(".repeat(32), ")".repeat(32));
    let chosen = format!("{}2", "moving ? 1 : ".repeat(32));
    assert!(run(&deep).contains("levels of brackets"), "{}", run(&deep));
    assert!(run(&vec!["1"; 300].join("+")).contains("200 operators"));
    let interpreted = format!("[{}].exists(x, x == 40)", vec!["1"; 40].join("+"));
    let too_deep = format!("[{}].exists(x, x == 60)", vec!["1"; 60].join("+"));
    assert!(run(&too_deep).contains("more than 48"), "{}", run(&too_deep));
    let nested = format!("{}vendor{}", "string(".repeat(32), ")".repeat(32));
    assert_eq!([run(&wide), run(&chosen)], ["1", "1"]);
    assert_eq!([run(&interpreted), run(&nested)], ["true", "\"acme\""]);
    assert!(run(&long).contains("more than 2048"));
    check(
        &[
            "speed > vendor",
            "vendor * 2",
            "!speed",
            "moving && speed",
            "0/0 > 1",
            "",
            "speed >",
            "speed > > 1",
            "speed = 1",
            "'abc",
            "1 + 'a'  == 2",
            "1 > 'a'",
            "!5",
            "speed.max > 1",
            "siez(vendor) > 1",
            "[1].exists(x, has(x))",
            "null < 1",
            "speed in",
        ],
        expect![[r#"
            speed > vendor  =>  failure: a number and a text have no order
            vendor * 2  =>  failure: * takes numbers, got a text and a number
            !speed  =>  failure: ! takes booleans, got a number
            moving && speed  =>  failure: && takes booleans, got a number
            0/0 > 1  =>  failure: a number and a number have no order
              =>  column 1: the expression is empty
            speed >  =>  column 8: syntax error: mismatched input end of the expression
            speed > > 1  =>  column 9: syntax error: extraneous input '>'
            speed = 1  =>  column 7: syntax error: token recognition error at: '= '
            'abc  =>  column 1: syntax error: token recognition error at: ''abc'
            1 + 'a'  == 2  =>  failure: + takes numbers, got a number and a text
            1 > 'a'  =>  column 5: a number is compared with a text
            !5  =>  column 2: expected a condition, this is a number
            speed.max > 1  =>  column 6: ".max": values have no members; names are plain words
            siez(vendor) > 1  =>  column 5: unknown function "siez" (known: bool, contains, double, endsWith, int, size, startsWith, string, has)
            [1].exists(x, has(x))  =>  column 18: has() takes a name and cannot stand within a function or macro
            null < 1  =>  column 8: null has no order
            speed in  =>  column 9: syntax error: mismatched input end of the expression
        "#]],
    );
}

#[test]
fn references_have_columns() {
    let mut names = Names::default();
    let program = compile("has(a) && b > 1.0 && [c].exists(x, x > d)", &mut names).unwrap();
    let found: Vec<_> = program.references().iter().map(|r| (&*r.name, r.column)).collect();
    assert_eq!(found, [("a", 5), ("b", 11), ("c", 23), ("d", 40)]);
    assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!(program.plain_name(), None);
    assert_eq!(compile("d", &mut names).unwrap().plain_name(), Some(3));
}

#[test]
fn aggregates() {
    let shown = |text| match aggregate(text, &mut Names::default()) {
        Ok(aggregate) => format!("{aggregate:?}").chars().take_while(|c| c.is_alphabetic()).collect(),
        Err(error) => format!("column {}: {error}", error.column),
    };
    let texts = [
        "count()",
        "count(speed)",
        "count(speed > 1)",
        "avg(speed)",
        "sum(volts * amps)",
        "min(x)",
        "max(x)",
        "stddev_pop(x)",
        "avg()",
        "avg(a, b)",
        "avg(a > 1)",
        "median(a)",
        "percentile(a, 0.9)",
        "avg(a) + 1",
        "a",
        "avg(",
    ];
    let lines: Vec<_> = texts.iter().map(|text| format!("{text}  =>  {}\n", shown(text))).collect();
    expect![[r#"
        count()  =>  Count
        count(speed)  =>  CountOf
        count(speed > 1)  =>  CountOf
        avg(speed)  =>  Avg
        sum(volts * amps)  =>  Sum
        min(x)  =>  Min
        max(x)  =>  Max
        stddev_pop(x)  =>  StddevPop
        avg()  =>  column 4: avg takes one expression, got 0
        avg(a, b)  =>  column 4: avg takes one expression, got 2
        avg(a > 1)  =>  column 7: avg takes a number
        median(a)  =>  column 7: unknown aggregate "median" (known: avg, count, max, min, stddev_pop, sum)
        percentile(a, 0.9)  =>  column 11: aggregate "percentile" is not in this version (known: avg, count, max, min, stddev_pop, sum)
        avg(a) + 1  =>  column 8: expected one aggregate around all: avg, count, max, min, stddev_pop, sum of an expression
        a  =>  column 1: expected an aggregate: avg, count, max, min, stddev_pop, sum of an expression
        avg(  =>  column 5: syntax error: mismatched input end of the expression
    "#]].assert_eq(&lines.concat());
}

/// Random numbers over the doubles `a` and `b`.
fn numbers(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["a", "b"]).prop_map(str::to_owned),
        (-8..8i32).prop_map(|n| format!("({n}.0 / 4.0)")),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let operators = prop::sample::select(vec!["+", "-", "*", "/"]);
    prop_oneof![
        leaf,
        (numbers(depth - 1), operators, numbers(depth - 1)).prop_map(|(x, o, y)| format!("({x} {o} {y})")),
        numbers(depth - 1).prop_map(|of| format!("(-{of})")),
        (conditions(depth - 1), numbers(depth - 1), numbers(depth - 1))
            .prop_map(|(c, x, y)| format!("({c} ? {x} : {y})")),
    ]
    .boxed()
}

/// Random conditions over those and the booleans `p` and `q`; at times a number where a boolean belongs.
fn conditions(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop::sample::select(vec!["p", "q", "p", "q", "true", "false", "a"]).prop_map(str::to_owned);
    if depth == 0 {
        return leaf.boxed();
    }
    let comparisons = prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]);
    let logic = prop::sample::select(vec!["&&", "||", "==", "!="]);
    prop_oneof![
        leaf,
        (numbers(depth - 1), comparisons, numbers(depth - 1)).prop_map(|(x, o, y)| format!("({x} {o} {y})")),
        (conditions(depth - 1), logic, conditions(depth - 1)).prop_map(|(x, o, y)| format!("({x} {o} {y})")),
        conditions(depth - 1).prop_map(|of| format!("(!{of})")),
    ]
    .boxed()
}

proptest! {
    #[test]
    fn the_tree_is_cel(text in prop_oneof![conditions(4), numbers(4)], a in -4i8..4, b in -4i8..4, p: bool, q: bool) {
        let mut context = cel::Context::default();
        context.add_variable_as_val("a", Box::new(CelDouble::from(f64::from(a))));
        context.add_variable_as_val("b", Box::new(CelDouble::from(f64::from(b))));
        context.add_variable_as_val("p", Box::new(CelBool::from(p)));
        context.add_variable_as_val("q", Box::new(CelBool::from(q)));
        let theirs = cel::Program::compile(&text).unwrap().execute(&context).ok();

        let mut names = Names::default();
        let values = [
            ("a", Cell::Number(a.into())),
            ("b", Cell::Number(b.into())),
            ("p", Cell::Bool(p)),
            ("q", Cell::Bool(q)),
        ];
        let program = compile(&text, &mut names).unwrap();
        let scope = Given(&names, &values);
        let ours = program.node.eval(&scope).ok();
        match (theirs, ours) {
            (None, None) => {}
            (Some(cel::Value::Bool(theirs)), Some(eval::Operand::Bool(ours))) => prop_assert_eq!(theirs, ours),
            (Some(cel::Value::Float(theirs)), Some(eval::Operand::Number(ours))) => {
                prop_assert!(theirs == ours || theirs.is_nan() && ours.is_nan(), "{} {}", theirs, ours);
            }
            (theirs, ours) => prop_assert!(false, "cel: {:?}, tree: {:?}", theirs, ours),
        }
    }

    #[test]
    fn no_text_makes_the_compiler_panic(text in "[ab019 .()\\[\\]{}?:,'\"+*/%<>=!&|\\\\é-]{0,40}") {
        let _ = compile(&text, &mut Names::default());
        let _ = aggregate(&text, &mut Names::default());
    }
}
