//! Reads a `User-Agent`: the system, whether it is a program without a person, the browser or app.

use super::DeviceType;
use super::hints::{Brand, ClientHints};
use super::words::{
    BEGINNINGS, BOT_ENDINGS, BOT_PARTS, BOTS, BRANDS, BROWSERS, CLAIMED_BROWSERS, ENGINES,
    GENERAL_SYSTEMS, GIVEN_PRODUCTS, HANDHELD_SYSTEMS, SYSTEMS_AFTER_ANDROID,
    SYSTEMS_BEFORE_ANDROID, SYSTEMS_BEFORE_TELEVISIONS, SYSTEMS_WITH_SAFARI, SystemRow, TABLETS,
    TELEVISIONS,
};

/// The longest product name, in characters, that is taken from an agent. A longer one names nothing.
const MAX_PRODUCT_CHARS: usize = 60;

/// The name and the kind of device that an agent and the client hints tell.
pub(super) fn read(text: &str, hints: ClientHints<'_>) -> (Option<String>, DeviceType) {
    read_products(text, hints, |_| true)
}

/// The same name, made of words of our tables alone: an agent and a brand may hold any text.
pub(super) fn read_known_words(text: &str, hints: ClientHints<'_>) -> Option<String> {
    let (name, _) = read_products(text, hints, is_known_product);
    name
}

/// Whether a product has this name in our tables.
pub(super) fn is_known_product(product: &str) -> bool {
    let tables = [BROWSERS, CLAIMED_BROWSERS, BRANDS];
    let mut rows = tables.iter().flat_map(|table| table.iter());
    rows.any(|(_, name)| *name == product)
        || BOTS.contains(&product)
        || GIVEN_PRODUCTS.contains(&product)
}

/// What the two tell, with those products alone that `is_told`.
fn read_products(
    text: &str,
    hints: ClientHints<'_>,
    is_told: impl Fn(&str) -> bool,
) -> (Option<String>, DeviceType) {
    let told = |product: Option<String>| product.filter(|product| is_told(product));
    let agent = Agent::new(text);
    let system = agent.system(hints);
    if let Some(name) = agent.bot(system).or_else(|| hinted_bot(hints)) {
        return (told(Some(name)), DeviceType::Bot);
    }
    let device_type = match system {
        Some(system) => system.device_type,
        None if hints.is_mobile() == Some(true) || agent.says_mobile() => DeviceType::Mobile,
        None => DeviceType::Unknown,
    };
    let product = agent.product(system);
    let product = match hints.brand() {
        Some(Brand::Named(name)) => Some(name),
        // Chromium says in its agent that it is Chrome, and the hints tell the two apart.
        Some(Brand::Chromium) if product.as_deref() == Some("Chrome") => {
            Some("Chromium".to_owned())
        }
        Some(Brand::Chromium) | None => product,
    };
    (name(told(product), system), device_type)
}

fn name(product: Option<String>, system: Option<System>) -> Option<String> {
    match (product, system) {
        // "Meta Quest Browser on Meta Quest" would tell nothing more.
        (Some(product), Some(system))
            if product.eq_ignore_ascii_case(system.name)
                || (product.contains(system.name) && !GENERAL_SYSTEMS.contains(&system.name)) =>
        {
            Some(product)
        }
        (Some(product), Some(system)) => Some(format!("{product} on {}", system.name)),
        (Some(product), None) => Some(product),
        (None, Some(system)) => Some(system.name.to_owned()),
        (None, None) => None,
    }
}

fn hinted_bot(hints: ClientHints<'_>) -> Option<String> {
    match hints.brand()? {
        Brand::Named(name) => BOTS.contains(&name.as_str()).then_some(name),
        Brand::Chromium => None,
    }
}

#[derive(Clone, Copy)]
struct System {
    name: &'static str,
    device_type: DeviceType,
}

struct Agent<'a> {
    text: &'a str,
    /// The part that may name a system, in lower case.
    about_the_system: String,
    /// Begins as browsers do. Others begin with the name of an app.
    is_browser: bool,
}

impl<'a> Agent<'a> {
    fn new(text: &'a str) -> Self {
        let is_browser = BEGINNINGS
            .iter()
            .any(|beginning| text.starts_with(beginning));
        // An app called "Xbox" runs on a phone, so an app's name does not count, unless a browser's agent follows.
        let about_the_system = if is_browser || text.contains(" Mozilla/") {
            text
        } else {
            text.find(|c: char| "/(;".contains(c) || c.is_ascii_digit())
                .and_then(|end_of_name| text.get(end_of_name..))
                .unwrap_or_default()
        };
        Self {
            text,
            about_the_system: about_the_system.to_ascii_lowercase(),
            is_browser,
        }
    }

    // ---- Systems ----------------------------------------------------------------------------------

    fn system(&self, hints: ClientHints<'_>) -> Option<System> {
        let told = self.told_system(hints);
        let Some(hinted) = hints.system() else {
            return told;
        };
        match told {
            Some(told) if told.name == hinted || !GENERAL_SYSTEMS.contains(&told.name) => {
                Some(told)
            }
            _ => Some(System {
                name: hinted,
                device_type: match hinted {
                    "Android" => self.handheld_type(hints),
                    "iOS" => DeviceType::Mobile,
                    _ => DeviceType::Desktop,
                },
            }),
        }
    }

    fn told_system(&self, hints: ClientHints<'_>) -> Option<System> {
        // Browsers on an iPad ask for desktop sites and say Macintosh, but no Mac has a CriOS or a Mobile.
        let is_macintosh = self.text.contains("Macintosh");
        if is_macintosh && (self.text.contains("iOS/") || self.text.contains(" Mobile/")) {
            return Some(System {
                name: "iPad",
                device_type: DeviceType::Tablet,
            });
        }
        self.first_system(SYSTEMS_BEFORE_TELEVISIONS)
            .or_else(|| self.television())
            .or_else(|| self.first_system(SYSTEMS_BEFORE_ANDROID))
            .or_else(|| self.handheld_system(hints))
            .or_else(|| {
                self.first_system(SYSTEMS_AFTER_ANDROID)
                    .map(|system| self.phone_or(system))
            })
            .or_else(|| self.mac_with_intel())
    }

    /// `CFNetwork` runs on iPhones too, but none has an Intel processor.
    fn mac_with_intel(&self) -> Option<System> {
        let is_intel = self.has_word("x86_64") || self.has_word("i386");
        (self.has_word("darwin") && is_intel).then_some(System {
            name: "macOS",
            device_type: DeviceType::Desktop,
        })
    }

    fn first_system(&self, table: &'static [SystemRow]) -> Option<System> {
        let (_, name, device_type) = table.iter().find(|(word, ..)| self.has_word(word))?;
        Some(System {
            name,
            device_type: *device_type,
        })
    }

    fn television(&self) -> Option<System> {
        let television = |name| System {
            name,
            device_type: DeviceType::Tv,
        };
        if self.has_amazons_model("AFT") {
            return Some(television("Fire TV"));
        }
        let found = self.first_system(TELEVISIONS);
        if found.is_some() || self.has_word("windows") || self.has_word("macintosh") {
            return found;
        }
        let is_told = self.has_whole_word("tv") || self.model_words().any(is_television_model);
        is_told.then(|| television("smart TV"))
    }

    /// Amazon's models are all capitals: `AFTMM` is a television, `KFMAWI` a tablet.
    fn has_amazons_model(&self, beginning: &str) -> bool {
        self.text.match_indices(beginning).any(|(at, _)| {
            let before = self.text.get(..at).unwrap_or_default();
            let model = self.text.get(at + beginning.len()..).unwrap_or_default();
            before.trim_end().ends_with(';')
                && model.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit())
        })
    }

    fn handheld_system(&self, hints: ClientHints<'_>) -> Option<System> {
        let (_, name) = HANDHELD_SYSTEMS
            .iter()
            .find(|(word, _)| self.has_word(word))?;
        if *name == "Android" && self.has_amazons_model("KF") {
            return Some(System {
                name: "Fire tablet",
                device_type: DeviceType::Tablet,
            });
        }
        let device_type = match (*name, self.handheld_type(hints)) {
            // Tizen runs refrigerators too: what does not say that it is a phone is none.
            ("Tizen", found) if found != DeviceType::Mobile => DeviceType::Unknown,
            (_, found) => found,
        };
        Some(System { name, device_type })
    }

    /// A browser on a phone says "Mobile" and on a tablet often does not; words of tablets count in any case. An app
    /// says what it likes, so it is taken for a phone's.
    fn handheld_type(&self, hints: ClientHints<'_>) -> DeviceType {
        if self.has_word("pc;") || self.has_word("2in1") || self.has_word("chromebook") {
            DeviceType::Desktop
        } else if self.model_words().any(is_watch_model) {
            DeviceType::Unknown
        } else if self.says_tablet() || (self.is_browser && !self.says_phone(hints)) {
            DeviceType::Tablet
        } else {
            DeviceType::Mobile
        }
    }

    fn says_tablet(&self) -> bool {
        TABLETS.iter().any(|word| self.has_word(word)) || self.model_words().any(is_tablet_model)
    }

    /// The words of the first comment, where an agent names its device, and of all of an app's agent.
    fn model_words(&self) -> impl Iterator<Item = &str> {
        let text = self.about_the_system.as_str();
        let comment = || text.split_once('(')?.1.split(')').next();
        let models = if self.is_browser {
            comment().unwrap_or_default()
        } else {
            text
        };
        models.split(|c: char| !(c.is_alphanumeric() || c == '-'))
    }

    fn says_phone(&self, hints: ClientHints<'_>) -> bool {
        hints.is_mobile() == Some(true)
            || self.says_mobile()
            || self.has_word("phone")
            || self.has_word("opera mini")
    }

    fn says_mobile(&self) -> bool {
        self.has_whole_word("mobile") || self.has_word("midp")
    }

    /// A system of desktops on a device whose browser says that it is a phone.
    fn phone_or(&self, system: System) -> System {
        let device_type = if system.name == "Linux" && self.says_mobile() {
            DeviceType::Mobile
        } else {
            system.device_type
        };
        System {
            device_type,
            ..system
        }
    }

    /// Whether the agent holds a word, not as the end of a longer one: "ios" is in "(iOS 17)", not in "CriOS".
    fn has_word(&self, word: &str) -> bool {
        let text = &self.about_the_system;
        text.match_indices(word)
            .any(|(at, _)| !ends_in_letter_or_digit(text.get(..at)))
    }

    /// Whether the agent holds a word, alone or with a number: "tv" is in "TV1", not in "TVApp".
    fn has_whole_word(&self, word: &str) -> bool {
        let text = &self.about_the_system;
        text.match_indices(word).any(|(at, _)| {
            let after = text.get(at + word.len()..).unwrap_or_default();
            let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
            !ends_in_letter_or_digit(text.get(..at)) && !after.starts_with(char::is_alphanumeric)
        })
    }

    // ---- Programs without a person -----------------------------------------------------------------

    fn bot(&self, system: Option<System>) -> Option<String> {
        if let Some(known) = BOTS.iter().find(|name| self.text.contains(**name)) {
            return Some((*known).to_owned());
        }
        // Crawlers give a link to what they are, by custom with a plus. Browsers give none.
        if let Some(at) = self.text.find("+http").or_else(|| self.text.find("+www.")) {
            return Some(self.product_before(at));
        }
        let on_a_phone = system.is_some_and(|found| {
            matches!(found.device_type, DeviceType::Mobile | DeviceType::Tablet)
        });
        // An app for phones may be called "Chatbot": a crawler that plays a phone plays its browser.
        if !self.is_browser && (on_a_phone || self.text.contains("CFNetwork/")) {
            return None;
        }
        // The agent of the messenger's own link preview; in its app it says Mozilla.
        if self.text.starts_with("WhatsApp/") {
            return Some("WhatsApp".to_owned());
        }
        // A phone may be called "X Bot", so Android's models do not count.
        let about_the_program = match self.text.split_once(')') {
            Some((_, rest)) if system.is_some_and(|found| found.name == "Android") => rest,
            _ => self.text,
        };
        word_of_a_bot(about_the_program)
            .or_else(|| self.product_with_a_link(system))
            .or_else(|| self.product_without_a_system(system))
    }

    fn product_with_a_link(&self, system: Option<System>) -> Option<String> {
        let at = self
            .text
            .find("http://")
            .or_else(|| self.text.find("https://"))?;
        let before = self.text.get(..at).unwrap_or_default();
        let in_a_comment = before.rfind('(') > before.rfind(')');
        let is_crawler = if self.is_browser {
            // Programs that added themselves to Internet Explorer gave links.
            !self.text.contains("MSIE ")
        } else {
            in_a_comment && system.is_none()
        };
        is_crawler.then(|| self.product_before(at))
    }

    /// The product that a link belongs to: the app, or what stands before the link in its comment.
    fn product_before(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or_default();
        let comment = before.rsplit(['(', ')']).next().unwrap_or_default();
        let named = if self.is_browser {
            comment
                .split(';')
                .map(str::trim)
                .filter(|part| !part.eq_ignore_ascii_case("compatible"))
                .find_map(app)
                .or_else(|| outside_comments(before))
        } else {
            app(self.text)
        };
        named.unwrap_or_else(|| "Bot".to_owned())
    }

    /// `Mozilla/5.0 (compatible; Name/1.0)`: a browser names its system.
    fn product_without_a_system(&self, system: Option<System>) -> Option<String> {
        let (_, rest) = self.text.split_once("compatible; ")?;
        if system.is_some() || !self.is_browser || first_browser(self.text, BROWSERS).is_some() {
            return None;
        }
        let part = rest.split([';', ')', ',']).next()?;
        part.contains('/').then(|| app(part))?
    }

    // ---- Browsers and apps -------------------------------------------------------------------------

    fn product(&self, system: Option<System>) -> Option<String> {
        if self.is_browser {
            self.browser(system)
        } else {
            app(self.text)
        }
    }

    fn browser(&self, system: Option<System>) -> Option<String> {
        let text = self.text;
        if let Some(name) = first_browser(text, BROWSERS) {
            return Some(name.to_owned());
        }
        // On Apple's phones only browsers say Safari.
        let is_apples_web_view = text.contains("like Mac OS X") && !text.contains("Safari/");
        if is_apples_web_view || text.contains("; wv)") || text.contains("Electron/") {
            return Some(outside_comments(text).unwrap_or_else(|| "App".to_owned()));
        }
        let claimed = first_browser(text, CLAIMED_BROWSERS);
        claimed.or_else(|| self.safari(system)).map(str::to_owned)
    }

    /// All browsers say Safari, so it is one only where there is a Safari. Android's first browser names itself so too.
    fn safari(&self, system: Option<System>) -> Option<&'static str> {
        let system = system?.name;
        if !self.text.contains("Safari/") {
            None
        } else if SYSTEMS_WITH_SAFARI.contains(&system) {
            Some("Safari")
        } else {
            (system == "Android" && self.text.contains("Version/")).then_some("Android Browser")
        }
    }
}

fn ends_in_letter_or_digit(text: Option<&str>) -> bool {
    text.is_some_and(|text| text.ends_with(char::is_alphanumeric))
}

/// Whether a word of a model, in lower case, is a television's: `EX-LED32` names its screen and the inches.
fn is_television_model(word: &str) -> bool {
    let number = word.split_once("led").map_or("", |(_, number)| number);
    number.len() >= 2 && number.bytes().take(2).all(|byte| byte.is_ascii_digit())
}

/// Whether a word of a model, in lower case, is a watch's: "ticwatch", Samsung's `SM-R890`.
fn is_watch_model(word: &str) -> bool {
    word.ends_with("watch") || word.starts_with("sm-r")
}

/// Whether a word of a model, in lower case, is a tablet's: "matepad", "pad", "tab7", Huawei's `AGS2-W09`, Lenovo's
/// `TB310FU`.
fn is_tablet_model(word: &str) -> bool {
    let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let has_number = |beginning: &str| {
        word.strip_prefix(beginning)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let is_huaweis = word.split_once("-w").is_some_and(|(_, number)| {
        number.len() >= 2 && number.bytes().take(2).all(|byte| byte.is_ascii_digit())
    });
    stem.ends_with("pad") || stem == "tab" || has_number("tb") || is_huaweis
}

/// The word that says it, without links: `http://www.example.com/bot.html` names nothing.
fn word_of_a_bot(text: &str) -> Option<String> {
    let is_link = |part: &&str| part.contains("://") || part.contains("www.");
    let parts = text.split([' ', ';', ')', '(', ',']);
    let mut words = parts
        .filter(|part| !is_link(part))
        .flat_map(|part| part.split(|c: char| !(c.is_alphanumeric() || "-_.".contains(c))));
    let word = words.find(|word| word.split(['-', '_', '.']).any(says_bot))?;
    Some(product_name(word.trim_matches('.')).unwrap_or_else(|| "Bot".to_owned()))
}

fn says_bot(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
    // Cubot makes Android phones.
    word != "cubot"
        && (BOT_ENDINGS.iter().any(|ending| word.ends_with(ending))
            || BOT_PARTS.iter().any(|part| word.contains(part)))
}

fn first_browser(text: &str, table: &[(&str, &'static str)]) -> Option<&'static str> {
    let (_, name) = table.iter().find(|(mark, _)| text.contains(mark))?;
    Some(name)
}

/// The first product outside comments that is not every browser's: `.. Slack/4.38 Chrome/124 Electron/30 ..`
fn outside_comments(text: &str) -> Option<String> {
    let mut depth = 0_usize;
    let mut outside = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => outside.push(c),
            _ => {}
        }
    }
    outside
        .split_whitespace()
        .filter_map(|product| product.split_once('/'))
        .filter(|(name, _)| !ENGINES.contains(name))
        .find_map(|(name, _)| product_name(name))
}

/// What an agent without a browser begins with: `curl/8.5.0`, `My App/3.1 (iPhone; iOS 17.4)`, `node`.
fn app(text: &str) -> Option<String> {
    let beginning = text.split(['/', '(', ';', ':']).next()?;
    // CFNetwork escapes the spaces of an app's name.
    let beginning = beginning.replace("%20", " ");
    let is_link = |word: &str| matches!(word.trim_start_matches('+'), "http" | "https");
    let mut words = beginning
        .split_whitespace()
        .take_while(|word| !is_link(word));
    let first = words.next()?;
    // `Instagram 309.0 Android (..)`: a word that begins with a digit is a version.
    let others = words.take_while(|word| !word.starts_with(|c: char| c.is_ascii_digit()));
    let name = std::iter::once(first)
        .chain(others)
        .collect::<Vec<_>>()
        .join(" ");
    if name == "Dalvik" {
        // Android's own runtime, for an app that does not name itself.
        return Some("App".to_owned());
    }
    product_name(&name)
}

/// A text that can be the name of a product: short, with a letter, made of what such names are made of.
pub(super) fn product_name(text: &str) -> Option<String> {
    let is_name = text.chars().count() <= MAX_PRODUCT_CHARS
        && text.chars().any(char::is_alphabetic)
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || " ._-+!@".contains(c));
    is_name.then(|| text.to_owned())
}
