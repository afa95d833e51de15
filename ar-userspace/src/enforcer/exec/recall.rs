//! Bans that an earlier daemon's executables made: what is needed to reverse them, from what the ledger remembers.

use std::sync::Arc;

use super::Programs;
use super::wire::Call;
use crate::config::{Config, Enforcement, Executable};
use crate::ledger::Record;

impl Programs {
    /// Takes over bans that an earlier daemon's executables made. Their alerts are not known any more.
    pub fn recall(&mut self, records: impl IntoIterator<Item = Record>, config: &Config) {
        for record in records {
            let Some(ban) = record.ban else { continue };
            if ban.enforcement != Enforcement::Program {
                continue;
            }
            let responses = || {
                let programs = config.responses.iter();
                programs.filter(|response| is_key_of(&record.key.executable, &response.executable))
            };
            // The longest name: `deny-all` and not `deny` made `deny-all-root`.
            let longest = responses().max_by_key(|response| response.executable.name().len());
            let same = |name: &Executable| {
                responses().find(|response| {
                    response.executable == *name && response.index == ban.response as usize
                })
            };
            let program = longest.map_or_else(
                || record.key.executable.clone(),
                |response| response.executable.clone(),
            );
            let response = same(&program).or(longest);
            let keys = record.key.executable.name().strip_prefix(program.name());
            let user = keys.and_then(|keys| keys.strip_prefix('-'));
            if user.is_some() {
                self.others
                    .insert(record.key.executable.clone(), record.key.offender);
            }
            let call = Call {
                extra_args: response.map_or(Arc::new([]), |response| {
                    response.extra_args.as_slice().into()
                }),
                program,
                alert: "".into(),
                offender: record.key.offender,
                user: user.map(Box::from),
                rule_id: ban.rule_id,
                alert_id: ban.alert_id,
            };
            self.holds.keep(record.key, Arc::new(call.reduced()));
        }
    }
}

/// Whether a key of the ledger's can be one of this executable.
fn is_key_of(key: &Executable, program: &Executable) -> bool {
    let rest = key.name().strip_prefix(program.name());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}
