//! Writes the root certificates that AWS's endpoints chain to, as Mozilla publishes them, for `trust_roots`.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// The roots of Amazon Trust Services, by the names that they carry. AWS asks its customers to trust all of them:
/// <https://www.amazontrust.com/repository/>.
const NAMES: [&str; 5] = [
    "Amazon Root CA 1",
    "Amazon Root CA 2",
    "Amazon Root CA 3",
    "Amazon Root CA 4",
    "Starfield Services Root Certificate Authority - G2",
];

#[expect(
    clippy::disallowed_methods,
    reason = "cargo's own variable, not a setting of the service"
)]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let mut pem = String::new();
    for name in NAMES {
        let mut named = TLS_SERVER_ROOT_CERTS.iter().filter(|certificate| {
            certificate
                .windows(name.len())
                .any(|part| part == name.as_bytes())
        });
        let (Some(certificate), None) = (named.next(), named.next()) else {
            return Err(format!("webpki-root-certs has not one certificate named {name:?}").into());
        };
        let text = STANDARD.encode(certificate);
        writeln!(
            pem,
            "-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----"
        )?;
    }
    fs::write(
        Path::new(&std::env::var("OUT_DIR")?).join("amazon-roots.pem"),
        pem,
    )?;
    Ok(())
}
