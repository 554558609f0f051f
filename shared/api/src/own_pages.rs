//! The pages that this service has in addition to its API: which of them are there, and what a team puts on them.

use std::sync::{Arc, Once};

use axum::Extension;
use axum::extract::OriginalUri;
use axum::response::Redirect;
use latchkey_domain::text::{InvalidName, check_name};

/// Which pages are there, and how they look.
///
/// ```
/// use latchkey_api::own_pages::OwnPages;
///
/// assert!(!OwnPages::default().any());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnPages {
    /// Whether people find their devices and their account at `/account`.
    pub account: bool,
    /// Whether administrators find the users at `/admin`.
    pub admin: bool,
    /// What the pages call the product.
    pub name: PageName,
    /// A picture in the place of the name.
    pub logo: Option<PageFile>,
    /// A style sheet that is read after the pages' own.
    pub stylesheet: Option<PageFile>,
    /// Whether nobody new may register, so that no page offers it.
    pub registration_closed: bool,
    /// Whether nobody sends links by mail, so that no page offers what needs one.
    pub without_links: bool,
}

impl OwnPages {
    /// Whether there is any page.
    #[must_use]
    pub fn any(&self) -> bool {
        self.account || self.admin
    }

    /// The setting that names this path as a file of the pages. The service has no file there, which is logged once for
    /// each setting.
    pub(crate) fn setting_of_missing_file(&self, path: &str) -> Option<&'static str> {
        static STYLESHEET: Once = Once::new();
        static LOGO: Once = Once::new();
        let files = [
            ("PAGE_STYLESHEET", &self.stylesheet, &STYLESHEET),
            ("PAGE_LOGO", &self.logo, &LOGO),
        ];
        let names = |file: &Option<PageFile>| file.as_ref().is_some_and(|file| file.0 == path);
        let (setting, _, warning) = files.into_iter().find(|(_, file, _)| names(file))?;
        warning.call_once(|| {
            tracing::warn!(
                setting,
                path,
                "the pages lack a file: the service itself has none at the path in this setting; give an https URL, or \
                 a path that another server answers on the same domain"
            );
        });
        Some(setting)
    }
}

/// The name of a product, by the rule for names that people enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageName(String);

impl PageName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`InvalidName`]
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        check_name(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The name, unescaped.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for PageName {
    fn default() -> Self {
        Self("Latchkey".to_owned())
    }
}

/// The address of a file that a page loads: an https URL, or a path of the service's own origin. It has no character that
/// means something in HTML or in a content security policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageFile(String);

/// The text is no address of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not an https URL or a path from / on, of letters, digits and -._~:/%, such as https://cdn.example.com/a.css"
)]
pub struct InvalidPageFile;

impl PageFile {
    /// Reads an address.
    ///
    /// # Errors
    /// [`InvalidPageFile`]
    pub fn parse(text: &str) -> Result<Self, InvalidPageFile> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/%".contains(&byte);
        let rest = text.strip_prefix("https:/").unwrap_or(text);
        let below = rest.strip_prefix('/').filter(|rest| !rest.is_empty());
        match below {
            Some(below) if below.bytes().all(plain) && !below.starts_with('/') => {
                Ok(Self(text.to_owned()))
            }
            Some(_) | None => Err(InvalidPageFile),
        }
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a content security policy allows for it in addition to `'self'`: nothing for a path of this origin.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.0.starts_with("https:").then_some(self.as_str())
    }
}

/// Leads who opens the bare address to a page for people, or to the documentation where there is none. The service may
/// stand under a path, with or without a slash at its end.
pub async fn from_root(
    OriginalUri(uri): OriginalUri,
    Extension(pages): Extension<Arc<OwnPages>>,
) -> Redirect {
    let page = if pages.account { "account" } else { "docs" };
    Redirect::to(&format!("{}/{page}", uri.path().trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_an_https_url_or_a_path_of_this_origin() {
        for (right, source) in [
            ("/brand/logo.svg", None),
            (
                "https://cdn.example.com/brand-2.css",
                Some("https://cdn.example.com/brand-2.css"),
            ),
            (
                "https://cdn.example.com:8443/a%20b.svg",
                Some("https://cdn.example.com:8443/a%20b.svg"),
            ),
        ] {
            let file = PageFile::parse(right).unwrap();
            assert_eq!((file.as_str(), file.source()), (right, source));
        }
        for wrong in [
            "",
            "/",
            "//cdn.example.com/a.css",
            "https:///a.css",
            "https:/a.css",
            "https://",
            "http://cdn.example.com/a.css",
            "data:text/css,a",
            "brand/logo.svg",
            "/a.css?v=1",
            "/a.css'",
            "/a b.css",
            "/a.css;script-src",
            "https://cdn.example.com/a.css https://evil.example",
            "/\"><script>",
        ] {
            assert_eq!(PageFile::parse(wrong), Err(InvalidPageFile), "{wrong}");
        }
    }
}
