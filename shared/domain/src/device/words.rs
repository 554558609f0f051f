//! The words by which agents are read: tables only. To add an agent, add a row, and the agent to
//! `data/user-agents.tsv`.
//!
//! In each table the first row that fits decides, so what others imitate stands after them.

use super::DeviceType;

/// How the agents of browsers begin. Others begin with the name of an app.
pub(super) const BEGINNINGS: &[&str] = &["Mozilla/", "Opera/", "UCWEB/", "HbbTV/", "Roku/DVP"];

/// A word of an agent, the system it stands for, and the kind of device.
pub(super) type SystemRow = (&'static str, &'static str, DeviceType);

/// Systems that imitate Android, or that it does not imitate. Lower case. A Fire tablet says Android, Android says
/// Linux, a Windows Phone says all of them.
pub(super) const SYSTEMS_BEFORE_TELEVISIONS: &[SystemRow] = &[
    ("xbox", "Xbox", DeviceType::Unknown),
    ("playstation", "PlayStation", DeviceType::Unknown),
    ("nintendo", "Nintendo", DeviceType::Unknown),
    ("appletv", "Apple TV", DeviceType::Tv),
    ("apple tv", "Apple TV", DeviceType::Tv),
    ("tvos", "Apple TV", DeviceType::Tv),
    ("visionos", "Apple Vision", DeviceType::Unknown),
    ("watchos", "Apple Watch", DeviceType::Unknown),
    ("fire tv", "Fire TV", DeviceType::Tv),
    ("oculusbrowser", "Meta Quest", DeviceType::Unknown),
    ("quest 2", "Meta Quest", DeviceType::Unknown),
    ("quest 3", "Meta Quest", DeviceType::Unknown),
    ("quest pro", "Meta Quest", DeviceType::Unknown),
    ("picobrowser", "Pico", DeviceType::Unknown),
    ("windows phone", "Windows Phone", DeviceType::Mobile),
    ("windows mobile", "Windows Mobile", DeviceType::Mobile),
    ("windows ce", "Windows Mobile", DeviceType::Mobile),
    ("iemobile", "Windows Phone", DeviceType::Mobile),
    ("ipados", "iPad", DeviceType::Tablet),
    ("ipad", "iPad", DeviceType::Tablet),
    ("iphone", "iPhone", DeviceType::Mobile),
    ("ipod", "iPod", DeviceType::Mobile),
];

/// Televisions and what is plugged into them. Lower case.
pub(super) const TELEVISIONS: &[SystemRow] = &[
    ("crkey", "Chromecast", DeviceType::Tv),
    ("chromecast", "Chromecast", DeviceType::Tv),
    ("roku", "Roku", DeviceType::Tv),
    ("smarttv", "smart TV", DeviceType::Tv),
    ("smart-tv", "smart TV", DeviceType::Tv),
    ("web0s", "smart TV", DeviceType::Tv),
    ("webos.tv", "smart TV", DeviceType::Tv),
    ("netcast", "smart TV", DeviceType::Tv),
    ("bravia", "smart TV", DeviceType::Tv),
    ("googletv", "smart TV", DeviceType::Tv),
    ("androidtv", "smart TV", DeviceType::Tv),
    ("atv", "smart TV", DeviceType::Tv),
    ("hbbtv", "smart TV", DeviceType::Tv),
    ("dtv", "smart TV", DeviceType::Tv),
    ("nettv", "smart TV", DeviceType::Tv),
    ("philipstv", "smart TV", DeviceType::Tv),
    ("mitv", "smart TV", DeviceType::Tv),
    ("mibox", "smart TV", DeviceType::Tv),
    ("viera", "smart TV", DeviceType::Tv),
    ("vidaa", "smart TV", DeviceType::Tv),
    ("large screen", "smart TV", DeviceType::Tv),
];

/// Systems that Android does not imitate and that come after televisions. Lower case.
pub(super) const SYSTEMS_BEFORE_ANDROID: &[SystemRow] = &[
    ("silk/", "Fire tablet", DeviceType::Tablet),
    ("kindle", "Kindle", DeviceType::Tablet),
    ("playbook", "BlackBerry PlayBook", DeviceType::Tablet),
    ("ios", "iOS", DeviceType::Mobile),
    ("kaios", "KaiOS", DeviceType::Mobile),
    ("bb10", "BlackBerry", DeviceType::Mobile),
    ("blackberry", "BlackBerry", DeviceType::Mobile),
    ("symbian", "Symbian", DeviceType::Mobile),
    ("symbos", "Symbian", DeviceType::Mobile),
    ("series60", "Symbian", DeviceType::Mobile),
    ("series40", "Series 40", DeviceType::Mobile),
    ("meego", "MeeGo", DeviceType::Mobile),
    ("bada", "Bada", DeviceType::Mobile),
];

/// Products that are named here and in no other table.
pub(super) const GIVEN_PRODUCTS: &[&str] = &[
    "Safari",
    "Android Browser",
    "Chromium",
    "App",
    "Bot",
    "WhatsApp",
];

/// Systems of phones and tablets, whose kind other words tell. Lower case.
pub(super) const HANDHELD_SYSTEMS: &[(&str, &str)] = &[
    ("tizen", "Tizen"),
    ("openharmony", "HarmonyOS"),
    ("harmonyos", "HarmonyOS"),
    ("android", "Android"),
    ("andr0id", "Android"),
    ("adr ", "Android"),
];

/// Systems that Android imitates or does not meet. Lower case.
pub(super) const SYSTEMS_AFTER_ANDROID: &[SystemRow] = &[
    ("cros", "ChromeOS", DeviceType::Desktop),
    ("windows", "Windows", DeviceType::Desktop),
    ("winnt", "Windows", DeviceType::Desktop),
    ("win10", "Windows", DeviceType::Desktop),
    ("win64", "Windows", DeviceType::Desktop),
    ("win32", "Windows", DeviceType::Desktop),
    ("macintosh", "macOS", DeviceType::Desktop),
    ("macos", "macOS", DeviceType::Desktop),
    ("mac os x", "macOS", DeviceType::Desktop),
    ("mac os/", "macOS", DeviceType::Desktop),
    ("freebsd", "FreeBSD", DeviceType::Desktop),
    ("openbsd", "OpenBSD", DeviceType::Desktop),
    ("netbsd", "NetBSD", DeviceType::Desktop),
    ("sunos", "Solaris", DeviceType::Desktop),
    ("haiku", "Haiku", DeviceType::Desktop),
    ("linux", "Linux", DeviceType::Desktop),
    ("x11", "Linux", DeviceType::Desktop),
];

/// Systems that any program may run on. A client hint about the system is preferred to them.
pub(super) const GENERAL_SYSTEMS: &[&str] = &["Android", "ChromeOS", "Windows", "macOS", "Linux"];

/// Systems with a Safari. Elsewhere `Safari/` is what every browser claims to be.
pub(super) const SYSTEMS_WITH_SAFARI: &[&str] = &[
    "macOS",
    "iPhone",
    "iPad",
    "iPod",
    "iOS",
    "Apple Vision",
    "Apple Watch",
];

/// What `Sec-CH-UA-Platform` says, in lower case, and the system it stands for.
pub(super) const HINTED_SYSTEMS: &[(&str, &str)] = &[
    ("android", "Android"),
    ("chrome os", "ChromeOS"),
    ("chromeos", "ChromeOS"),
    ("chromium os", "ChromeOS"),
    ("ios", "iOS"),
    ("linux", "Linux"),
    ("macos", "macOS"),
    ("windows", "Windows"),
];

/// Parts of models and names of tablets that count at the start of a word. Lower case.
pub(super) const TABLETS: &[&str] = &[
    "tablet",
    "apad",
    "sm-t",
    "sm-x",
    "sm-p",
    "gt-p",
    "gt-n80",
    "gt-n51",
    "lenovo tb",
    "tb-",
    "nexus 7",
    "nexus 9",
    "nexus 10",
    "pixel c",
    "ideatab",
    "xoom",
    "transformer",
    "iconia",
    "iplay",
    "opd2",
    "rmp2",
    "sgp5",
    "lg-v4",
    "lg-v5",
    "nokia t1",
    "nokia t2",
];

/// Programs without a person whose names do not say so.
pub(super) const BOTS: &[&str] = &[
    "HeadlessChrome",
    "PhantomJS",
    "Chrome-Lighthouse",
    "GoogleOther",
    "Google-InspectionTool",
    "Google-Read-Aloud",
    "Google-Site-Verification",
    "Google-Extended",
    "Google Favicon",
    "APIs-Google",
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
    "heritrix",
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
    "W3C_Validator",
    "Nutch",
    "zgrab",
    "masscan",
    "Nmap Scripting Engine",
    "Qwantify",
    "Embedly",
    "SkypeUriPreview",
    "NetcraftSurveyAgent",
    "Scrapy",
];

/// What a word of a crawler's name contains, in lower case.
pub(super) const BOT_PARTS: &[&str] = &["crawl", "spider", "scrap", "fetcher", "harvest"];

/// How a word of a crawler's name ends, in lower case.
pub(super) const BOT_ENDINGS: &[&str] = &[
    "bot",
    "bots",
    "archiver",
    "indexer",
    "checker",
    "validator",
    "scanner",
    "preview",
];

/// A mark in an agent, and the browser or app it tells of. Apps that hold a browser come before browsers.
pub(super) const BROWSERS: &[(&str, &str)] = &[
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
    ("AlipayClient/", "Alipay"),
    ("DingTalk/", "DingTalk"),
    ("KAKAOTALK", "KakaoTalk"),
    ("NAVER(", "NAVER"),
    (" Line/", "LINE"),
    ("GSA/", "Google app"),
    ("baiduboxapp/", "Baidu"),
    ("YaSearchBrowser/", "Yandex"),
    ("YaApp_", "Yandex"),
    ("YandexSearch/", "Yandex"),
    ("TV Bro/", "TV Bro"),
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
    ("UCWEB", "UC Browser"),
    ("UBrowser/", "UC Browser"),
    ("HuaweiBrowser/", "Huawei Browser"),
    ("MiuiBrowser/", "Mi Browser"),
    ("Mint Browser/", "Mint Browser"),
    ("VivoBrowser/", "Vivo Browser"),
    ("HeyTapBrowser/", "HeyTap Browser"),
    ("MZBrowser/", "Meizu Browser"),
    ("MQQBrowser/", "QQ Browser"),
    ("QQBrowser/", "QQ Browser"),
    ("SogouMobileBrowser/", "Sogou"),
    ("MetaSr ", "Sogou"),
    ("Quark/", "Quark"),
    ("Puffin/", "Puffin"),
    ("Maxthon", "Maxthon"),
    ("MxBrowser/", "Maxthon"),
    ("MXiOS/", "Maxthon"),
    ("coc_coc_browser/", "Coc Coc"),
    ("PHX/", "Phoenix"),
    ("AlohaBrowser/", "Aloha"),
    ("Whale/", "Whale"),
    ("OculusBrowser/", "Meta Quest Browser"),
    ("Silk/", "Silk"),
    ("Focus/", "Firefox Focus"),
    ("Klar/", "Firefox Klar"),
    ("SeaMonkey/", "SeaMonkey"),
    ("PaleMoon/", "Pale Moon"),
    ("Waterfox/", "Waterfox"),
    ("LibreWolf/", "LibreWolf"),
    ("Floorp/", "Floorp"),
    ("K-Meleon/", "K-Meleon"),
    ("Thunderbird/", "Thunderbird"),
    ("Epiphany/", "GNOME Web"),
    ("Konqueror", "Konqueror"),
    ("Falkon/", "Falkon"),
    ("QupZilla/", "QupZilla"),
    ("qutebrowser/", "qutebrowser"),
    ("Midori/", "Midori"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex Browser"),
    ("Sleipnir/", "Sleipnir"),
    ("Iron/", "Iron"),
    ("Avast/", "Avast Secure Browser"),
    ("SznProhlizec/", "Seznam"),
    ("NokiaBrowser/", "Nokia Browser"),
    ("Edge/", "Edge"),
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Opera/", "Opera"),
    ("Opera ", "Opera"),
    ("ms-office", "Microsoft Office"),
    ("MSIE ", "Internet Explorer"),
    ("Trident/", "Internet Explorer"),
];

/// The browsers that others claim to be, asked when it is no app's web view.
pub(super) const CLAIMED_BROWSERS: &[(&str, &str)] = &[
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("CrMo/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
];

/// Products that every browser claims to be. What is left in a web view's agent names the app.
pub(super) const ENGINES: &[&str] = &[
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

/// Brands in `Sec-CH-UA` that name no browser that people know, in lower case.
pub(super) const GENERAL_BRANDS: &[&str] = &[
    "chromium",
    "google chrome",
    "android webview",
    "microsoft edge webview2",
    "electron",
];

/// Brands that people know by another name.
pub(super) const BRANDS: &[(&str, &str)] = &[
    ("Microsoft Edge", "Edge"),
    ("YaBrowser", "Yandex Browser"),
    ("Samsung Browser", "Samsung Internet"),
    ("Opera Mobile", "Opera"),
    ("OperaMobile", "Opera"),
    ("CocCoc", "Coc Coc"),
    ("coc_coc_browser", "Coc Coc"),
];
