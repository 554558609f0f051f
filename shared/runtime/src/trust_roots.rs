//! Which certificate authorities a function trusts when it talks to AWS.
//!
//! To read and parse the system's some 140 roots is the largest part of a function's start that can be saved: see
//! the measurements in `infra/guides`. AWS's endpoints chain to the five of Amazon Trust Services, which are built in, from
//! Mozilla's list. Where that is not certain, the system's are read.

use aws_smithy_http_client::tls::TrustStore;

/// Amazon Root CA 1 to 4 and Starfield Services Root CA G2; valid until 2037 and longer. `build.rs` takes them from
/// `webpki-root-certs`, so an update of that crate updates them.
const AMAZON_ROOTS: &str = include_str!(concat!(env!("OUT_DIR"), "/amazon-roots.pem"));

/// Whose roots are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Roots {
    /// Those of Amazon Trust Services.
    Amazon,
    /// Those that the system has, or that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    System,
}

/// The roots for AWS's endpoints in `region`, and for `endpoints` used instead of them. `lookup` gives the value of a
/// variable: with `SSL_CERT_FILE` or `SSL_CERT_DIR` a person says which roots count.
pub(crate) fn trust_store<'a>(
    lookup: impl Fn(&str) -> Option<String>,
    region: &str,
    endpoints: impl IntoIterator<Item = &'a str>,
) -> TrustStore {
    match roots(lookup, region, endpoints) {
        Roots::Amazon => TrustStore::empty().with_pem_certificate(AMAZON_ROOTS),
        Roots::System => TrustStore::default(),
    }
}

fn roots<'a>(
    lookup: impl Fn(&str) -> Option<String>,
    region: &str,
    endpoints: impl IntoIterator<Item = &'a str>,
) -> Roots {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .iter()
        .any(|name| lookup(name).is_some());
    // Over plain http, as in tests and on a laptop, no certificate is checked anyway.
    let elsewhere = endpoints
        .into_iter()
        .any(|endpoint| !endpoint.starts_with("http://"));
    if named || elsewhere || !is_of_the_public_partition(region) {
        Roots::System
    } else {
        Roots::Amazon
    }
}

/// Whether a region is one of those that anybody can use, such as `eu-central-1`. The others (China, GovCloud, the
/// European Sovereign Cloud, the isolated ones) may have other authorities.
fn is_of_the_public_partition(region: &str) -> bool {
    const AREAS: [&str; 9] = ["af", "ap", "ca", "eu", "il", "me", "mx", "sa", "us"];
    let mut parts = region.split('-');
    let area = parts.next().unwrap_or_default();
    AREAS.contains(&area) && parts.count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(region: &str, endpoints: &[&str], variable: Option<&str>) -> Roots {
        let lookup = |name: &str| (Some(name) == variable).then(|| "/etc/roots.pem".to_owned());
        roots(lookup, region, endpoints.iter().copied())
    }

    #[test]
    fn amazons_roots_are_believed_where_nothing_but_aws_is_reached() {
        for region in [
            "us-east-1",
            "eu-central-1",
            "ap-southeast-7",
            "mx-central-1",
        ] {
            assert_eq!(of(region, &[], None), Roots::Amazon, "{region}");
        }
        assert_eq!(
            of("eu-central-1", &["http://127.0.0.1:8000"], None),
            Roots::Amazon
        );
    }

    #[test]
    fn the_systems_roots_are_believed_where_other_authorities_may_sign() {
        for region in [
            "cn-north-1",
            "us-gov-west-1",
            "eusc-de-east-1",
            "us-iso-east-1",
            "eu-isoe-west-1",
            "",
        ] {
            assert_eq!(of(region, &[], None), Roots::System, "{region}");
        }
        let endpoints = ["http://127.0.0.1:8000", "https://dynamodb.example.com"];
        assert_eq!(of("eu-central-1", &endpoints, None), Roots::System);
        for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
            assert_eq!(of("eu-central-1", &[], Some(variable)), Roots::System);
        }
    }

    #[test]
    fn five_roots_are_built_in() {
        assert_eq!(AMAZON_ROOTS.matches("BEGIN CERTIFICATE").count(), 5);
    }
}
