//! What holds for every text.

use proptest::prelude::*;

use super::super::{read, read_bytes};
use crate::diagnostic::{locate, render};

/// Pieces of which texts are made that come near to a configuration.
fn pieces() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "<ossec_config>",
        "</ossec_config>",
        "<active-response>",
        "</active-response>",
        "<command>",
        "</command>",
        "<name>",
        "</name>",
        "<executable>",
        "</executable>",
        "<location>",
        "</location>",
        "<level>",
        "</level>",
        "<rules_group>",
        "</rules_group>",
        "<rules_id>",
        "</rules_id>",
        "<timeout>",
        "</timeout>",
        "<repeated_offenders>",
        "</repeated_offenders>",
        "<disabled>",
        "</disabled>",
        "<global>",
        "</global>",
        "<white_list>",
        "</white_list>",
        "<agent_id/>",
        "<localfile>",
        "</localfile>",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<?xml ?>",
        "<!DOCTYPE",
        "&amp;",
        "&#65;",
        "&#x110000;",
        "&x;",
        "&",
        "<",
        ">",
        "\"",
        "'",
        "\\<",
        "\u{feff}",
        "\r\n",
        "\n",
        "\t",
        " ",
        ",",
        "|",
        "ä",
        "漢",
        "\u{1b}",
        "\0",
        "yes",
        "no",
        "local",
        "all",
        "defined-agent",
        "firewall-drop",
        "10",
        "0",
        "99999999999",
        "10.0.0.0/8",
        "2001:db8::/129",
    ]);
    let piece = prop_oneof![9 => known.prop_map(str::to_owned), 1 => any::<String>()];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn check_text(text: &str) -> Result<(), TestCaseError> {
    let reading = read(text);
    let errors = reading
        .diagnostics
        .iter()
        .any(crate::diagnostic::Diagnostic::is_error);
    prop_assert_eq!(reading.config.is_none(), errors);
    let mut last = 0;
    for diagnostic in &reading.diagnostics {
        prop_assert!(
            last <= diagnostic.span.start,
            "not in the order of the text"
        );
        last = diagnostic.span.start;
        let related = diagnostic.related.iter().map(|related| &related.span);
        for span in std::iter::once(&diagnostic.span).chain(related) {
            prop_assert!(
                text.get(span.clone()).is_some(),
                "{span:?} is no place: {diagnostic:?}"
            );
        }
    }
    let rendered = render(&reading.diagnostics, "f", text, false);
    let acts = |c: char| c.is_control() && c != '\n';
    prop_assert!(!rendered.contains(acts), "{rendered:?}");
    prop_assert_eq!(
        locate(&reading.diagnostics, "f", text).len(),
        reading.diagnostics.len()
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_and_every_place_is_in_it(text in any::<String>()) {
        check_text(&text)?;
    }

    #[test]
    fn any_text_like_a_configuration_is_read(text in pieces()) {
        check_text(&text)?;
    }

    #[test]
    fn a_root_around_any_text_changes_nothing_of_that(text in pieces()) {
        check_text(&format!("<ossec_config><active-response>{text}</active-response></ossec_config>"))?;
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (text, reading) = read_bytes(&bytes);
        for diagnostic in &reading.diagnostics {
            prop_assert!(text.get(diagnostic.span.clone()).is_some());
        }
    }
}
