use std::collections::BTreeSet;

use latchkey_domain::device::DeviceType;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::notice::Whereabouts;
use latchkey_domain::session::ClientLocation;

use super::*;

fn letterhead(language: Language) -> Letterhead {
    Letterhead {
        product: "Example & Sons".to_owned(),
        account_url: "https://id.example.com/account".to_owned(),
        language,
    }
}

fn notice(message: Message, device: &str) -> Notice {
    Notice {
        message,
        to: EmailAddress::parse("ada@example.com").unwrap(),
        at: "2026-03-01T09:05:00Z".parse().unwrap(),
        whereabouts: Some(Whereabouts {
            device: Some(device.to_owned()),
            device_type: DeviceType::Desktop,
            location: ClientLocation {
                ip_address: Some("203.0.113.7".parse().unwrap()),
                city: Some("Berlin".to_owned()),
                country: Some("DE".to_owned()),
                coordinates: None,
            },
        }),
        session: None,
        account_created_at: Some("2026-02-28T23:59:00Z".parse().unwrap()),
        shows_device_name: true,
        is_confirmed: true,
        from_operator: false,
        link: None,
    }
}

fn write(texts: &MailTexts, message: Message, device: &str) -> Words {
    let link = message
        .link_lifetime()
        .map(|_| "https://id.example.com/account/page#token=abc.def");
    texts.write(&notice(message, device), link).unwrap()
}

/// A folder of texts, which goes away at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir();
        let folder = folder.join(format!("latchkey-texts-{}-{name}", std::process::id()));
        for (file, text) in files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn read(&self) -> Result<MailTexts, TextsError> {
        MailTexts::read(letterhead(Language::En), Some(&self.0))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_message_has_its_texts_in_every_language_and_there_are_no_others() {
    let mut expected = BTreeSet::from([LAYOUT.to_owned()]);
    for language in Language::ALL {
        let names = Message::ALL
            .map(Message::as_str)
            .into_iter()
            .chain(["details"]);
        for name in names {
            for ending in ["txt", "html"] {
                expected.insert(format!("{}/{name}.{ending}", language.as_str()));
            }
        }
    }
    let built_in: BTreeSet<String> = BUILT_IN
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(built_in, expected);
}

#[test]
fn every_message_says_what_happened_and_when_and_gives_its_link() {
    for language in Language::ALL {
        let texts = MailTexts::read(letterhead(language), None).unwrap();
        let mut subjects = BTreeSet::new();
        for message in Message::ALL {
            let words = write(&texts, message, "Firefox");
            assert!(words.subject.contains("Example & Sons"), "{message:?}");
            assert!(words.html.contains("Example &amp; Sons"), "{message:?}");
            let lang = format!("<html lang=\"{}\">", language.as_str());
            assert!(words.html.contains(&lang), "{}", words.html);
            let link = match message {
                // Whoever gets these has no account there any more, and is to contact the product.
                Message::AccountDeleted | Message::EmailChanged => None,
                _ if message.link_lifetime().is_some() => {
                    Some("https://id.example.com/account/page#token=abc.def")
                }
                _ => Some("https://id.example.com/account"),
            };
            if let Some(link) = link {
                assert!(
                    words.text.lines().any(|line| line == link),
                    "{}",
                    words.text
                );
                let href = format!("href=\"{}\"", link.replace('/', "&#x2f;"));
                assert!(words.html.contains(&href), "{}", words.html);
            } else {
                assert!(!words.text.contains("https://"), "{}", words.text);
            }
            {
                let time = language.write_time("2026-03-01T09:05:00Z".parse().unwrap());
                for shown in [time.as_str(), "Firefox", "Berlin, DE", "203.0.113.7"] {
                    assert!(
                        words.text.contains(shown) && words.html.contains(shown),
                        "{shown}"
                    );
                }
            }
            // Neither markup nor a template is left over, and no two paragraphs have run together.
            assert!(!words.text.contains(['{', '<']), "{}", words.text);
            assert!(!words.html.contains("{{") && !words.html.contains("{%"));
            assert!(!words.text.contains("\n\n\n"), "{}", words.text);
            subjects.insert(words.subject);
        }
        assert_eq!(
            subjects.len(),
            Message::ALL.len(),
            "each has its own subject"
        );
    }
}

/// The texts themselves, so that a change of one is seen.
#[test]
fn the_texts_read_so() {
    let english = MailTexts::read(letterhead(Language::En), None).unwrap();
    let words = write(&english, Message::NewDevice, "Chrome on Windows");
    assert_eq!(words.subject, "New sign-in to your Example & Sons account");
    assert_eq!(
        words.text,
        "Somebody signed in to your Example & Sons account on a device that we have not seen there before.\n\
         \n\
         Device: Chrome on Windows\n\
         Place: Berlin, DE (estimated from the network address)\n\
         Network address: 203.0.113.7\n\
         Time: 1 March 2026 at 09:05 UTC\n\
         \n\
         If this was you, there is nothing to do.\n\
         \n\
         If this wasn’t you, end this session in the list of your devices, then change your password:\n\
         \n\
         https://id.example.com/account\n\
         \n\
         -- \n\
         You get this message because your account was used on a device for the first time. It contains no link that signs \
         anybody in.\n"
    );
    let german = MailTexts::read(letterhead(Language::De), None).unwrap();
    let words = write(&german, Message::ResetPassword, "Chrome unter Windows");
    assert_eq!(
        words.subject,
        "Wählen Sie ein neues Passwort für Example & Sons"
    );
    assert_eq!(
        words.text,
        "Jemand, vermutlich Sie selbst, möchte ein neues Passwort für Ihr Konto bei Example & Sons wählen. Der Link \
         funktioniert einmal und gilt 10 Minuten.\n\
         \n\
         https://id.example.com/account/page#token=abc.def\n\
         \n\
         Mit dem neuen Passwort werden alle Ihre Geräte abgemeldet, und Sie melden sich neu an.\n\
         \n\
         Wenn Sie das nicht waren, ignorieren Sie diese Nachricht: Ihr Passwort bleibt, wie es ist. Geben Sie den Link an \
         niemanden weiter, auch nicht an Personen, die sagen, dass sie für Example & Sons arbeiten.\n\
         \n\
         Gerät: Chrome unter Windows\n\
         Ort: Berlin, DE (geschätzt anhand der Netzwerkadresse)\n\
         Netzwerkadresse: 203.0.113.7\n\
         Zeit: 1. März 2026 um 09:05 Uhr (UTC)\n\
         \n\
         -- \n\
         Sie erhalten diese Nachricht, weil dies die Adresse Ihres Kontos ist.\n"
    );
}

#[test]
fn what_a_client_has_chosen_is_escaped_in_html_and_in_no_subject() {
    let texts = MailTexts::read(letterhead(Language::En), None).unwrap();
    let long = "א".repeat(100);
    for device in [
        "<script>alert(1)</script>\"'&",
        "x\r\nBcc: eve@example.com",
        &long,
    ] {
        for message in Message::ALL {
            let words = write(&texts, message, device);
            assert!(!words.html.contains("<script>"), "{}", words.html);
            assert!(!words.subject.contains("Bcc") && !words.subject.contains("script"));
            assert!(!words.subject.contains(['\r', '\n', 'א']));
        }
    }
    let words = write(&texts, Message::NewDevice, &long);
    assert!(
        words.html.contains(&format!("<bdi>{long}</bdi>")),
        "it turns nothing around it"
    );
}

/// What a client calls a device stays as it is.
#[test]
fn a_name_of_ours_is_written_in_the_language_of_the_mail() {
    for (name, en, de) in [
        (
            "Chrome on Windows",
            "Chrome on Windows",
            "Chrome unter Windows",
        ),
        ("Safari on iPhone", "Safari on iPhone", "Safari auf iPhone"),
        ("Firefox", "Firefox", "Firefox"),
        ("Ada on Windows", "Ada on Windows", "Ada on Windows"),
        (
            "Kindle on the shelf",
            "Kindle on the shelf",
            "Kindle on the shelf",
        ),
    ] {
        for (language, label, written) in
            [(Language::En, "Device", en), (Language::De, "Gerät", de)]
        {
            let texts = MailTexts::read(letterhead(language), None).unwrap();
            let words = write(&texts, Message::NewDevice, name);
            let line = format!("{label}: {written}\n");
            assert!(words.text.contains(&line), "{}", words.text);
            assert!(words.html.contains(written), "{}", words.html);
        }
    }
}

#[test]
fn a_device_of_which_nothing_is_known_is_called_unknown() {
    for (language, label, unknown) in [
        (Language::En, "Device", "Unknown device"),
        (Language::De, "Gerät", "Unbekanntes Gerät"),
    ] {
        let texts = MailTexts::read(letterhead(language), None).unwrap();
        for message in Message::ALL {
            let mut notice = notice(message, "");
            let link = message.link_lifetime().map(|_| "https://id.example.com");
            let place = notice.whereabouts.as_mut().unwrap();
            (place.device, place.device_type) = (None, DeviceType::Unknown);
            let words = texts.write(&notice, link).unwrap();
            let line = format!("{label}: {unknown}\n");
            assert!(words.text.contains(&line), "{}", words.text);
            assert!(words.html.contains(unknown), "{}", words.html);
            for known in ["Berlin, DE", "203.0.113.7"] {
                assert!(words.text.contains(known), "{}", words.text);
            }
            // Where nothing says where it was done, nothing is said of it.
            notice.whereabouts = None;
            let words = texts.write(&notice, link).unwrap();
            let line = format!("{label}: ");
            assert!(!words.text.contains(&line), "{}", words.text);
        }
    }
}

#[test]
fn a_link_that_those_who_run_the_service_have_asked_for_says_so() {
    for (language, by_operator, by_anybody) in [
        (
            Language::En,
            ["Those who run", "If you have not asked them for it"],
            ["Somebody, probably you,", "If this wasn’t you"],
        ),
        (
            Language::De,
            ["Die Betreiber von", "Wenn Sie nicht darum gebeten haben"],
            ["Jemand, vermutlich Sie selbst,", "Wenn Sie das nicht waren"],
        ),
    ] {
        let texts = MailTexts::read(letterhead(language), None).unwrap();
        for (from_operator, says, says_not) in [
            (true, by_operator, by_anybody),
            (false, by_anybody, by_operator),
        ] {
            let notice = Notice {
                from_operator,
                ..notice(Message::ResetPassword, "Firefox")
            };
            let words = texts.write(&notice, Some("https://id.example.com"));
            let words = words.unwrap();
            for words in [words.text, words.html] {
                assert!(says.iter().all(|says| words.contains(says)), "{words}");
                assert!(!says_not.iter().any(|not| words.contains(not)), "{words}");
            }
        }
    }
}

#[test]
fn the_name_of_the_product_adds_no_header() {
    let product = "Example\r\nBcc: eve@example.com".to_owned();
    let letterhead = Letterhead {
        product,
        ..letterhead(Language::En)
    };
    let texts = MailTexts::read(letterhead, None).unwrap();
    let words = write(&texts, Message::NewDevice, "x");
    assert_eq!(
        words.subject,
        "New sign-in to your Example Bcc: eve@example.com account"
    );
}

#[test]
fn a_file_replaces_one_text_and_the_others_stay() {
    let folder = Folder::new(
        "one",
        &[(
            "en/new_device.txt",
            "Subject: Hello\n\nIt was {{ device }}.\n",
        )],
    );
    let texts = folder.read().unwrap();
    let words = write(&texts, Message::NewDevice, "Chrome on Windows");
    assert_eq!(
        (words.subject.as_str(), words.text.as_str()),
        ("Hello", "It was Chrome on Windows.\n")
    );
    assert!(words.html.contains("<h1>New sign-in</h1>"));
}

#[test]
fn a_text_that_cannot_be_used_stops_the_start_with_its_name() {
    for (name, file, text, reason) in [
        (
            "value",
            "en/new_device.txt",
            "Subject: x\n\n{{ devise }}",
            "no value \"devise\"",
        ),
        // Also where it would rarely be looked at, and where it is another message's.
        (
            "branch",
            "de/new_device.html",
            "{% if false %}{{ nonsense }}{% endif %}",
            "\"nonsense\"",
        ),
        (
            "link",
            "en/new_device.html",
            "{{ link }}",
            "no value \"link\"",
        ),
        (
            "subject",
            "en/new_device.txt",
            "Subject: {{ device }}\n\nx",
            "no value \"device\"",
        ),
        ("layout", "layout.html", "{{ link }}", "no value \"link\""),
        ("details", "de/details.txt", "{{ geraet }}", "geraet"),
        ("first", "en/new_device.txt", "Hello", "first line"),
        ("syntax", "en/new_device.txt", "Subject: x\n\n{{ device", ""),
        (
            "include",
            "de/new_device.txt",
            "Subject: x\n\n{% include \"de/detail.txt\" %}",
            "detail.txt",
        ),
        (
            "filter",
            "de/reset_password.html",
            "{{ link|sooner }}",
            "sooner",
        ),
    ] {
        let folder = Folder::new(name, &[(file, text)]);
        let error = folder.read().unwrap_err().to_string();
        assert!(
            error.contains(file) && error.contains(reason),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_file_that_no_message_uses_stops_the_start() {
    for (name, file) in [
        ("word", "en/new_devise.txt"),
        ("language", "fr/new_device.txt"),
        ("top", "notes.md"),
    ] {
        let folder = Folder::new(name, &[(file, "Subject: x\n\nx")]);
        let error = folder.read().unwrap_err().to_string();
        assert!(error.contains(file), "{error}");
    }
    let missing = MailTexts::read(letterhead(Language::En), Some(Path::new("/nowhere/texts")));
    assert!(missing.unwrap_err().to_string().contains("/nowhere/texts"));
}
