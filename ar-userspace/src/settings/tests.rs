//! What is read as it is written, and what is told of mistakes.

use super::*;

fn keys() -> Vec<Key> {
    let key = |name: &str, kind| Key {
        name: name.to_owned(),
        kind,
    };
    vec![
        key("flag", Kind::Flag),
        key("number", Kind::Number),
        key("text", Kind::Text),
        key("texts", Kind::Texts),
        key("numbers", Kind::Numbers),
    ]
}

fn fits(_: &str, value: &str) -> Result<(), Unfit> {
    match value {
        "bad" | "13" => Err(Unfit {
            expected: "something better".to_owned(),
            known: vec!["bed".to_owned()],
        }),
        _ => Ok(()),
    }
}

fn values(text: &str) -> Vec<(String, Vec<String>)> {
    let reading = read(text, &keys(), fits);
    assert_eq!(reading.diagnostics, [], "{text}");
    let given = reading.given.into_iter();
    given.map(|given| (given.name, given.values)).collect()
}

#[test]
fn each_kind_is_read_as_toml_writes_it() {
    let text = "\
        flag = true # yes\n\
        number = 1_000\n\
        text = 'a \"b\"'\n\
        texts = [\n \"a\",\n 'b', # two\n]\n\
        numbers = [0x10, 7]\n";
    let expected = [
        ("flag", &["true"][..]),
        ("number", &["1000"]),
        ("numbers", &["16", "7"]),
        ("text", &["a \"b\""]),
        ("texts", &["a", "b"]),
    ];
    let expected = expected.map(|(name, values)| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        (name.to_owned(), values)
    });
    assert_eq!(values(text), expected);
    assert_eq!(values(""), []);
    assert_eq!(values("texts = []\n"), [("texts".to_owned(), Vec::new())]);
}

#[test]
fn a_mistake_says_what_was_expected_and_found_and_what_to_write() {
    for (text, message, found, help) in [
        (
            "falg = 1",
            "expected the name of a setting",
            "`falg`",
            "write `flag`",
        ),
        ("flag = 1", "expected `true` or `false`", "`1`", ""),
        (
            "flag = \"true\"",
            "expected `true` or `false`",
            "`\"true\"`",
            "write `true`, without quotes",
        ),
        (
            "number = \"12\"",
            "expected a whole number",
            "`\"12\"`",
            "write `12`, without quotes",
        ),
        ("number = 1.5", "expected a whole number", "`1.5`", ""),
        ("number = 13", "expected something better", "`13`", ""),
        (
            "text = 7",
            "expected text in quotes",
            "`7`",
            "write `\"7\"`",
        ),
        (
            "text = \"bad\"",
            "expected something better",
            "`\"bad\"`",
            "write `\"bed\"`",
        ),
        (
            "texts = \"a\"",
            "expected a list of texts in quotes",
            "`\"a\"`",
            "write `texts = [\"a\"]`",
        ),
        (
            "texts = [7]",
            "expected text in quotes",
            "`7`",
            "write `\"7\"`",
        ),
        ("texts = [[]]", "expected text in quotes", "a list", ""),
        (
            "numbers = 7",
            "expected a list of whole numbers",
            "`7`",
            "write `numbers = [7]`",
        ),
        ("text = { a = 1 }", "expected text in quotes", "a table", ""),
    ] {
        let reading = read(text, &keys(), fits);
        let [mistake] = &reading.diagnostics[..] else {
            panic!("{text}: {reading:?}");
        };
        let told = (mistake.message.as_str(), mistake.found.as_str());
        assert_eq!(told, (message, found), "{text}");
        assert_eq!(mistake.help.as_deref().unwrap_or_default(), help, "{text}");
        assert_eq!(reading.given, [], "{text}");
    }
}

#[test]
fn every_mistake_is_told_in_the_order_of_the_text_and_the_rest_is_given() {
    let text = "texts = [\"bad\", 7, \"c\"]\nnumber = 5\n\n[flags]\na = 1\n";
    let reading = read(text, &keys(), fits);
    let lines = Lines::new(text);
    let places = reading.diagnostics.iter().map(|mistake| {
        let place = lines.place(mistake.span.start);
        (place.line, place.column)
    });
    assert_eq!(places.collect::<Vec<_>>(), [(1, 10), (1, 17), (4, 2)]);
    assert_eq!(reading.given.len(), 1);
}

#[test]
fn any_text_is_read_to_its_end() {
    use proptest::prelude::*;
    let piece = prop::sample::select(vec![
        "flag", "number", "texts", "=", "[", "]", "\"", "'", "\n", "#", "{", "}", ".", ",", " ",
        "1", "ü", "\\u", "\"\"\"",
    ]);
    let mut runner = proptest::test_runner::TestRunner::default();
    let texts = prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat());
    let is_read = |text: String| {
        for mistake in read(&text, &keys(), fits).diagnostics {
            prop_assert!(text.get(mistake.span.clone()).is_some(), "{mistake:?}");
        }
        Ok(())
    };
    runner.run(&texts, is_read).unwrap();
}
