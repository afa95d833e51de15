//! Which interfaces are meant: names and shell-like patterns, and what they leave out.

use std::fmt;
use std::str::FromStr;

use anyhow::ensure;

/// A name of interfaces in which `*` stands for any characters, also none, and `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Whether it is the name of one interface.
    fn is_name(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut met) = (0, 0);
        // Behind the last `*`, and how far that one reaches.
        let mut star = None;
        while met < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    at += 1;
                    star = Some((at, met));
                }
                Some(&byte) if byte == b'?' || byte == name[met] => {
                    at += 1;
                    met += 1;
                }
                _ => {
                    let Some((behind, reach)) = star else {
                        return false;
                    };
                    (at, met) = (behind, reach + 1);
                    star = Some((at, met));
                }
            }
        }
        pattern[at..].iter().all(|byte| *byte == b'*')
    }
}

impl FromStr for Pattern {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        ensure!(!text.is_empty(), "expected the name of an interface");
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The interfaces to cover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those of these names; all but loopback when there are none.
    pub wanted: Vec<Pattern>,
    /// Of them, not those of these names.
    pub excluded: Vec<Pattern>,
}

impl Selection {
    /// No interface at all.
    #[must_use]
    pub fn none() -> Self {
        Self {
            wanted: Vec::new(),
            excluded: vec![Pattern("*".to_owned())],
        }
    }

    /// Whether the interface of this name is to be covered. Loopback is when it is named, and not by a pattern.
    #[must_use]
    pub fn takes(&self, name: &str, is_loopback: bool) -> bool {
        if self.excluded.iter().any(|pattern| pattern.matches(name)) {
            return false;
        }
        let mut wanted = self.wanted.iter();
        match is_loopback {
            true => self.names(name),
            false => self.wanted.is_empty() || wanted.any(|pattern| pattern.matches(name)),
        }
    }

    /// Whether the interface of this name is asked for by name.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        self.names_wanted().any(|wanted| wanted == name)
    }

    /// The interfaces that are asked for by name, and have to be there at the start.
    ///
    /// # Errors
    ///
    /// When one of them is left out as well.
    pub fn required(&self) -> anyhow::Result<Vec<&str>> {
        for name in self.names_wanted() {
            let excluding = self.excluded.iter().find(|pattern| pattern.matches(name));
            ensure!(
                excluding.is_none(),
                "expected an interface to cover, found `{name}`, which `{}` leaves out",
                excluding.map_or("", |pattern| pattern.0.as_str())
            );
        }
        Ok(self.names_wanted().collect())
    }

    fn names_wanted(&self) -> impl Iterator<Item = &str> {
        let names = self.wanted.iter().filter(|pattern| pattern.is_name());
        names.map(|pattern| pattern.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn stars_and_question_marks_match_as_in_a_shell() {
        for (pattern, names, others) in [
            ("eth0", &["eth0"][..], &["eth", "eth00", "xeth0", ""][..]),
            ("eth?", &["eth0", "ethx"], &["eth", "eth10"]),
            ("eth*", &["eth", "eth0", "eth10"], &["et", "xeth"]),
            ("*0", &["eth0", "0", "eth00"], &["eth1", ""]),
            ("*a*b", &["ab", "xaxb", "aabab"], &["ba", "abc"]),
            (
                "v?th*.1*",
                &["veth0.1", "veth.10", "vath.1.1"],
                &["veth0", "vth.1"],
            ),
            ("**?", &["a", "ab"], &[""]),
            ("*", &["", "lo"], &[]),
        ] {
            let of: Pattern = pattern.parse().unwrap();
            for name in names {
                assert!(of.matches(name), "`{pattern}` and `{name}`");
            }
            for name in others {
                assert!(!of.matches(name), "`{pattern}` and `{name}`");
            }
        }
        assert!("".parse::<Pattern>().is_err());
    }

    #[test]
    fn what_is_left_out_is_so_whatever_asks_for_it() {
        let takes = |wanted: &[&str], excluded: &[&str]| {
            let selection = Selection {
                wanted: patterns(wanted),
                excluded: patterns(excluded),
            };
            let all = ["lo", "eth0", "eth1", "veth0"];
            let takes = |name: &&str| selection.takes(name, *name == "lo");
            all.into_iter().filter(takes).collect::<Vec<_>>()
        };
        assert_eq!(takes(&[], &[]), ["eth0", "eth1", "veth0"]);
        assert_eq!(takes(&[], &["v*"]), ["eth0", "eth1"]);
        assert_eq!(takes(&["eth*"], &["*1"]), ["eth0"]);
        assert_eq!(takes(&["*"], &[]), ["eth0", "eth1", "veth0"]);
        assert_eq!(takes(&["lo", "eth1"], &[]), ["lo", "eth1"]);
        assert_eq!(takes(&["*"], &["*"]), [""; 0]);
        assert!(!Selection::none().takes("eth0", false));
    }

    #[test]
    fn only_plain_names_have_to_be_there() {
        let mut selection = Selection {
            wanted: patterns(&["eth*", "wan", "?an"]),
            excluded: patterns(&["eth1"]),
        };
        assert_eq!(selection.required().unwrap(), ["wan"]);
        selection.excluded = patterns(&["w*"]);
        let error = selection.required().unwrap_err().to_string();
        assert_eq!(
            error,
            "expected an interface to cover, found `wan`, which `w*` leaves out"
        );
    }
}
