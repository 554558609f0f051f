//! Variables whose name is close to a setting's: probably the setting was meant, and has no effect.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::{
    AuthorizerSettings, EventsSettings, Format, LogSettings, MailSettings, MetricsSettings,
    PagesSettings, Settings, StorageSettings,
};

/// A variable that is set, and the setting that was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misspelt {
    /// The name as it is set.
    pub variable: String,
    /// The name of the setting.
    pub setting: String,
}

/// The names of all settings: what the readers ask for when nothing is set.
#[must_use]
pub fn names() -> BTreeSet<String> {
    let names = RefCell::new(BTreeSet::new());
    let lookup = |name: &str| {
        names.borrow_mut().insert(name.to_owned());
        None
    };
    drop(Settings::read(lookup));
    drop(StorageSettings::read(lookup));
    drop(MetricsSettings::read(lookup));
    drop(AuthorizerSettings::read(lookup));
    drop(EventsSettings::read(lookup));
    drop(MailSettings::read(lookup));
    drop(PagesSettings::read(lookup));
    drop(LogSettings::read(lookup, Format::Text));
    names.into_inner()
}

/// The variables of an environment that are no settings but have nearly the name of one.
#[must_use]
pub fn misspelt(variables: impl IntoIterator<Item = String>) -> Vec<Misspelt> {
    let settings = names();
    let lettered: Vec<_> = settings.iter().map(|name| (letters(name), name)).collect();
    let meant = |variable: String| {
        if settings.contains(&variable) {
            return None;
        }
        let upper = variable.to_ascii_uppercase();
        let has = letters(&upper);
        let distances = lettered
            .iter()
            // Each start does this for every variable of Lambda, and a distance takes thousands of instructions.
            .filter(|(letters, setting)| {
                upper.len().abs_diff(setting.len()) <= tolerance(setting)
                    && may_be_within(tolerance(setting), has, *letters)
            })
            .map(|(_, setting)| (strsim::osa_distance(&upper, setting), *setting))
            .filter(|(distance, setting)| *distance <= tolerance(setting));
        let (_, setting) = distances.min()?;
        Some(Misspelt {
            setting: setting.clone(),
            variable,
        })
    };
    variables.into_iter().filter_map(meant).collect()
}

/// Logs a warning for each variable of the environment that is probably a misspelt setting.
pub fn warn_of_misspelt(variables: impl IntoIterator<Item = String>) {
    for Misspelt { variable, setting } in misspelt(variables) {
        tracing::warn!(
            variable,
            setting,
            "{variable} is set but is not a setting; {setting} may be meant"
        );
    }
}

/// Which letters and digits a name in upper case has, a bit for each.
fn letters(name: &str) -> u64 {
    name.bytes().fold(0, |set, byte| set | 1 << (byte % 64))
}

/// Whether names with these letters can be so few edits apart: an edit takes one letter away, adds one, or does both.
fn may_be_within(edits: usize, one: u64, other: u64) -> bool {
    (one ^ other).count_ones() as usize <= 2 * edits
}

/// How many edits away a name still looks like a setting's. Short names are close to too many others.
fn tolerance(setting: &str) -> usize {
    if setting.len() < 12 { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(variable: &str) -> Option<String> {
        let mut found = misspelt([variable.to_owned()]);
        found.pop().map(|found| found.setting)
    }

    #[test]
    fn a_name_close_to_a_setting_names_the_setting() {
        for (variable, setting) in [
            ("MAX_SESSION", "MAX_SESSIONS"),
            ("max_sessions", "MAX_SESSIONS"),
            ("MAXSESSIONS", "MAX_SESSIONS"),
            ("ALOWED_ORIGIN", "ALLOWED_ORIGINS"),
            ("ACCESS_TOKEN_SECOND", "ACCESS_TOKEN_SECONDS"),
            ("REFRESH_GARCE_SECONDS", "REFRESH_GRACE_SECONDS"),
            ("ISUER", "ISSUER"),
            ("TOKEN_SECRETS", "TOKEN_SECRET"),
            ("EDGE_SECRETS", "EDGE_SECRET"),
            ("ONE_SESSION_PER_DEVICES", "ONE_SESSION_PER_DEVICE"),
            ("AWS_LAMBDA_LOGLEVEL", "AWS_LAMBDA_LOG_LEVEL"),
        ] {
            assert_eq!(meant(variable).as_deref(), Some(setting), "{variable}");
        }
    }

    #[test]
    fn each_name_with_a_letter_too_few_another_or_two_swapped_is_found() {
        for name in names() {
            for at in 1..name.len() {
                let (before, after) = name.split_at(at);
                let (last, before) = (&before[at - 1..], &before[..at - 1]);
                for variable in [
                    format!("{before}{after}"),
                    format!("{before}Q{after}"),
                    format!("{before}{}{last}{}", &after[..1], &after[1..]),
                ] {
                    let found = meant(&variable);
                    assert!(found.is_some() || names().contains(&variable), "{variable}");
                }
            }
        }
    }

    #[test]
    fn a_setting_is_not_misspelt_and_neither_are_the_variables_of_lambda_and_shells() {
        for name in names() {
            assert_eq!(meant(&name), None, "{name}");
        }
        for variable in [
            "AWS_ACCESS_KEY_ID",
            "AWS_DEFAULT_REGION",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            "AWS_EXECUTION_ENV",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            "AWS_LAMBDA_FUNCTION_VERSION",
            "AWS_LAMBDA_INITIALIZATION_TYPE",
            "AWS_LAMBDA_LOG_GROUP_NAME",
            "AWS_LAMBDA_LOG_STREAM_NAME",
            "AWS_LAMBDA_RUNTIME_API",
            "AWS_PROFILE",
            "AWS_REGION",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_XRAY_CONTEXT_MISSING",
            "HOME",
            "LAMBDA_TASK_ROOT",
            "LANG",
            "LOGNAME",
            "NO_COLOR",
            "PATH",
            "PWD",
            "SETTINGS_VERSION",
            "STAGE_NAME",
            "TERM",
            "TZ",
            "USER",
            "_HANDLER",
            "_X_AMZN_TRACE_ID",
        ] {
            assert_eq!(meant(variable), None, "{variable}");
        }
    }
}
