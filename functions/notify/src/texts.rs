//! What mails say: files in each language, built in, of which a team can replace each one.
//!
//! They are read once, at the start. A file that cannot be used stops the start with its name: a text that names a value
//! that there is none of, or a file that no message has. What a client has chosen is never in a subject, and is escaped in
//! HTML.

mod values;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use latchkey_domain::notice::{Language, Message, Notice};
use latchkey_service::notify::{NotWritten, Texts, Words};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

use values::{SAMPLES, Values, known};

/// The first line of a message's plain text begins with it.
const SUBJECT: &str = "Subject: ";
/// The page around all messages.
const LAYOUT: &str = "layout.html";

macro_rules! built_in {
    ($($name:literal,)*) => {
        /// The files that are built in.
        const BUILT_IN: &[(&str, &str)] = &[$(($name, include_str!(concat!("../texts/", $name)))),*];
    };
}

built_in! {
    "layout.html",
    "en/details.txt", "en/details.html",
    "en/new_device.txt", "en/new_device.html",
    "en/unusual_place.txt", "en/unusual_place.html",
    "en/password_changed.txt", "en/password_changed.html",
    "en/email_changed.txt", "en/email_changed.html",
    "en/session_reused.txt", "en/session_reused.html",
    "en/account_deleted.txt", "en/account_deleted.html",
    "en/verify_email.txt", "en/verify_email.html",
    "en/reset_password.txt", "en/reset_password.html",
    "en/confirm_email.txt", "en/confirm_email.html",
    "en/already_registered.txt", "en/already_registered.html",
    "de/details.txt", "de/details.html",
    "de/new_device.txt", "de/new_device.html",
    "de/unusual_place.txt", "de/unusual_place.html",
    "de/password_changed.txt", "de/password_changed.html",
    "de/email_changed.txt", "de/email_changed.html",
    "de/session_reused.txt", "de/session_reused.html",
    "de/account_deleted.txt", "de/account_deleted.html",
    "de/verify_email.txt", "de/verify_email.html",
    "de/reset_password.txt", "de/reset_password.html",
    "de/confirm_email.txt", "de/confirm_email.html",
    "de/already_registered.txt", "de/already_registered.html",
}

/// What is the same in every mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letterhead {
    /// What the product is called.
    pub product: String,
    /// Where the pages of accounts are, without a slash at its end.
    pub account_url: String,
    /// What the mails are written in.
    pub language: Language,
}

/// Why texts cannot be used. It names the file.
#[derive(Debug, thiserror::Error)]
pub enum TextsError {
    /// The folder cannot be read.
    #[error("MAIL_TEXTS: {path}: {source}")]
    Unreadable {
        /// The file or the folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no message that would use it.
    #[error("MAIL_TEXTS: {0} replaces no text; the texts are in infra/guides/operate/mail.md")]
    Unknown(PathBuf),
    /// It is not written as a text is.
    #[error("the mail text {file}: {reason}")]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The texts of all messages. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MailTexts {
    environment: Arc<Environment<'static>>,
    letterhead: Letterhead,
}

impl MailTexts {
    /// The texts that are built in, each replaced by the file of its name in `folder`, if there is one.
    ///
    /// # Errors
    /// [`TextsError`] names the first file that cannot be used.
    pub fn read(letterhead: Letterhead, folder: Option<&Path>) -> Result<Self, TextsError> {
        let mut files: BTreeMap<String, String> = BUILT_IN
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        if let Some(folder) = folder {
            replace(&mut files, folder)?;
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .keep_trailing_newline(true)
            .build();
        environment.set_syntax(syntax.map_err(|error| malformed(LAYOUT, &error))?);
        environment.set_auto_escape_callback(|name| match name.ends_with(".html") {
            true => AutoEscape::Html,
            false => AutoEscape::None,
        });
        for (file, text) in files {
            add(&mut environment, &file, text)?;
        }
        let texts = Self {
            environment: Arc::new(environment),
            letterhead,
        };
        texts.check()?;
        Ok(texts)
    }

    /// Writes every message with and without what may be missing, in every language.
    fn check(&self) -> Result<(), TextsError> {
        for language in Language::ALL {
            for message in Message::ALL {
                for sample in &SAMPLES {
                    let values = Values::of_sample(message, language, sample);
                    let written = self.render(message, language, &values);
                    written.map_err(|error| {
                        malformed(&error_file(&error, message, language), &error)
                    })?;
                }
            }
        }
        Ok(())
    }

    fn render(
        &self,
        message: Message,
        language: Language,
        values: &Values,
    ) -> Result<Words, minijinja::Error> {
        let Letterhead {
            product,
            account_url,
            ..
        } = &self.letterhead;
        let stem = format!("{}/{}", language.as_str(), message.as_str());
        let fixed = context! {
            product => product.as_str(),
            account_url => account_url.as_str(),
            language => language.as_str(),
        };
        let values = context! { ..Value::from(Serde(values)), ..fixed };
        let render =
            |name: String, values: &Value| self.environment.get_template(&name)?.render(values);
        let subject = one_line(&render(format!("{stem}.subject"), &values)?);
        let text = render(format!("{stem}.txt"), &values)?;
        let page_values = context! { subject => subject.as_str(), ..values };
        Ok(Words {
            html: render(format!("{stem}.html"), &page_values)?,
            text,
            subject,
        })
    }
}

impl Texts for MailTexts {
    fn write(&self, notice: &Notice, link: Option<&str>) -> Result<Words, NotWritten> {
        let language = self.letterhead.language;
        let values = Values::of(notice, link, language);
        let written = self.render(notice.message, language, &values);
        written.map_err(|error| {
            // Its words may hold what the values hold.
            let (file, kind) = (error.name(), error.kind());
            tracing::error!(file, ?kind, "a mail could not be written");
            NotWritten
        })
    }
}

/// Replaces texts by the files of a folder.
fn replace(files: &mut BTreeMap<String, String>, folder: &Path) -> Result<(), TextsError> {
    let mut folders = vec![folder.to_owned()];
    while let Some(path) = folders.pop() {
        let unreadable = |source| TextsError::Unreadable {
            path: path.clone(),
            source,
        };
        for entry in path.read_dir().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap_or(&path);
            let name: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
            let Some(text) = files.get_mut(&name.join("/")) else {
                return Err(TextsError::Unknown(path));
            };
            *text = std::fs::read_to_string(&path)
                .map_err(|source| TextsError::Unreadable { path, source })?;
        }
    }
    Ok(())
}

/// Takes a file in. The plain text of a message is two templates: its subject and the rest.
fn add(environment: &mut Environment<'static>, file: &str, text: String) -> Result<(), TextsError> {
    let message = Message::ALL
        .into_iter()
        .find(|message| file.split(['/', '.']).nth(1) == Some(message.as_str()));
    let stem = file.strip_suffix(".txt");
    if let (Some(_), Some(stem)) = (message, stem) {
        let (subject, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let Some(subject) = subject.strip_prefix(SUBJECT) else {
            return Err(malformed(
                file,
                &"its first line does not begin with \"Subject: \"",
            ));
        };
        let name = format!("{stem}.subject");
        add_template(
            environment,
            &name,
            file,
            subject.trim().to_owned(),
            &["product"],
        )?;
        let rest = rest.trim_start().to_owned();
        return add_template(environment, file, file, rest, &known(message));
    }
    let mut values = known(message);
    if file.ends_with(".html") {
        values.push("subject");
    }
    if file == LAYOUT {
        // A link is a message's own matter.
        values.retain(|value| !values::OF_LINKS.contains(value));
    }
    add_template(environment, file, file, text, &values)
}

fn add_template(
    environment: &mut Environment<'static>,
    name: &str,
    file: &str,
    text: String,
    known: &[&str],
) -> Result<(), TextsError> {
    let added = environment.add_template_owned(name.to_owned(), text);
    added.map_err(|error| malformed(file, &error))?;
    let template = environment.get_template(name);
    let named = template.map_err(|error| malformed(file, &error))?;
    let mut named: Vec<String> = named.undeclared_variables(false).into_iter().collect();
    named.sort();
    match named.iter().find(|value| !known.contains(&value.as_str())) {
        None => Ok(()),
        Some(value) => {
            let known = known.join(", ");
            let reason = format!("there is no value {value:?} here; there are {known}");
            Err(malformed(file, &reason))
        }
    }
}

fn malformed(file: &str, reason: &dyn std::fmt::Display) -> TextsError {
    TextsError::Malformed {
        file: file.to_owned(),
        reason: reason.to_string(),
    }
}

/// The file in which a template failed.
fn error_file(error: &minijinja::Error, message: Message, language: Language) -> String {
    let whole = || format!("{}/{}", language.as_str(), message.as_str());
    error.name().map_or_else(whole, str::to_owned)
}

/// A subject in one line, whatever stands in the file or the name of the product: a line more would be another header.
fn one_line(text: &str) -> String {
    let parts = text.split(|c: char| c.is_control() || c.is_whitespace());
    let words: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests;
