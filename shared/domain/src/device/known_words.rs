//! The names of devices in which no word is a client's own.

use super::words::{
    BRANDS, BROWSERS, CLAIMED_BROWSERS, HANDHELD_SYSTEMS, HINTED_SYSTEMS, SYSTEMS_AFTER_ANDROID,
    SYSTEMS_BEFORE_ANDROID, SYSTEMS_BEFORE_TELEVISIONS, TELEVISIONS,
};

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
    match name.split_once(" on ") {
        Some((product, system)) => is_known_product(product) && is_known_system(system),
        None => is_known_product(name) || is_known_system(name),
    }
}

fn is_known_product(name: &str) -> bool {
    let rows = [BROWSERS, CLAIMED_BROWSERS, BRANDS].into_iter().flatten();
    name == "Safari" || rows.copied().any(|(_, known)| known == name)
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
    fn most_names_that_agents_tell_are_ours() {
        let lines = include_str!("../../data/user-agents.tsv").lines();
        let names = lines.filter_map(|line| line.split('\t').nth(1));
        let names: Vec<&str> = names.collect();
        let ours = names.iter().filter(|name| is_of_known_words(name)).count();
        assert!(ours * 2 > names.len(), "{ours} of {}", names.len());
    }
}
