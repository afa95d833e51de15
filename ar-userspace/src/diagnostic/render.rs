//! Diagnostics for people: the place, the line with a mark under it, what was found, how to mend it.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::escape::visible;
use super::excerpt::{Excerpt, excerpt};
use super::{Diagnostic, Lines, Severity};

/// Turns the diagnostics of `text` into text for a terminal, each ending in a line end, with a blank line
/// between two; the empty string when there are none.
///
/// `color` adds terminal colours. Nothing of the file reaches the output as a control character.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], file_name: &str, text: &str, color: bool) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let lines = Lines::new(text);
    let file_name = visible(file_name);
    let rendered: Vec<String> = diagnostics
        .iter()
        .map(|diagnostic| render_one(&renderer, diagnostic, &file_name, &lines))
        .collect();
    rendered.join("\n")
}

fn render_one(
    renderer: &Renderer,
    diagnostic: &Diagnostic,
    file_name: &str,
    lines: &Lines<'_>,
) -> String {
    let spans: Vec<Range<usize>> = std::iter::once(&diagnostic.span)
        .chain(diagnostic.related.iter().map(|related| &related.span))
        .cloned()
        .collect();
    let Excerpt {
        first_line,
        source,
        spans,
    } = excerpt(lines, &spans);
    let labels = std::iter::once(found_label(diagnostic)).chain(
        diagnostic
            .related
            .iter()
            .map(|related| Some(visible(&related.label))),
    );
    let kinds =
        std::iter::once(AnnotationKind::Primary).chain(std::iter::repeat(AnnotationKind::Context));
    let place = lines.place(diagnostic.span.start);
    let shown_column = column_in(&source, spans[0].start);
    let annotations = spans
        .into_iter()
        .zip(labels)
        .zip(kinds)
        .map(|((span, label), kind)| kind.span(span).label(label));
    let snippet = Snippet::source(source)
        .path(file_name)
        .line_start(first_line)
        .annotations(annotations);
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(visible(&diagnostic.message));
    let mut group = Group::with_title(title).element(snippet);
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(visible(help)));
    }
    let mut rendered = renderer.render(&[group]);
    rendered.push('\n');
    // The renderer counts columns in the excerpt, where lines are cut and characters are replaced.
    let header = format!("{file_name}:{}:", place.line);
    rendered.replacen(
        &format!("{header}{shown_column}\n"),
        &format!("{header}{}\n", place.column),
        1,
    )
}

/// The column of the byte `at` of an excerpt, as the renderer counts it.
fn column_in(source: &str, at: usize) -> usize {
    let line = source[..at].rsplit('\n').next().unwrap_or_default();
    line.chars().count() + 1
}

fn found_label(diagnostic: &Diagnostic) -> Option<String> {
    let found = visible(&diagnostic.found);
    (!found.is_empty()).then(|| format!("found {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(diagnostic: &Diagnostic, text: &str, expected: &str) {
        let rendered = render(std::slice::from_ref(diagnostic), "ossec.conf", text, false);
        assert_eq!(rendered, expected, "got:\n{rendered}");
    }

    #[test]
    fn a_message_shows_the_place_what_was_found_and_how_to_mend_it() {
        let text = "<a>\n    <timeout>10m</timeout>\n</a>\n";
        let at = text.find("10m").unwrap();
        check(
            &Diagnostic::error("timeout", at..at + 3, "expected a whole number of seconds")
                .found("`10m`")
                .help("write `600`"),
            text,
            "\
error: expected a whole number of seconds
 --> ossec.conf:2:14
  |
2 |     <timeout>10m</timeout>
  |              ^^^ found `10m`
  |
  = help: write `600`
",
        );
    }

    #[test]
    fn the_place_is_that_of_the_file_and_not_of_the_excerpt() {
        let text = format!("\t\u{1b}{}<a>", "x".repeat(200));
        let at = text.find("<a>").unwrap();
        check(
            &Diagnostic::warning("a", at..at + 3, "message"),
            &text,
            &format!(
                "\
warning: message
 --> ossec.conf:1:203
  |
1 | ...{}<a>
  |    {}^^^
",
                "x".repeat(40),
                " ".repeat(40),
            ),
        );
    }

    #[test]
    fn a_second_place_has_a_label_of_its_own() {
        let text = "<a>\n  <b>\n\n\n\n\n  </c>\n</a>\n";
        let at = text.find("</c>").unwrap();
        let opened = text.find("<b>").unwrap();
        check(
            &Diagnostic::error("xml", at..at + 4, "expected `</b>`")
                .found("`</c>`")
                .related(opened..opened + 3, "opened here"),
            text,
            "\
error: expected `</b>`
 --> ossec.conf:7:3
  |
2 |   <b>
  |   --- opened here
...
7 |   </c>
  |   ^^^^ found `</c>`
",
        );
    }

    #[test]
    fn nothing_of_the_file_acts_on_a_terminal() {
        let text = "<a>\u{1b}[2J\u{9b}1m\u{202e}</a>";
        let diagnostic = Diagnostic::warning("a", 3..4, "bad \u{1b}[31m text")
            .found("\u{7}")
            .help("\u{1b}]0;title\u{7}")
            .related(4..5, "\u{9b}");
        let rendered = render(&[diagnostic], "evil\u{1b}[31m\n.conf", text, false);
        let raw: Vec<char> = rendered
            .chars()
            .filter(|&c| c != '\n' && (c.is_control() || c == '\u{202e}'))
            .collect();
        assert_eq!(raw, [], "{rendered:?}");
        assert!(
            rendered.contains("evil\\u{1b}[31m\\n.conf:1:4"),
            "{rendered}"
        );
    }

    #[test]
    fn colours_are_added_only_when_asked_for() {
        let diagnostic = Diagnostic::warning("a", 0..1, "message");
        let plain = render(std::slice::from_ref(&diagnostic), "f", "text", false);
        let coloured = render(std::slice::from_ref(&diagnostic), "f", "text", true);
        assert!(!plain.contains('\u{1b}'));
        assert!(coloured.contains('\u{1b}'));
    }

    #[test]
    fn a_coloured_message_has_the_same_text() {
        let text = format!("\t{}<a>", "x".repeat(200));
        let diagnostic = Diagnostic::warning("a", 201..204, "message").found("`<a>`");
        let plain = render(std::slice::from_ref(&diagnostic), "f", &text, false);
        let coloured = render(&[diagnostic], "f", &text, true);
        let mut stripped = String::new();
        for (index, piece) in coloured.split('\u{1b}').enumerate() {
            let text = piece.split_once('m').filter(|_| index > 0);
            stripped.push_str(text.map_or(piece, |(_, text)| text));
        }
        assert_eq!(stripped, plain);
    }

    #[test]
    fn several_messages_are_parted_by_a_blank_line() {
        let diagnostic = Diagnostic::warning("a", 0..1, "message");
        let one = render(std::slice::from_ref(&diagnostic), "f", "text", false);
        let two = render(&[diagnostic.clone(), diagnostic], "f", "text", false);
        assert_eq!(two, format!("{one}\n{one}"));
        assert_eq!(render(&[], "f", "text", false), "");
    }
}
