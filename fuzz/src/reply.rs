//! What must hold for any line that an executable prints before it acts.

use std::net::IpAddr;

use arfw::config::Executable;
use arfw::enforcer::exec::wire::Said;
use arfw::offender::Offender;
use serde_json::Value;

/// Longest key as text, in bytes: an executable must not be able to fill the ledger with names.
const KEY_MAX: usize = 4_096;

/// Whom the seeds ban.
const OFFENDERS: [&str; 2] = ["198.51.100.7", "2001:db8::7"];

/// Names of executables.
const PROGRAMS: [&str; 2] = ["deny", "a-name.py"];

/// Reads a line, and asks for its key.
///
/// # Panics
///
/// When the reader and a tree of the line disagree about the keys, the key as text is not made of the base
/// name and of keys in their order, or is too long, or another address than the key counts as the key.
pub fn reply(line: &[u8]) {
    let said = Said::read(line);
    let keys = keys(line);
    match (&said, &keys) {
        (Said::Keys(said), Some(keys)) => assert_eq!(said, keys),
        (Said::Other, None) => {}
        _ => panic!("{said:?}, and a tree says {keys:?}"),
    }
    for program in PROGRAMS {
        check_name(&said, &Executable::new(program), keys.as_deref());
    }
    let full = Executable::new(&"x".repeat(KEY_MAX));
    assert_eq!(said.key_name(&full), full, "a key beyond the bound");
    for offender in OFFENDERS {
        check_offender(&said, offender, keys.as_deref());
    }
}

/// The keys by their path in a tree of the whole line, which is text.
fn keys(line: &[u8]) -> Option<Vec<String>> {
    let tree: Value = serde_json::from_str(std::str::from_utf8(line).ok()?).ok()?;
    let at = |path: &str| tree.pointer(path);
    let is_valid = matches!(at("/version"), Some(Value::Number(_)))
        && matches!(at("/origin"), Some(Value::Object(_)))
        && at("/command").and_then(Value::as_str) == Some("check_keys");
    let Some(Value::Array(keys)) = at("/parameters/keys").filter(|_| is_valid) else {
        return None;
    };
    let mut texts = Vec::new();
    for key in keys {
        if let Value::String(text) = key {
            texts.push(text.clone());
        }
    }
    Some(texts)
}

fn check_name(said: &Said, program: &Executable, keys: Option<&[String]>) {
    let name = said.key_name(program);
    assert!(name.name().len() <= KEY_MAX, "{} bytes", name.name().len());
    let mut parts = vec![program.name()];
    parts.extend(keys.unwrap_or_default().iter().map(String::as_str));
    let whole = parts.join("-");
    // Keys are left out from the first on that does not fit, and none is cut.
    let ends = parts.iter().scan(0, |end, part| {
        *end += part.len();
        let here = *end;
        *end += 1;
        Some(here)
    });
    let end = ends.take_while(|&end| end <= KEY_MAX).last();
    assert_eq!(name.name(), &whole[..end.unwrap_or_default()]);
}

fn check_offender(said: &Said, text: &str, keys: Option<&[String]>) {
    let (Ok(offender), Ok(address)) = (text.parse::<Offender>(), text.parse::<IpAddr>()) else {
        panic!("{text} is no offender");
    };
    let expected = match keys {
        None => true,
        Some([key]) => {
            let key = key.parse::<IpAddr>().map(|key| key.to_canonical());
            key == Ok(address)
        }
        Some(_) => false,
    };
    assert_eq!(said.is_about(offender), expected, "{keys:?}");
}
