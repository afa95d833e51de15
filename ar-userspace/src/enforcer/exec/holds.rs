//! What is needed to reverse each ban that an executable made: its call, with the alert of the `add`.
//!
//! Alerts are kept within a bound of bytes. Over it, a ban is kept with a reduced alert, which has the
//! rule, the identifier and the address: enough to reverse it, and no ban is ever forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::wire::Call;
use crate::ledger::Key;

/// Bytes of alerts that are kept: some 40,000 alerts of the usual length.
const ALERT_BYTES: usize = 64 * 1024 * 1024;

/// The calls by the ledger's key.
#[derive(Debug)]
pub struct Holds {
    calls: BTreeMap<Key, Arc<Call>>,
    bytes: usize,
    most: usize,
}

impl Default for Holds {
    fn default() -> Self {
        Self::new(ALERT_BYTES)
    }
}

impl Holds {
    fn new(most: usize) -> Self {
        Self {
            calls: BTreeMap::new(),
            bytes: 0,
            most,
        }
    }

    /// Keeps the call that made a ban.
    pub fn keep(&mut self, key: Key, call: Arc<Call>) {
        self.take(&key);
        let call = if self.bytes + call.alert.len() > self.most {
            Arc::new(call.reduced())
        } else {
            call
        };
        self.bytes += call.alert.len();
        self.calls.insert(key, call);
    }

    /// Takes out the call that made a ban; `None` when an executable made none.
    pub fn take(&mut self, key: &Key) -> Option<Arc<Call>> {
        let call = self.calls.remove(key)?;
        self.bytes -= call.alert.len();
        Some(call)
    }

    /// The call that made a ban.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Arc<Call>> {
        self.calls.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Executable;
    use crate::ledger::AlertId;

    fn call(last: u8, alert: &str) -> (Key, Arc<Call>) {
        let key = Key {
            offender: format!("198.51.100.{last}").parse().unwrap(),
            executable: Executable::new("deny"),
        };
        let call = Call {
            program: key.executable.clone(),
            extra_args: Arc::new([]),
            alert: alert.into(),
            offender: key.offender,
            user: None,
            rule_id: 7,
            alert_id: AlertId::new("1.2"),
        };
        (key, Arc::new(call))
    }

    /// AR-IMP-9
    #[test]
    fn over_the_bound_alerts_are_kept_reduced_and_no_ban_is_forgotten() {
        let mut holds = Holds::new(100);
        let long = format!(r#"{{"full_log":"{}"}}"#, "x".repeat(70));
        for last in 1..=2 {
            let (key, call) = call(last, &long);
            holds.keep(key, call);
        }
        let (first, _) = call(1, "");
        let (second, _) = call(2, "");
        assert_eq!(*holds.take(&first).unwrap().alert, *long);
        assert_eq!(
            &*holds.take(&second).unwrap().alert,
            r#"{"rule":{"id":"7"},"id":"1.2","data":{"srcip":"198.51.100.2"}}"#
        );
        assert_eq!((holds.bytes, holds.calls.len()), (0, 0));
    }
}
