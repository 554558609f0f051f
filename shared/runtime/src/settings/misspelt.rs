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
    let meant = |variable: String| {
        if settings.contains(&variable) {
            return None;
        }
        let upper = variable.to_ascii_uppercase();
        let distances = settings
            .iter()
            // Each start does this for every variable of Lambda, and a distance takes thousands of instructions.
            .filter(|setting| may_be_within(tolerance(setting), &upper, setting))
            .map(|setting| (strsim::osa_distance(&upper, setting), setting))
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

/// Whether two names can be so few edits apart, by the letters that each has and the other has not: an edit changes one.
fn may_be_within(edits: usize, one: &str, other: &str) -> bool {
    if one.len().abs_diff(other.len()) > edits {
        return false;
    }
    let mut surplus = [0_i8; 256];
    for byte in one.bytes() {
        if let Some(count) = surplus.get_mut(usize::from(byte)) {
            *count = count.saturating_add(1);
        }
    }
    for byte in other.bytes() {
        if let Some(count) = surplus.get_mut(usize::from(byte)) {
            *count = count.saturating_sub(1);
        }
    }
    let of_sign = |sign: i8| -> usize {
        let counts = surplus.iter().filter(|count| count.signum() == sign);
        counts.map(|count| usize::from(count.unsigned_abs())).sum()
    };
    of_sign(1).max(of_sign(-1)) <= edits
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
