//! Whom mails come from.

use std::str::FromStr;

use crate::email::EmailAddress;
use crate::text::{check_name, clean};

/// Whom mails come from: an address, and the name that mail programs show. Written as `Example <no-reply@example.com>`, or
/// as the address alone.
///
/// ```
/// use latchkey_domain::notice::Sender;
///
/// let sender: Sender = "Example <no-reply@example.com>".parse().unwrap();
/// assert_eq!(sender.name(), "Example");
/// let sender: Sender = "no-reply@example.com".parse().unwrap();
/// assert_eq!(sender.name(), "example.com");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    name: Option<String>,
    address: EmailAddress,
}

/// That is nobody whom mails can come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not an address such as no-reply@example.com or Example <no-reply@example.com>, with a mailbox in ASCII"
)]
pub struct InvalidSender;

impl Sender {
    /// The address.
    #[must_use]
    pub fn address(&self) -> &EmailAddress {
        &self.address
    }

    /// The name that was given, if one was.
    #[must_use]
    pub fn given_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The name, or the domain of the address.
    #[must_use]
    pub fn name(&self) -> &str {
        let domain = self.address.as_typed().rsplit('@').next();
        self.name.as_deref().or(domain).unwrap_or_default()
    }
}

impl FromStr for Sender {
    type Err = InvalidSender;

    fn from_str(text: &str) -> Result<Self, InvalidSender> {
        let (name, address) = match text.trim().strip_suffix('>') {
            Some(text) => {
                let (name, address) = text.split_once('<').ok_or(InvalidSender)?;
                (Some(name.trim().trim_matches('"').trim()), address)
            }
            None => (None, text),
        };
        if let Some(name) = name {
            check_name(name).map_err(|_| InvalidSender)?;
        }
        let address = EmailAddress::parse(address).map_err(|_| InvalidSender)?;
        // SES sends from none whose mailbox has letters beyond ASCII, so no mail at all would be sent.
        let mailbox = address.as_typed().split('@').next();
        if !mailbox.is_some_and(str::is_ascii) {
            return Err(InvalidSender);
        }
        Ok(Self {
            name: name.and_then(clean),
            address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_header_or_is_no_address_is_refused() {
        for wrong in [
            "",
            "Example",
            "Example <no-reply>",
            "<no-reply@example.com",
            "no-reply@example.com>",
            "<no-reply@example.com>",
            "Example\r\nBcc: eve@example.com <no-reply@example.com>",
            "a@example.com, b@example.com",
            "Example <a@example.com> <b@example.com>",
            "grüße@example.com",
            "Example <用户@example.com>",
        ] {
            assert_eq!(wrong.parse::<Sender>(), Err(InvalidSender), "{wrong:?}");
        }
        let quoted: Sender = "\"Müller & Söhne\" <mail@example.com>".parse().unwrap();
        assert_eq!(quoted.given_name(), Some("Müller & Söhne"));
        assert_eq!(quoted.name(), "Müller & Söhne");
        let unnamed: Sender = "mail@example.com".parse().unwrap();
        assert_eq!(
            (unnamed.given_name(), unnamed.name()),
            (None, "example.com")
        );
    }
}
