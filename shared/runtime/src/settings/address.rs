//! Addresses in settings: the issuer's, and the origins of web pages.

use std::net::{Ipv4Addr, Ipv6Addr};

use latchkey_api::http::BasePath;
use url::{Host, Url};

/// Why an address cannot be the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum IssuerError {
    #[error("is not an https URL (http is for 127.0.0.1, localhost and [::1])")]
    NotHttps,
    #[error("has more than a host, a port and a path")]
    MoreThanPath,
    #[error("has a path with other characters than letters, digits, - . _ ~ and single slashes")]
    Path,
}

/// The path of an issuer: an https URL without query and fragment (RFC 8414 section 2), http on this machine.
pub(super) fn path_of_issuer(issuer: &str) -> Result<BasePath, IssuerError> {
    let spaced = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
    let url = Url::parse(issuer).map_err(|_| IssuerError::NotHttps)?;
    let allowed = match url.scheme() {
        "https" => true,
        "http" => url.host().is_some_and(is_this_machine),
        _ => false,
    };
    if !allowed || issuer.contains(spaced) {
        return Err(IssuerError::NotHttps);
    }
    if issuer.contains(['?', '#', '@']) {
        return Err(IssuerError::MoreThanPath);
    }
    BasePath::parse(url.path()).map_err(|_| IssuerError::Path)
}

fn is_this_machine(host: Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address == Ipv4Addr::LOCALHOST,
        Host::Ipv6(address) => address == Ipv6Addr::LOCALHOST,
    }
}

/// An origin as a browser sends it (RFC 6454 section 6.2): scheme and host in small letters, the host as its A-label,
/// no default port. Nothing if the text is no origin, or one that browsers send as `null`.
pub(super) fn origin(text: &str) -> Option<String> {
    let (_, host) = text.split_once("://")?;
    let more_than_origin = |c: char| "/\\*?#@%".contains(c) || c.is_whitespace() || c.is_control();
    if host.contains(more_than_origin) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    match url.scheme() {
        "https" | "http" => Some(url.origin().ascii_serialization()),
        // Pages from there have no origin or cannot be.
        "file" | "ftp" | "ws" | "wss" | "data" | "blob" => None,
        // An app's web view has its own scheme, such as capacitor://localhost. To the standard its origin is opaque.
        scheme => {
            let host = url.host_str().filter(|host| !host.is_empty())?;
            let port = url.port().map(|port| format!(":{port}"));
            let port = port.unwrap_or_default();
            Some(format!("{scheme}://{}{port}", host.to_ascii_lowercase()))
        }
    }
}

/// The origin of an address.
pub(super) fn origin_of(address: &str) -> Option<String> {
    Url::parse(address)
        .ok()
        .map(|url| url.origin().ascii_serialization())
}

/// Second-level names below two-letter domains under which anybody may register, such as `co.uk`.
const SHARED_SECOND_LEVEL: [&str; 12] = [
    "ac", "co", "com", "edu", "gob", "gov", "mil", "ne", "net", "nom", "or", "org",
];

/// Where everybody's services stand side by side: each name below is a site of its own.
const SHARED_SUFFIXES: [&str; 16] = [
    "amplifyapp.com",
    "appspot.com",
    "awsapprunner.com",
    "azurewebsites.net",
    "cloudfront.net",
    "elasticbeanstalk.com",
    "fly.dev",
    "github.io",
    "gitlab.io",
    "herokuapp.com",
    "netlify.app",
    "onrender.com",
    "pages.dev",
    "vercel.app",
    "web.app",
    "workers.dev",
];

/// Whether two origins are on one site: the same scheme, and hosts below one registrable domain. Browsers decide by the
/// public suffix list, which has 10,000 entries; this knows the forms that occur here, and calls some sites one that
/// browsers tell apart, never the other way round.
pub(super) fn is_same_site(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (Url::parse(one), Url::parse(other)) else {
        return false;
    };
    if one.scheme() != other.scheme() {
        return false;
    }
    match (one.host(), other.host()) {
        (Some(Host::Domain(one)), Some(Host::Domain(other))) => {
            one == other || is_registrable(&common_suffix(one, other))
        }
        (one, other) => one == other,
    }
}

/// The labels that two names end in alike.
fn common_suffix(one: &str, other: &str) -> String {
    let pairs = one.rsplit('.').zip(other.rsplit('.'));
    let mut labels: Vec<&str> = pairs
        .take_while(|(one, other)| one == other)
        .map(|(label, _)| label)
        .collect();
    labels.reverse();
    labels.join(".")
}

/// Whether a name can be somebody's own, or stands below one that is.
fn is_registrable(name: &str) -> bool {
    let labels: Vec<&str> = name.split('.').collect();
    let is_shared = match labels.as_slice() {
        [] | [_] => true,
        [second, top] => top.len() == 2 && SHARED_SECOND_LEVEL.contains(second),
        _ => false,
    };
    // All of Amazon's, such as execute-api.eu-central-1.amazonaws.com and lambda-url.eu-central-1.on.aws.
    let is_amazons = ["amazonaws.com", "amazonaws.com.cn", "on.aws"]
        .iter()
        .any(|suffix| name == *suffix || name.ends_with(&format!(".{suffix}")));
    !is_shared && !is_amazons && !SHARED_SUFFIXES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for (written, sent) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://app.example.com:80", "http://app.example.com"),
            (
                "https://app.example.com:8443",
                "https://app.example.com:8443",
            ),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("https://BÜCHER.example", "https://xn--bcher-kva.example"),
            (
                "https://xn--bcher-kva.example",
                "https://xn--bcher-kva.example",
            ),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://[0:0::1]:5173", "http://[::1]:5173"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("Ionic://LocalHost", "ionic://localhost"),
            ("tauri://localhost:1420", "tauri://localhost:1420"),
            (
                "chrome-extension://abcdefghijklmnop",
                "chrome-extension://abcdefghijklmnop",
            ),
        ] {
            assert_eq!(origin(written).as_deref(), Some(sent), "{written}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_no_origin() {
        for written in [
            "",
            "*",
            "null",
            "a.example.com",
            "https://",
            "capacitor://",
            "https://a.example.com/",
            "https://a.example.com\\",
            "https://a.example.com/page",
            "https://a.example.com?x",
            "https://a.example.com#x",
            "https://ada@a.example.com",
            "https://*.example.com",
            "https://a example.com",
            "https://a.example.com:port",
            "https://a.example.com:65536",
            "https://a..example.com:x",
            "https://xn--a.example",
            "file://home",
            "wss://a.example.com",
            "1https://a.example.com",
        ] {
            assert_eq!(origin(written), None, "{written}");
        }
    }

    #[test]
    fn the_path_of_the_issuer_is_the_base_path() {
        let path = |issuer: &str| path_of_issuer(issuer).map(|path| path.as_str().to_owned());
        for none in ["https://id.example.com", "https://id.example.com/"] {
            assert_eq!(path(none), Ok(String::new()), "{none}");
        }
        for (issuer, expected) in [
            ("https://example.com/auth", "/auth"),
            ("https://example.com/auth/", "/auth"),
            ("https://example.com/auth/v-1.2_~x", "/auth/v-1.2_~x"),
            ("http://localhost:3000/auth", "/auth"),
            ("http://[::1]:3000/auth", "/auth"),
        ] {
            assert_eq!(path(issuer), Ok(expected.to_owned()), "{issuer}");
        }
        for wrong in [
            "/{id}", "/a//b", "//", "/a%20b", "/ä", "/a*", "/a:b", "/a;b",
        ] {
            let issuer = format!("https://example.com{wrong}");
            let refused = path(&issuer);
            assert!(
                refused == Err(IssuerError::Path)
                    || (wrong == "//" && refused == Ok(String::new())),
                "{issuer}: {refused:?}"
            );
        }
    }

    #[test]
    fn an_issuer_is_an_https_url_or_on_this_machine() {
        for wrong in [
            "id.example.com",
            "https://",
            "http://id.example.com",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "ftp://id.example.com",
            "https://id.example.com/a b",
            "https://id.example.com\\a",
            "https://id.example.com ",
        ] {
            assert_eq!(path_of_issuer(wrong), Err(IssuerError::NotHttps), "{wrong}");
        }
        for wrong in [
            "https://id.example.com?x",
            "https://id.example.com#x",
            "https://ada@id.example.com",
        ] {
            assert_eq!(
                path_of_issuer(wrong),
                Err(IssuerError::MoreThanPath),
                "{wrong}"
            );
        }
    }

    #[test]
    fn two_origins_are_on_one_site_below_one_registrable_domain() {
        for (one, other) in [
            ("https://auth.example.com", "https://app.example.com"),
            ("https://auth.example.com", "https://example.com"),
            (
                "https://auth.eu.example.com",
                "https://app.example.com:8443",
            ),
            ("https://auth.example.co.uk", "https://example.co.uk"),
            ("https://a.b.github.io", "https://b.github.io"),
            ("http://localhost:3000", "http://localhost:5173"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:5173"),
            (
                "https://x.execute-api.eu-west-1.amazonaws.com",
                "https://x.execute-api.eu-west-1.amazonaws.com",
            ),
        ] {
            assert!(
                is_same_site(one, other) && is_same_site(other, one),
                "{one} {other}"
            );
        }
        for (one, other) in [
            ("https://auth.example.com", "http://app.example.com"),
            ("https://auth.example.com", "https://auth.example.org"),
            ("https://example.com", "https://example2.com"),
            ("https://auth.example.co.uk", "https://auth.other.co.uk"),
            ("https://auth.example.com.br", "https://auth.other.com.br"),
            ("https://a.cloudfront.net", "https://b.cloudfront.net"),
            (
                "https://a.execute-api.eu-west-1.amazonaws.com",
                "https://b.execute-api.eu-west-1.amazonaws.com",
            ),
            (
                "https://a.lambda-url.eu-west-1.on.aws",
                "https://b.lambda-url.eu-west-1.on.aws",
            ),
            ("https://a.vercel.app", "https://b.vercel.app"),
            ("http://127.0.0.1:3000", "http://localhost:3000"),
            ("http://127.0.0.1:3000", "http://127.0.0.2:3000"),
            ("http://a.localhost", "http://b.localhost"),
        ] {
            assert!(
                !is_same_site(one, other) && !is_same_site(other, one),
                "{one} {other}"
            );
        }
    }
}
