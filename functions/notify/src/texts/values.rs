//! The values that texts can name.

use latchkey_domain::device::{
    DeviceType, UNKNOWN_DEVICE, is_operating_system, product_and_system,
};
use latchkey_domain::notice::{Language, Message, Notice, Whereabouts};
use serde::Serialize;

/// The values that every text has.
const OF_ALL: [&str; 8] = [
    "product",
    "account_url",
    "language",
    "time",
    "device",
    "place",
    "ip_address",
    "from_operator",
];
/// The values that only messages with a link have.
pub(super) const OF_LINKS: [&str; 2] = ["link", "valid_for"];

/// What only a message has that asks whose an account is.
const OF_VERIFICATION: [&str; 1] = ["created"];

/// The values that a text can name: of a message, or what all messages share.
pub(super) fn known(message: Option<Message>) -> Vec<&'static str> {
    let links = message.is_some_and(|message| message.link_lifetime().is_some());
    let of_links: &[&str] = if links { &OF_LINKS } else { &[] };
    let verifies = message == Some(Message::VerifyEmail);
    let of_verification: &[&str] = if verifies { &OF_VERIFICATION } else { &[] };
    let all = OF_ALL.iter().chain(of_links).chain(of_verification);
    all.copied().collect()
}

/// The values of one message.
#[derive(Debug, Default, Serialize)]
pub(super) struct Values {
    time: String,
    device: Option<String>,
    place: Option<String>,
    ip_address: Option<String>,
    from_operator: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_for: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
}

/// What may be missing, in the samples that texts are tried with.
pub(super) struct Sample {
    whereabouts: Option<(&'static str, &'static str)>,
}

/// One with everything, one with nothing that may be missing.
pub(super) const SAMPLES: [Sample; 2] = [
    Sample {
        whereabouts: Some(("Chrome on Windows", "Berlin, DE")),
    },
    Sample { whereabouts: None },
];

impl Values {
    pub(super) fn of(notice: &Notice, link: Option<&str>, language: Language) -> Self {
        let whereabouts = notice.whereabouts.as_ref();
        let lifetime = notice.message.link_lifetime();
        Self {
            time: language.write_time(notice.at),
            device: whereabouts.map(|place| name_device(place, language)),
            place: whereabouts.and_then(name_place),
            ip_address: whereabouts
                .and_then(|place| place.location.ip_address)
                .map(|address| address.to_string()),
            from_operator: notice.from_operator,
            link: link.map(str::to_owned),
            valid_for: lifetime.map(|lifetime| language.write_span(lifetime)),
            created: notice.account_created_at.map(|at| language.write_time(at)),
        }
    }

    pub(super) fn of_sample(message: Message, language: Language, sample: &Sample) -> Self {
        let lifetime = message.link_lifetime();
        let verifies = message == Message::VerifyEmail;
        Self {
            time: language.write_time(chrono::DateTime::UNIX_EPOCH),
            device: sample.whereabouts.map(|(device, _)| device.to_owned()),
            place: sample.whereabouts.map(|(_, place)| place.to_owned()),
            ip_address: sample.whereabouts.map(|_| "203.0.113.7".to_owned()),
            from_operator: sample.whereabouts.is_none(),
            link: lifetime.map(|_| "https://id.example.com/account".to_owned()),
            valid_for: lifetime.map(|lifetime| language.write_span(lifetime)),
            created: verifies.then(|| language.write_time(chrono::DateTime::UNIX_EPOCH)),
        }
    }
}

/// What the client calls the device, or we in the language of the mail; where that cannot be shown, its kind.
fn name_device(whereabouts: &Whereabouts, language: Language) -> String {
    let Some(name) = whereabouts.device.as_deref() else {
        return name_kind(whereabouts.device_type, language).to_owned();
    };
    let ours = product_and_system(name).map(|(product, system)| match language {
        Language::En => format!("{product} on {system}"),
        Language::De if is_operating_system(system) => format!("{product} unter {system}"),
        Language::De => format!("{product} auf {system}"),
    });
    ours.unwrap_or_else(|| name.to_owned())
}

fn name_kind(kind: DeviceType, language: Language) -> &'static str {
    let (en, de) = match kind {
        DeviceType::Desktop => ("A computer", "Ein Computer"),
        DeviceType::Mobile => ("A phone", "Ein Telefon"),
        DeviceType::Tablet => ("A tablet", "Ein Tablet"),
        DeviceType::Tv => ("A television", "Ein Fernseher"),
        DeviceType::Bot => ("A program", "Ein Programm"),
        DeviceType::Unknown => (UNKNOWN_DEVICE, "Unbekanntes Gerät"),
    };
    match language {
        Language::En => en,
        Language::De => de,
    }
}

fn name_place(whereabouts: &Whereabouts) -> Option<String> {
    let location = &whereabouts.location;
    match (&location.city, &location.country) {
        (Some(city), Some(country)) => Some(format!("{city}, {country}")),
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (None, None) => None,
    }
}
