//! What the function that publishes events needs in addition to the table.

use super::{SettingsError, reader::Reader};

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsSettings {
    /// `EVENT_BUS_NAME`: the name or the ARN of an EventBridge bus.
    pub bus_name: String,
    /// `AWS_ENDPOINT_URL_EVENTBRIDGE`: another EventBridge than that of the region.
    pub endpoint: Option<String>,
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
        };
        reader.finish(settings)
    }
}
