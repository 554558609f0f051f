//! What the function that serves the pages needs: neither the table nor the secret.

use latchkey_api::edge::EdgeSecret;
use latchkey_api::http::BasePath;
use latchkey_api::own_pages::{OwnPages, PageFile, PageName};
use latchkey_domain::policy::SessionPolicy;

use super::{SettingsError, reader::Reader};

/// The settings of the function that serves the pages.
#[derive(Clone, Debug)]
pub struct PagesSettings {
    /// The path of `ISSUER`: the pages are under it.
    pub base_path: BasePath,
    /// `ACCOUNT_PAGES`, `ADMIN_PAGES`, `PAGE_NAME`, `PAGE_LOGO`, `PAGE_STYLESHEET`, `PAGE_LINKS`, `REGISTRATION`.
    pub pages: OwnPages,
    /// `EDGE_SECRET`: what CloudFront shows when the service stands behind it; none when it does not.
    pub edge: Option<EdgeSecret>,
}

impl PagesSettings {
    /// Reads the settings with `lookup`, which gives the value of a variable.
    ///
    /// # Errors
    /// [`SettingsError`], with every variable that is missing or wrong.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(&lookup);
        let (_, base_path) = reader.issuer();
        let settings = Self {
            base_path,
            pages: OwnPages {
                registration_closed: !reader.registration_open(),
                ..reader.own_pages()
            },
            edge: reader.edge(),
        };
        reader.finish(settings)
    }
}

impl Reader<'_> {
    pub(super) fn own_pages(&mut self) -> OwnPages {
        OwnPages {
            account: self.boolean("ACCOUNT_PAGES", true),
            admin: self.boolean("ADMIN_PAGES", false),
            name: self
                .parsed("PAGE_NAME", PageName::parse)
                .unwrap_or_default(),
            logo: self.parsed("PAGE_LOGO", PageFile::parse),
            stylesheet: self.parsed("PAGE_STYLESHEET", PageFile::parse),
            registration_closed: false,
            without_links: !self.boolean("PAGE_LINKS", true),
        }
    }

    pub(super) fn registration_open(&mut self) -> bool {
        let values = [("open", true), ("closed", false)];
        let default = SessionPolicy::default().registration_open;
        self.choose("REGISTRATION", default, &values, "open or closed")
    }

    fn parsed<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = parse(&self.optional(name)?);
        value
            .map_err(|error| self.wrong(name, format_args!("cannot be used: {error}")))
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changes: &[(&str, &str)]) -> Result<PagesSettings, SettingsError> {
        PagesSettings::read(|name| match name {
            "ISSUER" => Some("https://id.example.com/auth".to_owned()),
            _ => {
                let change = changes.iter().find(|(changed, _)| *changed == name);
                change.map(|(_, value)| (*value).to_owned())
            }
        })
    }

    #[test]
    fn the_page_of_people_is_on_and_that_of_administrators_is_off() {
        let settings = read(&[]).unwrap();
        assert!(settings.pages.account && !settings.pages.admin);
        assert_eq!(settings.pages.name.as_str(), "Latchkey");
        assert_eq!(settings.base_path.as_str(), "/auth");
    }

    #[test]
    fn the_pages_offer_registration_and_links_unless_the_operator_has_none() {
        let pages = read(&[]).unwrap().pages;
        assert!(!pages.registration_closed && !pages.without_links);
        let changes = [("REGISTRATION", "closed"), ("PAGE_LINKS", "false")];
        let pages = read(&changes).unwrap().pages;
        assert!(pages.registration_closed && pages.without_links);
    }

    #[test]
    fn what_cannot_stand_on_a_page_is_refused_by_name() {
        let changes = [
            ("PAGE_NAME", "\u{202e}"),
            ("PAGE_LOGO", "http://cdn.example.com/logo.svg"),
            ("PAGE_STYLESHEET", "/a.css;script-src *"),
            ("ADMIN_PAGES", "yes"),
        ];
        let message = read(&changes).unwrap_err().to_string();
        for (name, _) in changes {
            assert!(message.contains(name), "{name} in {message}");
        }
    }
}
