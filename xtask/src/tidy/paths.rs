//! Every path in a piece of masked source, with `use` trees written out.
//!
//! Each path knows in which inline module it stands, so that `super` can be resolved. Names are not looked up.

use super::code::Code;

/// A path such as `crate::alert::Alert`; a glob ends in `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// The names between the `::`.
    pub(crate) segments: Vec<String>,
    /// Byte at which it, or its part of a `use` tree, begins.
    pub(crate) at: usize,
    /// Whether it stands in a `use`.
    pub(crate) imported: bool,
    /// Inline modules around it, outermost first.
    pub(crate) inline: Vec<String>,
}

/// The paths of the product's code: those of two or more segments, and all in a `use`.
pub(crate) fn paths(code: &Code) -> Vec<Path> {
    let tokens = tokens(&code.product);
    let mut walk = Walk {
        tokens: &tokens,
        at: 0,
        inline: Vec::new(),
        found: Vec::new(),
    };
    walk.items();
    walk.found
}

/// A name, `::`, or one other character that is no blank.
type Token<'a> = (usize, &'a str);

fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = code[at..].chars().next() {
        let rest = &code[at..];
        let length = if is_name(rest) {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            tokens.push((at, &rest[..length]));
        }
        at += length;
    }
    tokens
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

struct Walk<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    /// Name of an inline module for each open brace, `None` for other braces.
    inline: Vec<Option<String>>,
    found: Vec<Path>,
}

impl Walk<'_> {
    fn token(&self, ahead: usize) -> &str {
        self.tokens
            .get(self.at + ahead)
            .map_or("", |(_, token)| token)
    }

    fn items(&mut self) {
        while self.at < self.tokens.len() {
            match self.token(0) {
                "use" => {
                    self.at += 1;
                    self.use_tree(&[]);
                }
                "mod" if is_name(self.token(1)) && self.token(2) == "{" => {
                    let name = self.token(1).to_owned();
                    self.inline.push(Some(name));
                    self.at += 3;
                }
                "{" => {
                    self.inline.push(None);
                    self.at += 1;
                }
                "}" => {
                    self.inline.pop();
                    self.at += 1;
                }
                token if is_name(token) => self.plain_path(),
                _ => self.at += 1,
            }
        }
    }

    fn plain_path(&mut self) {
        let start = self.at;
        let mut segments = vec![self.token(0).to_owned()];
        self.at += 1;
        while self.token(0) == "::" && is_name(self.token(1)) {
            segments.push(self.token(1).to_owned());
            self.at += 2;
        }
        if segments.len() > 1 {
            self.push(segments, start, false);
        }
    }

    /// One branch of a `use` tree: names, then perhaps a group, a glob or a new name.
    fn use_tree(&mut self, prefix: &[String]) {
        let start = self.at;
        let mut segments = prefix.to_vec();
        loop {
            let token = self.token(0).to_owned();
            match token.as_str() {
                "::" => self.at += 1,
                "{" => {
                    self.at += 1;
                    while !matches!(self.token(0), "}" | "") {
                        self.use_tree(&segments);
                        if self.token(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                // A new name is no part of the path.
                "as" => self.at += 2,
                // In a group `self` is the prefix itself.
                "self" if !prefix.is_empty() => self.at += 1,
                "*" => {
                    segments.push(token);
                    self.at += 1;
                }
                name if is_name(name) => {
                    segments.push(token);
                    self.at += 1;
                }
                _ => {
                    self.push(segments, start, true);
                    // A token that no tree contains must not be met for ever.
                    if !matches!(self.token(0), "," | "}" | "") {
                        self.at += 1;
                    }
                    return;
                }
            }
        }
    }

    fn push(&mut self, segments: Vec<String>, start: usize, imported: bool) {
        let at = self.tokens.get(start).map_or(0, |(at, _)| *at);
        let inline = self.inline.iter().flatten().cloned().collect();
        self.found.push(Path {
            segments,
            at,
            imported,
            inline,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let found = paths(&Code::new(text));
        let found: Vec<String> = found
            .iter()
            .map(|path| {
                let inline: Vec<String> = path.inline.iter().map(|m| format!("{m}/")).collect();
                inline.concat() + &path.segments.join("::")
            })
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn use_trees_are_written_out() {
        check("use std::fmt;", &["std::fmt"]);
        check(
            "use std::{fs, io::{self, Write as _}, net::*};",
            &["std::fs", "std::io", "std::io::Write", "std::net::*"],
        );
        check(
            "pub(crate) use crate::a::B as C; x::y();",
            &["crate::a::B", "x::y"],
        );
        check("use crate as root; use a::{b::C,};", &["crate", "a::b::C"]);
    }

    #[test]
    fn paths_in_expressions_and_types_are_found() {
        check(
            "let x: a::B<c::D> = e::f::<g::H>();",
            &["a::B", "c::D", "e::f", "g::H"],
        );
        check("<T as crate::x::Y>::z()", &["crate::x::Y"]);
        check("pub(in crate::a) fn f() {}", &["crate::a"]);
    }

    #[test]
    fn inline_modules_are_known() {
        check(
            "mod a { use super::b; mod c { d::e } f::g } h::i",
            &["a/super::b", "a/c/d::e", "a/f::g", "h::i"],
        );
    }

    #[test]
    fn comments_strings_and_tests_have_no_paths() {
        check(
            "// std::fs\nlet a = \"std::fs\"; #[cfg(test)] mod tests { use std::fs; }",
            &[],
        );
    }
}
