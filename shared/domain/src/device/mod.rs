//! The device a session was opened from, as far as it says so itself.
//!
//! All of this comes from the client and proves nothing: it helps people recognise their sessions and
//! decides nothing. A client that has something better to say gives a device name; for the others a
//! name such as "Chrome on Windows" is read from the `User-Agent` header (RFC 9110, 10.1.5) and the client hints.
//!
//! The reading is a few tables of words in `words.rs`. To add an agent, add a row, and the agent to
//! `data/user-agents.tsv`, which the tests hold this module to.
//!
//! We compared the libraries of crates.io. woothee has data of 2021 and a regular expression engine, which made a
//! sign-in's binary a tenth larger; ua-parser, uaparser, user-agent-parser and fast_uaparser need that engine for the
//! 1,200 expressions of uap-core (200 KB of YAML, 190 to 330 ms when they are built at start); isbot knows crawlers
//! alone; none of them reads client hints or knows a television.
//!
//! What an agent cannot tell: Safari on an iPad says that it is on a Mac; Arc says that it is Chrome; a phone asked
//! for the desktop site says that it is a desktop; a Windows tablet says Windows; `CFNetwork` runs on iPhones and
//! Macs alike, `okhttp` on phones and servers.

mod agent;
mod hints;
mod known_words;
mod words;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

pub use self::hints::ClientHints;
pub use self::known_words::{is_of_known_words, is_operating_system, product_and_system};
use crate::text::{clean, clean_and_cut, cut};

/// What a session without any hint of its device is called.
pub const UNKNOWN_DEVICE: &str = "Unknown device";
/// The most bytes that are kept of a device's name.
pub const MAX_DEVICE_NAME_BYTES: usize = 100;
/// The most bytes that are kept of a device id.
pub const MAX_DEVICE_ID_BYTES: usize = 64;
/// The most bytes of a device's name, id and `User-Agent` together.
pub const MAX_DEVICE_BYTES: usize = 228;
/// The most bytes that are read of a `User-Agent`. What is kept of it is shorter.
const MAX_READ_BYTES: usize = 1_024;
/// How many digits tell two long device ids with the same beginning apart.
const ID_DIGEST_DIGITS: usize = 16;

/// What kind of device it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeviceType {
    /// A desktop or a laptop.
    Desktop,
    /// A phone.
    Mobile,
    /// A tablet.
    Tablet,
    /// A television, or what is plugged into one.
    Tv,
    /// A program without a person: a crawler, a monitor, a browser under remote control.
    Bot,
    /// Anything else (watches, consoles, command-line tools), or not to be told.
    #[default]
    #[serde(other)]
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
            Self::Tv => "tv",
            Self::Bot => "bot",
            Self::Unknown => "unknown",
        }
    }
}

/// What is known of the device behind a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What the client calls it, else what its agent tells: "Safari on iPhone". At most [`MAX_DEVICE_NAME_BYTES`]. `None` is
    /// shown as [`UNKNOWN_DEVICE`].
    pub device_name: Option<String>,
    /// What kind of device its agent tells of.
    pub device_type: DeviceType,
    /// The client's own id of the device, at most [`MAX_DEVICE_ID_BYTES`]. Never a credential.
    pub device_id: Option<String>,
    /// The `User-Agent`, cut to what the name and the id leave of [`MAX_DEVICE_BYTES`].
    pub user_agent: Option<String>,
}

impl Device {
    /// Describes a device by what a request says of it. Never fails: what is too long is cut between
    /// two characters, control characters and those that change the writing direction are dropped,
    /// white space at the ends goes, and what shows nothing then is `None`.
    ///
    /// `given_name` is preferred to what the agent and the hints tell; `device_type` comes from these alone.
    #[must_use]
    pub fn describe(
        given_name: Option<&str>,
        user_agent: Option<&str>,
        device_id: Option<&str>,
        hints: ClientHints<'_>,
    ) -> Self {
        let user_agent = user_agent.and_then(|text| clean_and_cut(text, MAX_READ_BYTES));
        let (told_name, device_type) =
            agent::read(user_agent.as_deref().unwrap_or_default(), hints);
        let device_name = given_name
            .and_then(|name| clean_and_cut(name, MAX_DEVICE_NAME_BYTES))
            .or_else(|| clean_and_cut(&told_name?, MAX_DEVICE_NAME_BYTES));
        let device_id = device_id.and_then(clean).map(short_id);
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let left = MAX_DEVICE_BYTES.saturating_sub(length(&device_name) + length(&device_id));
        Self {
            device_name,
            device_type,
            device_id,
            user_agent: user_agent.and_then(|agent| clean_and_cut(&agent, left)),
        }
    }

    /// What a stranger's device is called, to somebody who has not let the stranger in: by the agent and the hints, in words
    /// of ours alone. So nobody writes into another person's activity or mail.
    #[must_use]
    pub fn name_in_our_words(user_agent: Option<&str>, hints: ClientHints<'_>) -> String {
        let agent = user_agent.and_then(|text| clean_and_cut(text, MAX_READ_BYTES));
        let told = agent::read_known_words(agent.as_deref().unwrap_or_default(), hints);
        told.unwrap_or_else(|| UNKNOWN_DEVICE.to_owned())
    }

    /// What people see: the name, or [`UNKNOWN_DEVICE`].
    #[must_use]
    pub fn shown_name(&self) -> &str {
        self.device_name.as_deref().unwrap_or(UNKNOWN_DEVICE)
    }
}

/// An id of at most [`MAX_DEVICE_ID_BYTES`]. A longer one ends in a digest of all of it, so that two ids that begin
/// alike do not become one device.
fn short_id(id: String) -> String {
    if id.len() <= MAX_DEVICE_ID_BYTES {
        return id;
    }
    let digest: String = digest(&SHA256, id.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .take(ID_DIGEST_DIGITS / 2)
        .collect();
    format!(
        "{}~{digest}",
        cut(&id, MAX_DEVICE_ID_BYTES - ID_DIGEST_DIGITS - 1)
    )
}

#[cfg(test)]
mod tests {
    use super::DeviceType::{Bot, Desktop, Mobile, Tablet, Tv, Unknown};
    use super::*;
    use crate::text::{is_control, is_direction_mark};
    use proptest::prelude::*;

    const CHROME_ON_WINDOWS: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 \
        (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";

    fn describe_agent(agent: &str) -> (Option<String>, DeviceType) {
        let device = Device::describe(None, Some(agent), None, ClientHints::default());
        (device.device_name, device.device_type)
    }

    #[test]
    fn agents_are_read_as_people_would_name_them() {
        let (mut read, mut wrong) = (0, Vec::new());
        for line in include_str!("../../data/user-agents.tsv").lines() {
            if let [kind, name, agent] = line.split('\t').collect::<Vec<_>>().as_slice() {
                let (told_name, told_kind) = describe_agent(agent);
                let told = (told_kind.as_str(), told_name.as_deref());
                if told != (*kind, Some(*name)) {
                    wrong.push(format!("{told:?} is not {kind}, {name}: {agent}"));
                }
                read += 1;
            } else {
                assert!(line.is_empty() || line.starts_with('#'), "{line}");
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(read >= 140);
    }

    /// Agents that are made up: their words mean one device at their place, and nothing or another one elsewhere.
    #[test]
    fn a_word_counts_at_its_place() {
        let android =
            "Mozilla/5.0 (Linux; Android 14; Pixel 8) Chrome/126.0.0.0 Mobile Safari/537.36";
        for (agent, name, kind) in [
            (
                format!("{CHROME_ON_WINDOWS} TV/1"),
                "Chrome on Windows",
                Desktop,
            ),
            (format!("{android} TVApp/1"), "Chrome on Android", Mobile),
            (format!("{android} KFC/1"), "Chrome on Android", Mobile),
            (
                android.replace("Pixel 8", "KFMAWI"),
                "Chrome on Fire tablet",
                Tablet,
            ),
            (
                "Mozilla/5.0 (Linux; Tizen 3.0; FamilyHub) SamsungBrowser/2.0 Safari/538.1"
                    .to_owned(),
                "Samsung Internet on Tizen",
                Unknown,
            ),
            (
                "Mozilla/5.0 (X11; Linux aarch64; Mobile; rv:128.0) Gecko/20100101 Firefox/128.0"
                    .to_owned(),
                "Firefox on Linux",
                Mobile,
            ),
            (
                CHROME_ON_WINDOWS.replace("x64", "x64; TestBot"),
                "TestBot",
                Bot,
            ),
            (
                CHROME_ON_WINDOWS.replace("x64", "x64; www.testbot.example"),
                "Chrome on Windows",
                Desktop,
            ),
            (
                android.replace("Pixel 8", "X-Wave"),
                "Chrome on Android",
                Mobile,
            ),
            (
                "Notes/2.0 (compatible; Sync/1.0)".to_owned(),
                "Notes",
                Unknown,
            ),
            (
                "Mozilla/5.0 (compatible; Sync/1.0; Linux)".to_owned(),
                "Linux",
                Desktop,
            ),
        ] {
            let told = (Some(name.to_owned()), kind);
            assert_eq!(describe_agent(&agent), told, "{agent}");
        }
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
            assert_eq!(describe_agent(agent), (None, Unknown), "{agent}");
        }
        let device = Device::describe(None, None, None, ClientHints::default());
        assert_eq!(device.device_type, Unknown);
        assert_eq!(device.shown_name(), "Unknown device");
    }

    #[test]
    fn a_strangers_device_is_named_in_words_of_ours() {
        let hints = |brands| ClientHints {
            brands,
            ..ClientHints::default()
        };
        let name = |agent: &str, brands| Device::name_in_our_words(Some(agent), hints(brands));
        let iphone = "Call +49 30 1234 now/1.0 (iPhone; iOS 17.4)";
        for (agent, brands, expected) in [
            (CHROME_ON_WINDOWS, None, "Chrome on Windows"),
            (
                CHROME_ON_WINDOWS,
                Some(r#""Brave";v="126""#),
                "Brave on Windows",
            ),
            (
                CHROME_ON_WINDOWS,
                Some(r#""evil.example";v="1""#),
                "Windows",
            ),
            (iphone, None, "iPhone"),
            ("evil.example/1.0", None, UNKNOWN_DEVICE),
            (
                "Mozilla/5.0 (compatible; evil.example/1.0)",
                None,
                UNKNOWN_DEVICE,
            ),
            ("HeadlessChrome/126", None, "HeadlessChrome"),
            ("", None, UNKNOWN_DEVICE),
        ] {
            assert_eq!(name(agent, brands), expected, "{agent} {brands:?}");
        }
        assert_eq!(Device::name_in_our_words(None, hints(None)), UNKNOWN_DEVICE);
    }

    #[test]
    fn an_app_may_be_named_in_any_script() {
        assert_eq!(
            describe_agent("日本アプリ/1.0 (iPhone; iOS 17.4)")
                .0
                .as_deref(),
            Some("日本アプリ on iPhone")
        );
    }

    #[test]
    fn what_the_client_calls_itself_comes_first() {
        let chrome = Some(CHROME_ON_WINDOWS);
        let device = describe("  Ann's laptop 👩\u{200D}💻 ", chrome, "d-1");
        assert_eq!(
            device.device_name.as_deref(),
            Some("Ann's laptop 👩\u{200D}💻")
        );
        assert_eq!(device.device_type, Desktop);
        assert_eq!(device.device_id.as_deref(), Some("d-1"));
        assert_eq!(device.user_agent.as_deref(), chrome);

        let device = describe(" \n ", chrome, "");
        assert_eq!(device.device_name.as_deref(), Some("Chrome on Windows"));
        assert_eq!(device.device_id, None);
    }

    fn describe(name: &str, agent: Option<&str>, id: &str) -> Device {
        Device::describe(Some(name), agent, Some(id), ClientHints::default())
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let long = "é".repeat(600);
        let device = describe(&long, Some(&long), "d-1");
        assert_eq!(device.device_name, Some("é".repeat(50)));
        assert_eq!(
            device.user_agent,
            Some("é".repeat(62)),
            "228 - 100 - 3 bytes"
        );
        let device = Device::describe(None, Some(CHROME_ON_WINDOWS), None, ClientHints::default());
        assert_eq!(device.user_agent.as_deref(), Some(CHROME_ON_WINDOWS));
    }

    #[test]
    fn long_device_ids_that_begin_alike_stay_two() {
        let id = |id: &str| describe("", None, id).device_id.unwrap();
        let beginning = "0123456789".repeat(10);
        let (one, two) = (id(&format!("{beginning}a")), id(&format!("{beginning}b")));
        assert!(one != two && one.len() == 64 && one.starts_with("0123456789"));
        assert_eq!(id(&format!("{beginning}a")), one);
        assert_eq!(id(&one), one, "what was cut stays");
        let whole = "0".repeat(64);
        assert_eq!(id(&whole), whole);
        assert!(id(&"é".repeat(64)).len() <= 64);
    }

    #[test]
    fn client_hints_know_what_the_agent_hides() {
        let android = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
        let linux = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
        let quest = "Mozilla/5.0 (X11; Linux x86_64; Quest 3) AppleWebKit/537.36 (KHTML, like Gecko) OculusBrowser/33.3 Chrome/124.0 VR Safari/537.36";
        let slack = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Slack/4.38.125 Chrome/124.0 Electron/30.0 Safari/537.36";
        let chromium = r#""Chromium";v="126", "Not)A;Brand";v="24""#;
        let chrome = r#""Not/A)Brand";v="8", "Chromium";v="126", "Google Chrome";v="126""#;
        let brave = r#""Not/A)Brand";v="8", "Chromium";v="126", "Brave";v="126""#;
        let gx = r#""Opera GX";v="112", "Not.A/Brand";v="99", "Chromium";v="126""#;
        let headless = r#""Chromium";v="126", "HeadlessChrome";v="126""#;
        for (agent, brands, mobile, platform, name, kind) in [
            (
                CHROME_ON_WINDOWS,
                brave,
                "?0",
                "\"Windows\"",
                "Brave on Windows",
                Desktop,
            ),
            (
                CHROME_ON_WINDOWS,
                gx,
                "?0",
                "\"Windows\"",
                "Opera GX on Windows",
                Desktop,
            ),
            (
                CHROME_ON_WINDOWS,
                chrome,
                "?0",
                "\"Windows\"",
                "Chrome on Windows",
                Desktop,
            ),
            (
                CHROME_ON_WINDOWS,
                headless,
                "?0",
                "\"Windows\"",
                "HeadlessChrome",
                Bot,
            ),
            (slack, chromium, "?0", "", "Slack on Windows", Desktop),
            (
                linux,
                chromium,
                "?0",
                "\"Linux\"",
                "Chromium on Linux",
                Desktop,
            ),
            (
                linux,
                chrome,
                "?0",
                "\"Chrome OS\"",
                "Chrome on ChromeOS",
                Desktop,
            ),
            (
                linux,
                chrome,
                "?1",
                "\"Android\"",
                "Chrome on Android",
                Mobile,
            ),
            (
                android,
                brave,
                "?1",
                "\"Android\"",
                "Brave on Android",
                Mobile,
            ),
            (
                android,
                brave,
                "?0",
                "\"Android\"",
                "Brave on Android",
                Tablet,
            ),
            (
                quest,
                chrome,
                "?0",
                "\"Android\"",
                "Meta Quest Browser",
                Unknown,
            ),
            ("", brave, "?1", "", "Brave", Mobile),
            ("", brave, "?0", "\"macOS\"", "Brave on macOS", Desktop),
            ("", brave, "?1", "\"iOS\"", "Brave on iOS", Mobile),
            (
                CHROME_ON_WINDOWS,
                "nonsense",
                "2",
                "nonsense",
                "Chrome on Windows",
                Desktop,
            ),
        ] {
            let hints = ClientHints {
                brands: Some(brands),
                mobile: Some(mobile),
                platform: Some(platform),
            };
            let device = Device::describe(None, Some(agent), None, hints);
            assert_eq!(
                (device.shown_name(), device.device_type),
                (name, kind),
                "{agent} {brands}"
            );
        }
    }

    #[test]
    fn control_characters_and_direction_marks_are_dropped() {
        let device = describe(
            "a\u{202E}b\u{1B}[31m",
            Some("curl/8\r\nX-Evil: 1"),
            "\0id\u{7F}",
        );
        assert_eq!(device.device_name.as_deref(), Some("ab[31m"));
        assert_eq!(device.user_agent.as_deref(), Some("curl/8X-Evil: 1"));
        assert_eq!(device.device_id.as_deref(), Some("id"));
    }

    #[test]
    fn kinds_have_the_same_name_in_json_and_in_code() {
        for kind in [Desktop, Mobile, Tablet, Tv, Bot, Unknown] {
            assert_eq!(
                serde_json::to_value(kind).ok(),
                Some(serde_json::Value::from(kind.as_str()))
            );
        }
        // What a later version writes must not break this one.
        assert_eq!(
            serde_json::from_str::<DeviceType>("\"car\"").ok(),
            Some(Unknown)
        );
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
            let hints = ClientHints { brands: Some(&id), mobile: None, platform: Some(&agent) };
            let device = Device::describe(name.as_deref(), Some(&agent), Some(&id), hints);
            let mut all = 0;
            for (text, limit) in [
                (&device.device_name, MAX_DEVICE_NAME_BYTES),
                (&device.user_agent, MAX_DEVICE_BYTES),
                (&device.device_id, MAX_DEVICE_ID_BYTES),
            ] {
                if let Some(text) = text {
                    all += text.len();
                    prop_assert!(!text.is_empty() && text.trim() == text);
                    prop_assert!(text.len() <= limit);
                    prop_assert!(!text.chars().any(|c| is_control(c) || is_direction_mark(c)));
                }
            }
            prop_assert!(all <= MAX_DEVICE_BYTES);
        }

        #[test]
        fn a_name_that_was_read_holds_no_markup(agent in agent_like()) {
            if let Some(name) = describe_agent(&agent).0 {
                prop_assert!(!name.contains(['<', '>', '"', '\'', '&', '\\', '`']) , "{}", name);
            }
        }
    }
}
