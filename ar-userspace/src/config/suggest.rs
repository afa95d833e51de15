//! Which of the known words a misspelt one is nearest to.

/// The known word that `text` most likely means: the same but for case and `-` or `_`, or few letters
/// away. `None` when none is near.
pub(crate) fn nearest<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // A long word is no misspelling of a name, and comparing it costs its length.
    const LONGEST: usize = 64;
    if text.len() > LONGEST {
        return None;
    }
    let text = plain(text);
    let furthest = (text.len() / 3).min(3);
    known
        .into_iter()
        .filter(|word| word.len() <= LONGEST)
        .map(|word| (distance(&text, &plain(word)), word))
        .filter(|&(distance, _)| distance <= furthest)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, word)| word)
}

fn plain(text: &str) -> Vec<char> {
    let lower = text.chars().flat_map(char::to_lowercase);
    lower.map(|c| if c == '_' { '-' } else { c }).collect()
}

/// How many letters have to be put in, taken out or replaced, or neighbours swapped.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_previous: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, &in_a) in a.iter().enumerate() {
        let mut current = vec![i + 1];
        for (j, &in_b) in b.iter().enumerate() {
            let replaced = previous[j] + usize::from(in_a != in_b);
            let mut least = replaced.min(previous[j + 1] + 1).min(current[j] + 1);
            if i > 0 && j > 0 && in_a == b[j - 1] && a[i - 1] == in_b {
                least = least.min(before_previous[j - 1] + 1);
            }
            current.push(least);
        }
        before_previous = std::mem::replace(&mut previous, current);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_its_neighbour() {
        let known = ["firewall-drop", "host-deny", "rules_id", "rules_group"];
        for (text, expected) in [
            ("firewall-dorp", Some("firewall-drop")),
            ("Firewall_Drop", Some("firewall-drop")),
            ("rule_id", Some("rules_id")),
            ("rules-group", Some("rules_group")),
            ("hostdeny", Some("host-deny")),
            ("severity", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, known), expected, "{text}");
        }
    }
}
