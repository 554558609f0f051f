//! The device a session was opened from, as far as it says so itself.
//!
//! All of this comes from the client and proves nothing: it helps people recognise their sessions and
//! decides nothing. A client that has something better to say gives a device name; for the others a
//! name such as "Chrome on Windows" is read from the `User-Agent` header (RFC 9110, 10.1.5).
//!
//! The reading is a few tables of words: platforms, in-app browsers, browsers, crawlers. To add an agent,
//! add a row, and the agent to `data/user-agents.tsv`, which the tests hold this module to. There is no
//! library behind it: the small one (woothee) has data of 2021 and a regular expression engine, which
//! made a sign-in's binary a tenth larger; the others take some 100 ms to build at each start.
//!
//! What an agent cannot tell: Safari on an iPad says that it is on a Mac; Brave and Arc say that they
//! are Chrome; a phone asked for the desktop site says that it is a desktop; a Windows tablet says
//! Windows; `CFNetwork` runs on iPhones and Macs alike, `okhttp` on phones and servers.

use serde::{Deserialize, Serialize};

/// The most characters that are kept of a device name.
pub const MAX_DEVICE_NAME_CHARS: usize = 100;
/// The most characters that are kept, and read, of a `User-Agent`.
pub const MAX_USER_AGENT_CHARS: usize = 512;
/// The most characters that are kept of a device id.
pub const MAX_DEVICE_ID_CHARS: usize = 255;

/// The longest product name, in characters, that is taken from an agent. A longer one names nothing.
const MAX_PRODUCT_CHARS: usize = 60;

/// What kind of device it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceType {
    /// A desktop or a laptop.
    Desktop,
    /// A phone.
    Mobile,
    /// A tablet.
    Tablet,
    /// A program without a person: a crawler, a monitor, a browser under remote control.
    Bot,
    /// Anything else (televisions, consoles, command-line tools), or not to be told.
    #[default]
    Unknown,
}

impl DeviceType {
    /// The name used in JSON and in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Mobile => "mobile",
            Self::Tablet => "tablet",
            Self::Bot => "bot",
            Self::Unknown => "unknown",
        }
    }
}

/// What is known of the device behind a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What the client calls it, else what its agent tells: "Safari on iPhone". At most
    /// [`MAX_DEVICE_NAME_CHARS`].
    pub device_name: Option<String>,
    /// What kind of device its agent tells of.
    pub device_type: DeviceType,
    /// The client's own id of the device, at most [`MAX_DEVICE_ID_CHARS`]. Never a credential.
    pub device_id: Option<String>,
    /// The `User-Agent`, at most [`MAX_USER_AGENT_CHARS`].
    pub user_agent: Option<String>,
}

impl Device {
    /// Describes a device by what a request says of it. Never fails: what is too long is cut between
    /// two characters, control characters and those that change the writing direction are dropped,
    /// white space at the ends goes, and what is empty then is `None`.
    ///
    /// `given_name` is preferred to what the agent tells; `device_type` comes from the agent alone.
    #[must_use]
    pub fn describe(
        given_name: Option<&str>,
        user_agent: Option<&str>,
        device_id: Option<&str>,
    ) -> Self {
        let user_agent = user_agent.and_then(|text| cleaned(text, MAX_USER_AGENT_CHARS));
        let (told_name, device_type) = user_agent
            .as_deref()
            .map_or((None, DeviceType::Unknown), read);
        let device_name = given_name
            .and_then(|text| cleaned(text, MAX_DEVICE_NAME_CHARS))
            .or_else(|| told_name.and_then(|text| cleaned(&text, MAX_DEVICE_NAME_CHARS)));
        Self {
            device_name,
            device_type,
            device_id: device_id.and_then(|text| cleaned(text, MAX_DEVICE_ID_CHARS)),
            user_agent,
        }
    }
}

fn cleaned(text: &str, max_chars: usize) -> Option<String> {
    let visible: String = text.chars().filter(|c| !is_disruptive(*c)).collect();
    let cut: String = visible.trim().chars().take(max_chars).collect();
    let cut = cut.trim_end();
    (!cut.is_empty()).then(|| cut.to_owned())
}

/// What could break a line, a terminal, or turn the text around it. Joiners stay: emoji need them.
fn is_disruptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// The name and the kind of device that an agent tells.
fn read(agent: &str) -> (Option<String>, DeviceType) {
    let is_browser = agent.starts_with("Mozilla/") || agent.starts_with("Opera/");
    let platform = platform(about_the_platform(agent, is_browser), is_browser);
    if let Some(name) = bot(agent, is_browser, platform.as_ref()) {
        return (Some(name), DeviceType::Bot);
    }
    let product = if is_browser {
        browser(agent)
    } else {
        app(agent)
    };
    let device_type = platform
        .as_ref()
        .map_or(DeviceType::Unknown, |found| found.device_type);
    (name(product, platform), device_type)
}

fn name(product: Option<String>, platform: Option<Platform<'_>>) -> Option<String> {
    match (product, platform) {
        // "Nintendo 3DS on Nintendo" would tell nothing more.
        (Some(product), Some(platform))
            if product.contains(platform.name) || product.eq_ignore_ascii_case(platform.name) =>
        {
            Some(product)
        }
        (Some(product), Some(platform)) => Some(format!("{product} on {}", platform.name)),
        (Some(product), None) => Some(product),
        (None, Some(platform)) => Some(platform.name.to_owned()),
        (None, None) => None,
    }
}

// ---- Platforms ------------------------------------------------------------------------------------

#[derive(Clone, Copy)]
struct Platform<'a> {
    name: &'a str,
    device_type: DeviceType,
}

/// A word of an agent, the platform it tells of, and its kind. The first that is found decides, so
/// what others imitate stands after them: a Fire tablet says Android, Android says Linux, a Windows
/// Phone says all of them. Android itself is not here, because its kind is told by other words.
const PLATFORMS_BEFORE_ANDROID: &[(&str, &str, DeviceType)] = &[
    ("Xbox", "Xbox", DeviceType::Unknown),
    ("PlayStation", "PlayStation", DeviceType::Unknown),
    ("PLAYSTATION", "PlayStation", DeviceType::Unknown),
    ("Nintendo", "Nintendo", DeviceType::Unknown),
    ("; AFT", "Fire TV", DeviceType::Unknown),
    ("AppleTV", "Apple TV", DeviceType::Unknown),
    ("Apple TV", "Apple TV", DeviceType::Unknown),
    ("tvOS", "Apple TV", DeviceType::Unknown),
    ("SmartTV", "smart TV", DeviceType::Unknown),
    ("SMART-TV", "smart TV", DeviceType::Unknown),
    ("Smart TV", "smart TV", DeviceType::Unknown),
    ("Web0S", "smart TV", DeviceType::Unknown),
    ("BRAVIA", "smart TV", DeviceType::Unknown),
    ("GoogleTV", "smart TV", DeviceType::Unknown),
    ("Google TV", "smart TV", DeviceType::Unknown),
    ("Android TV", "smart TV", DeviceType::Unknown),
    ("HbbTV", "smart TV", DeviceType::Unknown),
    ("CrKey", "Chromecast", DeviceType::Unknown),
    ("OculusBrowser", "Meta Quest", DeviceType::Unknown),
    ("visionOS", "Apple Vision", DeviceType::Unknown),
    ("watchOS", "Apple Watch", DeviceType::Unknown),
    ("Windows Phone", "Windows Phone", DeviceType::Mobile),
    ("Silk/", "Fire tablet", DeviceType::Tablet),
    ("Kindle", "Kindle", DeviceType::Tablet),
    ("iPadOS", "iPad", DeviceType::Tablet),
    ("iPad", "iPad", DeviceType::Tablet),
    ("iPhone", "iPhone", DeviceType::Mobile),
    ("iPod", "iPod", DeviceType::Mobile),
    ("iOS", "iOS", DeviceType::Mobile),
    ("KAIOS", "KaiOS", DeviceType::Mobile),
    ("BB10", "BlackBerry", DeviceType::Mobile),
    ("BlackBerry", "BlackBerry", DeviceType::Mobile),
    ("Symbian", "Symbian", DeviceType::Mobile),
    ("Series60", "Symbian", DeviceType::Mobile),
];

/// As [`PLATFORMS_BEFORE_ANDROID`], for what Android imitates or does not meet.
const PLATFORMS_AFTER_ANDROID: &[(&str, &str, DeviceType)] = &[
    ("CrOS", "ChromeOS", DeviceType::Desktop),
    ("Windows", "Windows", DeviceType::Desktop),
    ("Macintosh", "macOS", DeviceType::Desktop),
    ("macOS", "macOS", DeviceType::Desktop),
    ("Mac OS X", "macOS", DeviceType::Desktop),
    ("FreeBSD", "FreeBSD", DeviceType::Desktop),
    ("OpenBSD", "OpenBSD", DeviceType::Desktop),
    ("Linux", "Linux", DeviceType::Desktop),
    ("X11", "Linux", DeviceType::Desktop),
];

fn platform(agent: &str, is_browser: bool) -> Option<Platform<'static>> {
    // Browsers on an iPad ask for desktop sites and say Macintosh, but no Mac has a CriOS or a Mobile.
    if agent.contains("Macintosh") && (agent.contains("iOS/") || agent.contains(" Mobile/")) {
        return Some(Platform {
            name: "iPad",
            device_type: DeviceType::Tablet,
        });
    }
    first_platform(agent, PLATFORMS_BEFORE_ANDROID)
        .or_else(|| handheld(agent, is_browser, "OpenHarmony", "HarmonyOS"))
        .or_else(|| handheld(agent, is_browser, "Android", "Android"))
        .or_else(|| first_platform(agent, PLATFORMS_AFTER_ANDROID))
}

/// The part that may name a platform: an app called "Xbox" runs on a phone, so its name does not count.
fn about_the_platform(agent: &str, is_browser: bool) -> &str {
    if is_browser {
        return agent;
    }
    agent
        .find(|c: char| "/(;".contains(c) || c.is_ascii_digit())
        .and_then(|end_of_name| agent.get(end_of_name..))
        .unwrap_or_default()
}

fn first_platform(
    agent: &str,
    table: &'static [(&str, &str, DeviceType)],
) -> Option<Platform<'static>> {
    let (_, name, device_type) = table.iter().find(|(word, _, _)| has_word(agent, word))?;
    Some(Platform {
        name,
        device_type: *device_type,
    })
}

/// A system of phones and tablets. A browser on a phone says "Mobile" and on a tablet does not; an app
/// says what it likes, so it is taken for a phone's unless a word tells of a tablet.
fn handheld(
    agent: &str,
    is_browser: bool,
    word: &str,
    name: &'static str,
) -> Option<Platform<'static>> {
    if !has_word(agent, word) {
        return None;
    }
    let says_tablet = ["Tablet", "SM-T", "SM-X"]
        .iter()
        .any(|mark| agent.contains(mark));
    let says_phone = ["Mobile", "Phone", "Opera Mini"]
        .iter()
        .any(|mark| agent.contains(mark));
    let is_tablet = if is_browser { !says_phone } else { says_tablet };
    let device_type = if is_tablet {
        DeviceType::Tablet
    } else {
        DeviceType::Mobile
    };
    Some(Platform { name, device_type })
}

/// Whether the agent holds `word`, not as the end of a longer one: "iOS" is in "(iOS 17)", and not in
/// "CriOS".
fn has_word(agent: &str, word: &str) -> bool {
    let may_be_an_end = !word.starts_with(char::is_alphanumeric);
    agent.match_indices(word).any(|(start, _)| {
        let before = agent.get(..start).and_then(|text| text.chars().next_back());
        may_be_an_end || !before.is_some_and(char::is_alphanumeric)
    })
}

// ---- Bots -----------------------------------------------------------------------------------------

/// Programs without a person whose names do not say "bot", "crawler" or "spider".
const BOTS: &[&str] = &[
    "HeadlessChrome",
    "PhantomJS",
    "Chrome-Lighthouse",
    "GoogleOther",
    "Google-InspectionTool",
    "Google-Read-Aloud",
    "Mediapartners-Google",
    "FeedFetcher-Google",
    "GoogleHC",
    "Google Web Preview",
    "BingPreview",
    "Slurp",
    "DuckAssist",
    "facebookexternalhit",
    "facebookcatalog",
    "meta-externalagent",
    "meta-externalfetcher",
    "ChatGPT-User",
    "Claude-User",
    "Claude-Web",
    "anthropic-ai",
    "cohere-ai",
    "Perplexity-User",
    "MistralAI-User",
    "archive.org_bot",
    "ia_archiver",
    "Screaming Frog SEO Spider",
    "Pingdom",
    "StatusCake",
    "Site24x7",
    "DatadogSynthetics",
    "Datadog Agent",
    "Checkly",
    "GTmetrix",
    "kube-probe",
    "ELB-HealthChecker",
    "Amazon-Route53-Health-Check-Service",
    "Blackbox Exporter",
];

fn bot(agent: &str, is_browser: bool, platform: Option<&Platform<'_>>) -> Option<String> {
    if let Some(known) = BOTS.iter().find(|name| agent.contains(**name)) {
        return Some((*known).to_owned());
    }
    // The agent of the messenger's own link preview; in its app it says Mozilla.
    if agent.starts_with("WhatsApp/") {
        return Some("WhatsApp".to_owned());
    }
    // An app for phones may be called "Chatbot": a crawler that plays a phone plays its browser.
    let on_a_phone =
        platform.is_some_and(|p| matches!(p.device_type, DeviceType::Mobile | DeviceType::Tablet));
    if !is_browser && (on_a_phone || agent.contains("CFNetwork/")) {
        return None;
    }
    let says_bot = agent
        .split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_'))
        .find(|word| word.split(['-', '_']).any(says_bot));
    match says_bot {
        Some(word) if word.chars().count() <= MAX_PRODUCT_CHARS => Some(word.to_owned()),
        Some(_) => Some("Bot".to_owned()),
        None => None,
    }
}

fn says_bot(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    // Cubot makes Android phones.
    (word.ends_with("bot") && word != "cubot")
        || word.contains("crawler")
        || word.contains("spider")
}

// ---- Browsers and apps ----------------------------------------------------------------------------

/// What an agent holds when it comes from an app that shows a page, or from a browser that claims to be
/// another one as well. The first that is found decides: apps that hold a browser, then browsers.
const BROWSERS: &[(&str, &str)] = &[
    ("FBAN/Messenger", "Messenger"),
    ("FBAN/", "Facebook"),
    ("FBAV/", "Facebook"),
    ("FB_IAB/", "Facebook"),
    ("Instagram ", "Instagram"),
    ("MicroMessenger/", "WeChat"),
    ("BytedanceWebview/", "TikTok"),
    ("musical_ly", "TikTok"),
    ("TikTok", "TikTok"),
    ("Snapchat", "Snapchat"),
    ("Pinterest/", "Pinterest"),
    ("LinkedInApp", "LinkedIn"),
    (" Line/", "LINE"),
    ("GSA/", "Google app"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("OPX/", "Opera GX"),
    ("Opera Mini/", "Opera Mini"),
    ("OPiOS/", "Opera Mini"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("DuckDuckGo/", "DuckDuckGo"),
    (" Ddg/", "DuckDuckGo"),
    ("Brave/", "Brave"),
    ("Ecosia", "Ecosia"),
    ("UCBrowser/", "UC Browser"),
    ("HuaweiBrowser/", "Huawei Browser"),
    ("MiuiBrowser/", "Mi Browser"),
    ("VivoBrowser/", "Vivo Browser"),
    ("HeyTapBrowser/", "HeyTap Browser"),
    ("QQBrowser/", "QQ Browser"),
    ("Whale/", "Whale"),
    ("OculusBrowser/", "Meta Quest Browser"),
    ("Silk/", "Silk"),
    ("Focus/", "Firefox Focus"),
    ("Klar/", "Firefox Klar"),
    ("SeaMonkey/", "SeaMonkey"),
    ("PaleMoon/", "Pale Moon"),
    ("Waterfox/", "Waterfox"),
    ("Epiphany/", "GNOME Web"),
    ("Falkon/", "Falkon"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex Browser"),
    ("Edge/", "Edge"),
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Opera/", "Opera"),
    ("Opera ", "Opera"),
    ("MSIE ", "Internet Explorer"),
    ("Trident/", "Internet Explorer"),
];

/// The browsers that others claim to be, asked when it is no app's web view. Chrome claims to be Safari.
const CLAIMED_BROWSERS: &[(&str, &str)] = &[
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("CrMo/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Safari/", "Safari"),
];

/// Products that every browser claims to be. What is left in a web view's agent names the app.
const ENGINES: &[&str] = &[
    "Mozilla",
    "AppleWebKit",
    "Gecko",
    "Chrome",
    "Chromium",
    "Electron",
    "Mobile",
    "Safari",
    "Version",
];

fn browser(agent: &str) -> Option<String> {
    if let Some(name) = first_browser(agent, BROWSERS) {
        return Some(name.to_owned());
    }
    // On Apple's phones only browsers say Safari.
    let is_apples_web_view = agent.contains("like Mac OS X") && !agent.contains("Safari/");
    if is_apples_web_view || agent.contains("; wv)") || agent.contains("Electron/") {
        return Some(web_view_app(agent).unwrap_or_else(|| "App".to_owned()));
    }
    first_browser(agent, CLAIMED_BROWSERS).map(str::to_owned)
}

fn first_browser(agent: &str, table: &[(&str, &'static str)]) -> Option<&'static str> {
    let (_, name) = table.iter().find(|(mark, _)| agent.contains(mark))?;
    Some(name)
}

/// The app that shows a page in a web view or in Electron: `.. Slack/4.38 Chrome/124 Electron/30 ..`
fn web_view_app(agent: &str) -> Option<String> {
    let mut depth = 0_usize;
    let mut outside_comments = String::with_capacity(agent.len());
    for c in agent.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => outside_comments.push(c),
            _ => {}
        }
    }
    outside_comments
        .split_whitespace()
        .filter_map(|product| product.split_once('/'))
        .filter(|(name, _)| !ENGINES.contains(name))
        .find_map(|(name, _)| product_name(name))
}

/// What an agent without a browser begins with: `curl/8.5.0`, `My App/3.1 (iPhone; iOS 17.4)`, `node`.
fn app(agent: &str) -> Option<String> {
    let beginning = agent.split(['/', '(', ';']).next()?;
    // CFNetwork escapes the spaces of an app's name.
    let beginning = beginning.replace("%20", " ");
    let mut words = beginning.split_whitespace();
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
fn product_name(text: &str) -> Option<String> {
    let is_name = text.chars().count() <= MAX_PRODUCT_CHARS
        && text.chars().any(char::is_alphabetic)
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || " ._-+!:@".contains(c));
    is_name.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::DeviceType::{Bot, Desktop, Mobile, Tablet, Unknown};
    use super::*;
    use proptest::prelude::*;

    const CHROME_ON_WINDOWS: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 \
        (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";

    fn told(agent: &str) -> (Option<String>, DeviceType) {
        let device = Device::describe(None, Some(agent), None);
        (device.device_name, device.device_type)
    }

    #[test]
    fn agents_are_read_as_people_would_name_them() {
        let mut read = 0;
        for line in include_str!("../data/user-agents.tsv").lines() {
            if let [kind, name, agent] = line.split('\t').collect::<Vec<_>>().as_slice() {
                let (told_name, told_kind) = told(agent);
                assert_eq!(
                    (told_name.as_deref(), told_kind.as_str()),
                    (Some(*name), *kind),
                    "{agent}"
                );
                read += 1;
            } else {
                assert!(line.is_empty() || line.starts_with('#'), "{line}");
            }
        }
        assert!(read >= 100);
    }

    #[test]
    fn an_agent_that_tells_nothing_is_unknown_and_has_no_name() {
        let long = "a".repeat(10_000);
        for agent in [
            "",
            " ",
            "-",
            "/",
            "()",
            ";;;/((())",
            "Mozilla/5.0",
            "Mozilla/5.0 (",
            "1.0",
            "<script>alert(1)</script>",
            "'; DROP TABLE sessions;--",
            "{\"a\":1}",
            "\u{202E}",
            long.as_str(),
        ] {
            assert_eq!(told(agent), (None, Unknown), "{agent}");
        }
        assert_eq!(Device::describe(None, None, None).device_type, Unknown);
    }

    #[test]
    fn an_app_may_be_named_in_any_script() {
        assert_eq!(
            told("日本アプリ/1.0 (iPhone; iOS 17.4)").0.as_deref(),
            Some("日本アプリ on iPhone")
        );
    }

    #[test]
    fn what_the_client_calls_itself_comes_first() {
        let chrome = Some(CHROME_ON_WINDOWS);
        let device = Device::describe(Some("  Ann's laptop 👩\u{200D}💻 "), chrome, Some("d-1"));
        assert_eq!(
            device.device_name.as_deref(),
            Some("Ann's laptop 👩\u{200D}💻")
        );
        assert_eq!(device.device_type, Desktop);
        assert_eq!(device.device_id.as_deref(), Some("d-1"));
        assert_eq!(device.user_agent.as_deref(), chrome);

        let device = Device::describe(Some(" \n "), chrome, Some(""));
        assert_eq!(device.device_name.as_deref(), Some("Chrome on Windows"));
        assert_eq!(device.device_id, None);
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let long = "é".repeat(600);
        let device = Device::describe(Some(&long), Some(&long), Some(&long));
        assert_eq!(device.device_name, Some("é".repeat(MAX_DEVICE_NAME_CHARS)));
        assert_eq!(device.user_agent, Some("é".repeat(MAX_USER_AGENT_CHARS)));
        assert_eq!(device.device_id, Some("é".repeat(MAX_DEVICE_ID_CHARS)));
    }

    #[test]
    fn control_characters_and_direction_marks_are_dropped() {
        let device = Device::describe(
            Some("a\u{202E}b\u{1B}[31m"),
            Some("curl/8\r\nX-Evil: 1"),
            Some("\0id\u{7F}"),
        );
        assert_eq!(device.device_name.as_deref(), Some("ab[31m"));
        assert_eq!(device.user_agent.as_deref(), Some("curl/8X-Evil: 1"));
        assert_eq!(device.device_id.as_deref(), Some("id"));
    }

    #[test]
    fn kinds_have_the_same_name_in_json_and_in_code() {
        for kind in [Desktop, Mobile, Tablet, Bot, Unknown] {
            assert_eq!(
                serde_json::to_value(kind).ok(),
                Some(serde_json::Value::from(kind.as_str()))
            );
        }
    }

    /// Pieces that the reading looks for, in any order, with anything between them.
    fn agent_like() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "Mozilla/5.0",
            "Opera/9",
            "(",
            ")",
            ";",
            "/",
            "; wv)",
            "Electron/",
            "Chrome/1",
            "Safari/",
            "Version/",
            "Mobile/",
            "Macintosh",
            "iPhone",
            "like Mac OS X",
            "Android",
            "Windows NT 10.0;",
            "Windows Phone",
            "MSIE 9",
            "Trident/7",
            "IEMobile/",
            "Xbox",
            "PSP (PlayStation Portable)",
            "DoCoMo/2.0",
            "KDDI-",
            "SoftBank/",
            "WILLCOM;",
            "bot",
            "Firefox/",
            "CFNetwork/",
            "BlackBerry",
            "BB10",
            "SymbianOS",
            "Sleipnir/",
            "Google",
            "Yahoo",
            "%20",
            "é",
            "日本",
            "\u{0}",
            " ",
        ]);
        prop::collection::vec(
            prop_oneof![pieces.prop_map(str::to_owned), "\\PC{0,4}"],
            0..30,
        )
        .prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn nothing_panics_and_limits_hold(name in prop::option::of(any::<String>()), agent in prop_oneof![agent_like(), any::<String>(), "\\PC{500,700}"], id in "\\PC{0,300}") {
            let device = Device::describe(name.as_deref(), Some(&agent), Some(&id));
            for (text, limit) in [
                (&device.device_name, MAX_DEVICE_NAME_CHARS),
                (&device.user_agent, MAX_USER_AGENT_CHARS),
                (&device.device_id, MAX_DEVICE_ID_CHARS),
            ] {
                if let Some(text) = text {
                    prop_assert!(!text.is_empty() && text.trim() == text);
                    prop_assert!(text.chars().count() <= limit);
                    prop_assert!(!text.chars().any(is_disruptive));
                }
            }
        }

        #[test]
        fn a_name_that_was_read_holds_no_markup(agent in agent_like()) {
            if let Some(name) = told(&agent).0 {
                prop_assert!(!name.contains(['<', '>', '"', '\'', '&', '\\', '`']) , "{}", name);
            }
        }
    }
}
