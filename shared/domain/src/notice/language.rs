//! The languages that mails are written in.

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};

/// A language that there are texts in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// English.
    #[default]
    En,
    /// German.
    De,
}

const MONTHS_EN: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const MONTHS_DE: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::En, Self::De];

    /// Its tag (BCP 47), and the folder of its texts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
        }
    }

    /// A span of time in words: whole hours if it is some, else minutes.
    ///
    /// ```
    /// use chrono::TimeDelta;
    /// use latchkey_domain::notice::Language;
    ///
    /// assert_eq!(Language::En.write_span(TimeDelta::minutes(10)), "10 minutes");
    /// assert_eq!(Language::De.write_span(TimeDelta::hours(24)), "24 Stunden");
    /// ```
    #[must_use]
    pub fn write_span(self, span: TimeDelta) -> String {
        let (hours, minutes) = (span.num_hours(), span.num_minutes());
        let in_hours = hours > 0 && TimeDelta::hours(hours) == span;
        match (self, in_hours) {
            (Self::En, true) if hours == 1 => "1 hour".to_owned(),
            (Self::En, true) => format!("{hours} hours"),
            (Self::En, false) if minutes == 1 => "1 minute".to_owned(),
            (Self::En, false) => format!("{minutes} minutes"),
            (Self::De, true) if hours == 1 => "1 Stunde".to_owned(),
            (Self::De, true) => format!("{hours} Stunden"),
            (Self::De, false) if minutes == 1 => "1 Minute".to_owned(),
            (Self::De, false) => format!("{minutes} Minuten"),
        }
    }

    /// A time as people write it, to the minute, in UTC: nobody knows where the reader is.
    ///
    /// ```
    /// use latchkey_domain::notice::Language;
    ///
    /// let time = "2026-03-01T09:05:59Z".parse().unwrap();
    /// assert_eq!(Language::En.write_time(time), "1 March 2026 at 09:05 UTC");
    /// assert_eq!(Language::De.write_time(time), "1. März 2026 um 09:05 Uhr (UTC)");
    /// ```
    #[must_use]
    pub fn write_time(self, time: DateTime<Utc>) -> String {
        let (year, day) = (time.year(), time.day());
        let (hour, minute) = (time.hour(), time.minute());
        let month = |names: [&'static str; 12]| {
            let index = usize::try_from(time.month0()).unwrap_or_default();
            names.get(index).copied().unwrap_or_default()
        };
        match self {
            Self::En => {
                let month = month(MONTHS_EN);
                format!("{day} {month} {year} at {hour:02}:{minute:02} UTC")
            }
            Self::De => {
                let month = month(MONTHS_DE);
                format!("{day}. {month} {year} um {hour:02}:{minute:02} Uhr (UTC)")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_whole_hours_is_written_in_hours_and_any_other_in_minutes() {
        for (minutes, en, de) in [
            (0, "0 minutes", "0 Minuten"),
            (1, "1 minute", "1 Minute"),
            (59, "59 minutes", "59 Minuten"),
            (60, "1 hour", "1 Stunde"),
            (61, "61 minutes", "61 Minuten"),
            (120, "2 hours", "2 Stunden"),
        ] {
            let written = Language::ALL.map(|one| one.write_span(TimeDelta::minutes(minutes)));
            assert_eq!(written, [en, de]);
        }
    }

    #[test]
    fn a_time_is_written_to_the_minute_in_the_words_of_its_language() {
        let time = "2026-12-01T09:05:59Z".parse().unwrap();
        let written = Language::ALL.map(|one| (one.as_str(), one.write_time(time)));
        let [en, de] = [
            ("en", "1 December 2026 at 09:05 UTC"),
            ("de", "1. Dezember 2026 um 09:05 Uhr (UTC)"),
        ];
        assert_eq!(written, [en, de].map(|(tag, text)| (tag, text.to_owned())));
    }
}
