//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::admin::AdminOptions;
use crate::outside::DynamoDbUrl;

/// Where data and secret are kept unless told otherwise.
pub(crate) const DEFAULT_FOLDER: &str = ".latchkey";

/// The heading of the options that say where the data is. They stand together and in one order at every command.
pub(crate) const STORAGE: &str = "Where the data is";

/// Latchkey on this machine: every route of the service on http://127.0.0.1:3000, over an embedded DynamoDB.
///
/// No AWS account is needed. Table, keys and secret are made on the first start and kept in the data folder.
#[derive(Clone, Debug, Parser)]
#[command(name = "latchkey", version, after_long_help = MORE, after_help = "--help shows examples and settings.")]
pub struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// The port on 127.0.0.1; 0 takes any free one and prints it.
    #[arg(long, value_name = "PORT", default_value_t = 3000, value_parser = port)]
    pub(crate) port: u16,

    /// Where data and secret are kept between runs [default: .latchkey].
    #[arg(long, value_name = "FOLDER", global = true, help_heading = STORAGE, display_order = 103)]
    pub(crate) data_dir: Option<PathBuf>,

    /// Keep everything in memory: nothing is written, nothing is left at the end.
    #[arg(long, conflicts_with_all = ["data_dir", "dynamodb_url"], help_heading = STORAGE, display_order = 104)]
    pub(crate) memory: bool,

    /// Use this DynamoDB instead of the embedded one, such as DynamoDB Local.
    ///
    /// The service makes the table if there is none, commands do not; the data folder then only holds the secret. Credentials and region come from the environment or your AWS profile. Over http:// they may be missing.
    #[arg(long, value_name = "URL", global = true, value_parser = DynamoDbUrl::parse, help_heading = STORAGE, display_order = 105)]
    pub(crate) dynamodb_url: Option<DynamoDbUrl>,

    /// Also open the embedded DynamoDB on this port of 127.0.0.1, for the AWS CLI or NoSQL Workbench; 0 takes any free one.
    ///
    /// Every program on this machine can then read and write the table, with any credentials: AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x aws dynamodb list-tables --region us-east-1 --endpoint-url http://127.0.0.1:PORT
    #[arg(long, value_name = "PORT", conflicts_with = "dynamodb_url", value_parser = port, help_heading = STORAGE, display_order = 106)]
    pub(crate) dynamodb_port: Option<u16>,

    /// Show the places of addresses that this file in MaxMind's format knows, such as GeoLite2-City.mmdb.
    ///
    /// As the setting LOCATION_DATABASE, which it takes the place of.
    #[arg(long, value_name = "FILE")]
    pub(crate) location_database: Option<PathBuf>,

    /// Write no mails. Without this flag they are written but not sent, and can be read at /local/mail.
    #[arg(long)]
    pub(crate) no_mail: bool,

    /// Serve the files of this folder at /local/brand, to try a style sheet and a logo on the pages.
    ///
    /// Then PAGE_STYLESHEET=/local/brand/brand.css puts its brand.css on them.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) brand: Option<PathBuf>,
}

/// What to do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Find users, see and end their sessions, grant roles, disable or delete accounts: on the table itself.
    Admin(AdminOptions),
    /// Print the OpenAPI document of the service, for generators of clients, and end.
    Openapi,
}

/// That is no port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a port is a whole number from 0 to 65535")]
struct NotAPort;

fn port(text: &str) -> Result<u16, NotAPort> {
    text.parse().map_err(|_| NotAPort)
}

const MORE: &str = "\
Examples (after `cargo run --`, or of the binary target/debug/latchkey):
  latchkey                                         on port 3000, data in .latchkey
  latchkey --port 0 --memory                       any free port, a fresh service each time
  latchkey --data-dir demo-data                    another data folder
  latchkey --dynamodb-url http://127.0.0.1:8000    over DynamoDB Local
  latchkey --dynamodb-port 8000                    the table can be read with the AWS CLI
  latchkey admin grant ada@example.com             make somebody an administrator; see latchkey admin --help
  latchkey openapi > openapi.json                  the document of the API, without a server

Settings (environment variables, the same as on Lambda; an empty one counts as not set):
  ISSUER                    iss of the tokens, an https URL, http on this machine; the API answers under its path
                            [default: the address of the data folder's first start]
  AUDIENCE                  aud of the tokens [default: latchkey]
  AUDIENCES                 aud of access tokens for your own APIs, divided by commas [default: none]
  CLIENT_ID                 client_id of the access tokens [default: latchkey-app]
  TABLE_NAME                the DynamoDB table that holds everything; it is made if there is none
                            [default: latchkey]
  TOKEN_SECRET              at least 32 bytes; the signing keys are derived from it
                            [default: made once, kept in the data folder]
  TOKEN_ALGORITHM           what access tokens are signed with: EdDSA or RS256 [default: EdDSA]
  TOKEN_RSA_KEY             the RSA key of RS256, PKCS#8 in PEM or base64
                            [default: made once, kept in the data folder]
  TOKEN_SECRET_PREVIOUS     a replaced secret whose tokens are still accepted
  DEVICE_SECRET             at least 32 bytes; device tokens and the counts of failed sign-ins depend on it, also when
                            TOKEN_SECRET changes [default: made once, kept in the data folder; with TOKEN_SECRET, that]
  EDGE_SECRET               what CloudFront proves itself with; at least 32 characters, or two such values divided by
                            a comma [default: none]
  ALLOWED_ORIGINS           web pages that may call the API (CORS): origins divided by commas
                            [default: none]
  COOKIE_TRANSPORT          whether pages may have their refresh token in a cookie: true or false [default: false]
  ACCOUNT_PAGES             whether the page of people is at /account: true or false [default: true]
  ADMIN_PAGES               whether the page of administrators is at /admin [default: true here, false on AWS]
  PAGE_NAME                 what the pages call the product [default: Latchkey]
  PAGE_LOGO                 a picture in the place of the name: an https URL or a path from / on [default: none]
  PAGE_STYLESHEET           a style sheet that the pages read after their own: the same [default: none]
  PAGE_LINKS                whether the pages offer what needs a mail with a link: true or false [default: true]
  ACCESS_TOKEN_SECONDS      1 to 3600 [default: 900]
  SESSION_IDLE_SECONDS      1 to 316224000, at most SESSION_ABSOLUTE_SECONDS [default: 604800]
  SESSION_ABSOLUTE_SECONDS  1 to 316224000 [default: 2592000]
  REFRESH_GRACE_SECONDS     0 to 300 [default: 30]
  MAX_SESSIONS              live sessions of one user, 1 to 100 [default: 20]
  ONE_SESSION_PER_DEVICE    whether a sign-in ends the live session with the same X-Device-Id: true or false
                            [default: true]
  REAUTHENTICATE_WITHIN_SECONDS
                            how old a proof of the password may be for what asks for a recent one, 1 to 86400
                            [default: 600]
  REAUTHENTICATE_TO_REVOKE  whether ending other sessions asks for a recent one: true or false [default: false]
  REGISTRATION              whether people may register: open or closed [default: open]
  REQUIRE_VERIFIED_EMAIL    whether they verify their address before they sign in: true or false [default: false]
  ACCOUNT_URL               where the pages are that open the links of mails
                            [default: ISSUER/account, without ISSUER the address of this start]
  ADMINISTRATION            whether the routes below /v1/admin are there: true or false [default: true]
  PASSWORD_CONTEXT_WORDS    words that passwords may not be made of, divided by commas, 3 characters or more each
                            [default: none]
  RETENTION_SECONDS         how long ended sessions are kept, 0 to 316224000 [default: 2592000]
  AUTHORIZER_MODE           of the authorizer of other APIs: strict, which asks the account, or offline [default: strict]
  AUTHORIZER_AUDIENCE       whom the tokens must be meant for that it accepts [default: AUDIENCE]
  AUTHORIZER_SCOPE          what they must allow: account, admin, or both divided by a space [default: none]
  AUTHORIZER_MAX_AGE_SECONDS
                            how long ago the user may have given the password, 1 to 316224000 [default: any]
  SIGN_IN_FREE_FAILURES     wrong passwords in a row before an account's clients must wait, 0 to 100 [default: 10];
                            0 turns off this limit, and each of the five below
  ADDRESS_ATTEMPTS_PER_MINUTE
                            requests with a password from one address, 0 to 1000000 [default: 60]
  LIST_PER_MINUTE           lists on one session, 0 to 1000000 [default: 30]
  LINKS_PER_HOUR            mails of a kind to one e-mail address in an hour, 0 to 1000000 [default: 5]
  CHANGE_PER_MINUTE         revocations and renames on one session, 0 to 1000000 [default: 10]
  PURGE_PER_MINUTE          purges and exports on one session, 0 to 1000000 [default: 5]
  UNUSUAL_SPEED_KMH         a sign-in from where it takes more speed to get since the last session is unusual,
                            0 to 100000 [default: 900]
  UNUSUAL_DISTANCE_KM       unless it is nearer than this, 0 to 20000 [default: 500]; 0 turns either off
  LOCATION_DATABASE         as --location-database, unless that is given [default: none]
  ACTIVITY_DAYS             how long users see their activity, 0 to 3660; 0 keeps none [default: 90]
  MAIL_FROM                 whom mails come from, as Example <no-reply@example.com>; they are not sent but can be read at
                            /local/mail [default: Latchkey <no-reply@latchkey.localhost>]
  MAIL_LANGUAGE             en or de [default: en]
  MAIL_TEXTS                a folder whose files replace texts of mails [default: none]
  PRODUCT_NAME              what mails call the product [default: the name in MAIL_FROM]
  AWS_ENDPOINT_URL_DYNAMODB as --dynamodb-url, unless --memory, --data-dir or --dynamodb-url is given
  AWS_LAMBDA_LOG_LEVEL      TRACE, DEBUG, INFO, WARN, ERROR or FATAL [default: INFO]
  AWS_LAMBDA_LOG_FORMAT     Text or JSON [default: Text]

POST /local/cleanup runs the daily cleanup at once. POST /local/authorize takes an event of API Gateway and answers as the
authorizer does. GET /local/events has the newest events, GET /local/mail the newest mails. Only the local stack has these
routes.";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;
    use clap::error::ErrorKind;
    use latchkey_runtime::settings;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["latchkey"], arguments].concat())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    /// The options of a command in the order of its help.
    fn order(command: &clap::Command, help_of: &[&str]) -> Vec<String> {
        let mut command = command.clone();
        command.build();
        let found = help_of.iter().fold(&command, |command, name| {
            command.find_subcommand(name).unwrap()
        });
        let help = found.clone().render_long_help().to_string();
        let options = help.lines().filter_map(|line| {
            let option = line.strip_prefix("      --")?;
            option.split_whitespace().next().map(str::to_owned)
        });
        options.collect()
    }

    #[test]
    fn a_commands_own_options_come_first_and_those_of_the_data_together() {
        let command = Options::command();
        let data = ["table", "region", "profile", "data-dir", "dynamodb-url"];
        let add = order(&command, &["admin", "client", "add"]);
        let own = ["name", "scope", "issuer", "audience", "json"];
        assert_eq!(add, [&own[..], &data].concat());
        let serve = [
            "port",
            "location-database",
            "no-mail",
            "brand",
            "data-dir",
            "memory",
            "dynamodb-url",
            "dynamodb-port",
        ];
        assert_eq!(order(&command, &[]), serve);
    }

    #[test]
    fn nothing_is_required() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.port, 3000);
        assert!(!options.memory && options.data_dir.is_none() && options.dynamodb_url.is_none());
    }

    /// What a reader of `--help` cannot find, they cannot set.
    #[test]
    fn the_help_names_every_setting_and_nothing_else() {
        let help = Options::command().render_long_help().to_string();
        let (_, settings) = help.split_once("Settings (environment").unwrap();
        let listed: BTreeSet<&str> = settings
            .lines()
            .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
            .filter(|word| word.contains('_') || word.chars().all(|c| c.is_ascii_uppercase()))
            .collect();
        let mut read = settings::names();
        for not_here in [
            "TOKEN_SECRET_ARN",         // Refused here.
            "AWS_ENDPOINT_URL",         // The general form of the one for DynamoDB.
            "AWS_LAMBDA_FUNCTION_NAME", // Set by Lambda.
            "STACK_NAME",               // For metrics, which are not written here.
            "FRONT_SECRET",             // The former name of EDGE_SECRET: refused.
            "NO_COLOR",                 // A convention of terminals.
            "EVENT_BUS_NAME",           // Events stay in this process.
            "AWS_ENDPOINT_URL_EVENTBRIDGE",
            "AWS_ENDPOINT_URL_SESV2", // So do mails.
        ] {
            assert!(read.remove(not_here), "{not_here}");
        }
        assert_eq!(listed, read.iter().map(String::as_str).collect());
    }

    #[test]
    fn memory_goes_with_no_other_storage() {
        for other in [
            ["--data-dir", "x"],
            ["--dynamodb-url", "http://127.0.0.1:8000"],
        ] {
            let error = parse(&[&["--memory"], other.as_slice()].concat()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
        }
    }

    #[test]
    fn a_port_is_for_the_embedded_database() {
        assert_eq!(
            parse(&["--dynamodb-port", "0"]).unwrap().dynamodb_port,
            Some(0)
        );
        assert!(parse(&["--memory", "--dynamodb-port", "8000"]).is_ok());
        let both = [
            "--dynamodb-port",
            "8000",
            "--dynamodb-url",
            "http://127.0.0.1:8000",
        ];
        assert_eq!(
            parse(&both).unwrap_err().kind(),
            ErrorKind::ArgumentConflict
        );
    }

    #[test]
    fn an_outside_database_goes_with_a_folder_for_the_secret() {
        assert!(parse(&["--data-dir", "x", "--dynamodb-url", "http://127.0.0.1:8000"]).is_ok());
    }

    #[test]
    fn what_is_no_port_or_no_url_is_refused() {
        for wrong in [
            ["--port", "65536"],
            ["--port", "http"],
            ["--dynamodb-url", "127.0.0.1:8000"],
        ] {
            assert_eq!(
                parse(&wrong).unwrap_err().kind(),
                ErrorKind::ValueValidation,
                "{wrong:?}"
            );
        }
        let message = parse(&["--port", "abc"]).unwrap_err().to_string();
        assert!(message.contains("from 0 to 65535"), "{message}");
    }
}
