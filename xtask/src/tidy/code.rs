//! Rust source with everything blanked that is not code: comments, strings, characters; and tests.
//!
//! This is no parser: it knows just enough of the lexical structure that a word in a comment is not taken for
//! code. Blanks keep every byte's place, so places in the result are places in the file.

/// Masked source.
pub(crate) struct Code {
    /// Without comments and literals.
    pub(crate) all: String,
    /// Without items under `#[cfg(test)]` as well.
    pub(crate) product: String,
}

impl Code {
    /// Masks `text`.
    pub(crate) fn new(text: &str) -> Self {
        let all = mask(text);
        let product = without_tests(&all);
        Self { all, product }
    }
}

/// The line, from 1, on which byte `at` stands.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// Where `word` stands in `text` with no letter, digit or underscore at its ends.
pub(crate) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| {
            let before = text[..at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
}

fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let blank = not_code(rest, masked.chars().next_back());
        if blank > 0 {
            blank_out(&mut masked, &rest[..blank]);
            rest = &rest[blank..];
        } else {
            masked.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    masked
}

/// Appends as many blanks as `text` has bytes; line ends stay.
fn blank_out(masked: &mut String, text: &str) {
    masked.extend(text.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }));
}

/// Length of the comment or literal that `rest` begins with; 0 when it begins with code.
fn not_code(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if let Some(inside) = rest.strip_prefix('"') {
        return 1 + quoted(inside, '"');
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if in_word { 0 } else { raw_string(rest) }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let tail = &rest.as_bytes()[at..];
        if tail.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Length up to and with the closing `end`; a backslash takes the next character along.
fn quoted(rest: &str, end: char) -> usize {
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == end {
            return at + c.len_utf8();
        }
    }
    rest.len()
}

/// A character literal; 0 for a lifetime, which begins alike.
fn character(rest: &str) -> usize {
    let mut chars = rest.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => 1 + quoted(&rest[1..], '\''),
        (Some(c), Some('\'')) => 1 + c.len_utf8() + 1,
        _ => 0,
    }
}

/// `r"..."`, `r#"..."#` and the same behind `b` or `c`; 0 for anything else, a raw identifier too.
fn raw_string(rest: &str) -> usize {
    let tail = rest.strip_prefix(['b', 'c']).unwrap_or(rest);
    let Some(tail) = tail.strip_prefix('r') else {
        return 0;
    };
    let hashes = tail.len() - tail.trim_start_matches('#').len();
    let Some(body) = tail[hashes..].strip_prefix('"') else {
        return 0;
    };
    let close = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&close).map_or(body.len(), |at| at + close.len());
    rest.len() - body.len() + length
}

fn without_tests(masked: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut product = String::with_capacity(masked.len());
    let mut rest = masked;
    while let Some(at) = rest.find(MARK) {
        let end = at + item(&rest[at..]);
        product.push_str(&rest[..at]);
        blank_out(&mut product, &rest[at..end]);
        rest = &rest[end..];
    }
    product.push_str(rest);
    product
}

/// Length of the item that `rest` begins with: to the brace that closes its first, or to a semicolon.
fn item(rest: &str) -> usize {
    let mut depth = 0;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b';' if depth == 0 => return at + 1,
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let squeezed: Vec<String> = mask(text).split_whitespace().map(str::to_owned).collect();
        assert_eq!(squeezed.join(" "), expected, "{text}");
        assert_eq!(mask(text).len(), text.len(), "{text}");
    }

    #[test]
    fn comments_and_literals_are_blank() {
        check("a // std::fs\nb", "a b");
        check("a /* x /* y */ z */ b", "a b");
        check(r#"a("std::fs \" x") b"#, "a( ) b");
        check(r##"a(r#"x " y"#) b"##, "a( ) b");
        check(r##"a(br"x\") b"##, "a( ) b");
        check("a('\"', '\\'', 'é') b", "a( , , ) b");
    }

    #[test]
    fn lifetimes_and_raw_identifiers_are_code() {
        check(
            "fn f<'a>(x: &'a str) 'b: loop {}",
            "fn f<'a>(x: &'a str) 'b: loop {}",
        );
        check("r#type for_r", "r#type for_r");
    }

    #[test]
    fn lines_are_kept() {
        assert_eq!(mask("/*\n*/a\"\n\"b"), "  \n  a \n b");
        assert_eq!(line_of("a\nb\nc", 4), 3);
    }

    #[test]
    fn tests_are_not_part_of_the_product() {
        let code = Code::new("fn a() {}\n#[cfg(test)]\nmod tests { fn b() { '}' } }\nfn c() {}");
        assert!(code.all.contains("fn b"));
        assert!(!code.product.contains("fn b"));
        assert!(code.product.contains("fn a") && code.product.contains("fn c"));
        let code = Code::new("#[cfg(test)]\nmod tests;\nfn c() {}");
        assert!(!code.product.contains("mod") && code.product.contains("fn c"));
    }

    #[test]
    fn words_are_whole() {
        let found: Vec<usize> = words("unsafe unsafe_code un unsafe{", "unsafe").collect();
        assert_eq!(found, [0, 22]);
    }
}
