//! What the function that publishes events needs in addition to the table.

use chrono::TimeDelta;
use latchkey_domain::activity::{DEFAULT_ACTIVITY_DAYS, MOST_ACTIVITY_DAYS};

use super::{SettingsError, reader::Reader};

/// Where events go, and how long users see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsSettings {
    /// `EVENT_BUS_NAME`: the name or the ARN of an EventBridge bus.
    pub bus_name: String,
    /// `AWS_ENDPOINT_URL_EVENTBRIDGE`: another EventBridge than that of the region.
    pub endpoint: Option<String>,
    /// `ACTIVITY_DAYS`: how long an entry of a user's activity is kept; zero writes none.
    pub activity_retention: TimeDelta,
}

impl EventsSettings {
    /// Reads the settings with `lookup`, which gives the value of a variable.
    ///
    /// # Errors
    /// [`SettingsError`], with every variable that is missing or wrong.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(&lookup);
        let settings = Self {
            bus_name: reader.word("EVENT_BUS_NAME"),
            endpoint: reader.optional("AWS_ENDPOINT_URL_EVENTBRIDGE"),
            activity_retention: activity_retention(&mut reader),
        };
        reader.finish(settings)
    }
}

/// How long an entry of a user's activity is kept: all that the local stack reads of these settings.
///
/// # Errors
/// [`SettingsError`] if it is wrong.
pub fn read_activity_retention(
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<TimeDelta, SettingsError> {
    let mut reader = Reader::new(&lookup);
    let retention = activity_retention(&mut reader);
    reader.finish(retention)
}

fn activity_retention(reader: &mut Reader<'_>) -> TimeDelta {
    let days = reader.within(
        "ACTIVITY_DAYS",
        DEFAULT_ACTIVITY_DAYS,
        0,
        MOST_ACTIVITY_DAYS,
    );
    TimeDelta::days(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activity_is_kept_for_ninety_days_or_for_as_long_as_is_set() {
        let read = |days: Option<&str>| {
            let days = days.map(str::to_owned);
            read_activity_retention(|name| days.clone().filter(|_| name == "ACTIVITY_DAYS"))
        };
        assert_eq!(read(None), Ok(TimeDelta::days(90)));
        assert_eq!(read(Some("0")), Ok(TimeDelta::zero()));
        assert_eq!(read(Some("3660")), Ok(TimeDelta::days(3_660)));
        for wrong in ["-1", "3661", "1.5", "x"] {
            let message = read(Some(wrong)).unwrap_err().to_string();
            assert!(message.contains("ACTIVITY_DAYS is not a whole number from 0 to 3660"));
        }
    }
}
