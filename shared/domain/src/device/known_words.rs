//! The names of devices in which no word is a client's own.

use super::agent::is_known_product;
use super::words::{
    HANDHELD_SYSTEMS, HINTED_SYSTEMS, SYSTEMS_AFTER_ANDROID, SYSTEMS_BEFORE_ANDROID,
    SYSTEMS_BEFORE_TELEVISIONS, TELEVISIONS,
};

/// What stands between the browser or the app and the system.
const ON: &str = " on ";

/// Whether a name is made of the words of our tables alone, as those are that we read from agents. Then nobody has chosen
/// its words, whoever has chosen among them.
///
/// ```
/// use latchkey_domain::device::is_of_known_words;
///
/// assert!(is_of_known_words("Safari on iPhone"));
/// assert!(!is_of_known_words("Ada's phone"));
/// ```
#[must_use]
pub fn is_of_known_words(name: &str) -> bool {
    match name.contains(ON) {
        true => product_and_system(name).is_some(),
        false => is_known_product(name) || is_known_system(name),
    }
}

/// The two parts of a name of ours that has both, to be put together in another language. None for every other name.
///
/// ```
/// use latchkey_domain::device::product_and_system;
///
/// assert_eq!(product_and_system("Safari on iPhone"), Some(("Safari", "iPhone")));
/// assert_eq!(product_and_system("Kindle on the shelf"), None);
/// ```
#[must_use]
pub fn product_and_system(name: &str) -> Option<(&str, &str)> {
    let both = name.split_once(ON)?;
    let (product, system) = both;
    (is_known_product(product) && is_known_system(system)).then_some(both)
}

/// Whether a system of such a name runs on devices of many makes, or is one of them itself.
///
/// ```
/// use latchkey_domain::device::is_operating_system;
///
/// assert!(is_operating_system("Windows"));
/// assert!(!is_operating_system("iPhone"));
/// ```
#[must_use]
pub fn is_operating_system(system: &str) -> bool {
    let rows = SYSTEMS_AFTER_ANDROID.iter().map(|(_, known, _)| *known);
    let others = HANDHELD_SYSTEMS.iter().chain(HINTED_SYSTEMS);
    rows.chain(others.map(|(_, known)| *known))
        .any(|known| known == system)
}

fn is_known_system(name: &str) -> bool {
    let rows = [
        SYSTEMS_BEFORE_TELEVISIONS,
        TELEVISIONS,
        SYSTEMS_BEFORE_ANDROID,
        SYSTEMS_AFTER_ANDROID,
    ];
    let rows = rows.into_iter().flatten().map(|(_, known, _)| *known);
    let others = HANDHELD_SYSTEMS.iter().chain(HINTED_SYSTEMS);
    rows.chain(others.map(|(_, known)| *known))
        .any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{ClientHints, Device, UNKNOWN_DEVICE};

    #[test]
    fn words_of_a_client_are_not_ours_also_in_part() {
        for ours in ["Chrome on Windows", "Firefox", "iPad", "Edge on Android"] {
            assert!(is_of_known_words(ours), "{ours}");
        }
        for name in [
            "",
            "Buy now on Windows",
            "Chrome on Buy now",
            "Chrome on Windows on Windows",
            "chrome on windows",
            " Chrome",
            "Windows on Chrome",
        ] {
            assert!(!is_of_known_words(name), "{name}");
        }
    }

    #[test]
    fn a_name_of_ours_has_two_parts_to_be_put_together_in_another_language() {
        for (name, parts) in [
            ("Safari on iPhone", Some(("Safari", "iPhone"))),
            ("Safari", None),
            ("Safari on the shelf", None),
            ("Kindle on Windows", None),
        ] {
            assert_eq!(product_and_system(name), parts, "{name}");
        }
        let (systems, devices) = (["Windows", "Android", "ChromeOS"], ["iPhone", "Xbox", ""]);
        assert!(systems.iter().all(|system| is_operating_system(system)));
        assert!(!devices.iter().any(|device| is_operating_system(device)));
    }

    #[test]
    fn a_name_in_our_words_is_of_known_words_whatever_the_agent() {
        let lines = include_str!("../../data/user-agents.tsv").lines();
        let agents = lines.filter_map(|line| line.split('\t').next_back());
        let mut known = 0;
        for agent in agents {
            for brands in [
                None,
                Some("\"Chromium\";v=\"140\""),
                Some("\"Brave\";v=\"1\""),
            ] {
                let hints = ClientHints {
                    brands,
                    ..ClientHints::default()
                };
                let name = Device::name_in_our_words(Some(agent), hints);
                let is_known = is_of_known_words(&name);
                assert!(is_known || name == UNKNOWN_DEVICE, "{name}: {agent}");
                known += usize::from(is_known);
            }
        }
        assert!(known > 400, "{known}");
        for name in [
            "Android Browser on Android",
            "Chromium on Linux",
            "WhatsApp",
        ] {
            assert!(is_of_known_words(name), "{name}");
        }
    }
}
