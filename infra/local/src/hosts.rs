//! Whom a request may call this server: the name in `Host`.
//!
//! A web page can point its own name to 127.0.0.1 (DNS rebinding). Its requests then reach a server of this machine, and
//! the browser takes them for the page's own. Only the name in `Host` tells them apart.

use std::net::IpAddr;

use axum::extract::Request;
use http::header::HOST;
use http::uri::Authority;
use http::{Uri, Version};

/// The names that this server answers to: those of this machine, and perhaps one more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hosts {
    besides: Option<String>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WrongHost {
    /// HTTP/1.1 asks for exactly one `Host`, well-formed (RFC 9112 section 3.2).
    NotOne,
    /// The name is not one of ours.
    NotOurs,
}

impl Hosts {
    /// The names of this machine alone.
    pub(crate) fn loopback() -> Self {
        Self { besides: None }
    }

    /// The same, and the host of a URL: that of `ISSUER`, for a tunnel or a proxy in front of the local stack.
    pub(crate) fn loopback_and_host_of(url: &str) -> Self {
        let uri: Option<Uri> = url.parse().ok();
        Self {
            besides: uri.and_then(|uri| uri.host().map(str::to_ascii_lowercase)),
        }
    }

    /// Checks the name that a request was sent to. The port does not matter.
    ///
    /// # Errors
    /// [`WrongHost`], which says why.
    pub(crate) fn check(&self, request: &Request) -> Result<(), WrongHost> {
        // The host that a target names counts as well (RFC 9112 section 3.2.2).
        if let Some(host) = request.uri().host() {
            self.check_name(host)?;
        }
        let mut hosts = request.headers().get_all(HOST).iter();
        match (hosts.next(), hosts.next()) {
            (Some(host), None) => {
                let host = host.to_str().map_err(|_| WrongHost::NotOne)?;
                let host: Authority = host.parse().map_err(|_| WrongHost::NotOne)?;
                self.check_name(host.host())
            }
            (None, None) if request.version() < Version::HTTP_11 => Ok(()),
            (None, None) | (_, Some(_)) => Err(WrongHost::NotOne),
        }
    }

    fn check_name(&self, host: &str) -> Result<(), WrongHost> {
        let host = host.to_ascii_lowercase();
        let unbracketed = host.trim_start_matches('[').trim_end_matches(']');
        let address: Option<IpAddr> = unbracketed.parse().ok();
        let ours = host == "localhost"
            || address.is_some_and(|address| address.is_loopback())
            || self.besides.as_ref() == Some(&host);
        if ours {
            Ok(())
        } else {
            Err(WrongHost::NotOurs)
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn check(
        hosts: &Hosts,
        target: &str,
        version: Version,
        names: &[&str],
    ) -> Result<(), WrongHost> {
        let mut request = Request::builder().uri(target).version(version);
        for name in names {
            request = request.header(HOST, *name);
        }
        hosts.check(&request.body(Body::empty()).unwrap())
    }

    fn check_one(name: &str) -> Result<(), WrongHost> {
        check(&Hosts::loopback(), "/", Version::HTTP_11, &[name])
    }

    #[test]
    fn the_names_of_this_machine_are_answered_with_any_port() {
        for name in [
            "127.0.0.1",
            "127.0.0.1:3000",
            "localhost",
            "LocalHost:8080",
            "[::1]",
            "[::1]:3000",
        ] {
            assert_eq!(check_one(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn other_names_are_refused_however_they_resemble() {
        for name in [
            "evil.example",
            "evil.example:3000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]",
            "0.0.0.0",
            "notlocalhost",
        ] {
            assert_eq!(check_one(name), Err(WrongHost::NotOurs), "{name}");
        }
    }

    #[test]
    fn http_1_1_has_exactly_one_host() {
        let check = |version, names: &[&str]| check(&Hosts::loopback(), "/", version, names);
        assert_eq!(check(Version::HTTP_11, &[]), Err(WrongHost::NotOne));
        assert_eq!(check(Version::HTTP_10, &[]), Ok(()));
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert_eq!(
                check(version, &["localhost", "localhost"]),
                Err(WrongHost::NotOne)
            );
        }
        for malformed in ["", "a b", "localhost/", "http://localhost"] {
            assert_eq!(
                check_one(malformed),
                Err(WrongHost::NotOne),
                "{malformed:?}"
            );
        }
    }

    #[test]
    fn a_target_with_a_host_counts_too() {
        let check = |target| check(&Hosts::loopback(), target, Version::HTTP_11, &["localhost"]);
        assert_eq!(check("http://localhost:3000/v1/me"), Ok(()));
        assert_eq!(check("http://evil.example/v1/me"), Err(WrongHost::NotOurs));
    }

    #[test]
    fn the_host_of_the_issuer_is_answered_too() {
        let hosts = Hosts::loopback_and_host_of("https://ID.example.com:8443/auth");
        let check = |name| check(&hosts, "/", Version::HTTP_11, &[name]);
        assert_eq!(check("id.example.com"), Ok(()));
        assert_eq!(check("127.0.0.1:3000"), Ok(()));
        assert_eq!(check("example.com"), Err(WrongHost::NotOurs));
    }
}
