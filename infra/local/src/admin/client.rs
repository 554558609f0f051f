//! `admin client ...`: the services that may ask this one.

use chrono::SecondsFormat;
use clap::Subcommand;
use latchkey_domain::client::{Client, ClientBounds, ClientScope, ClientSecret, ManageClientError};
use latchkey_service::{Failure, NewClient, Service};
use serde_json::{Value, json};

use super::output::Output;

/// What is done with clients of other services.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Make a client. Its secret is shown this once.
    Add {
        /// Names it, in HTTP Basic and in the audit trail: letters, digits and -._
        id: String,
        /// What people call it [default: the id].
        #[arg(long)]
        name: Option<String>,
        /// What it may do: introspect, revoke, sessions:issue, links:issue. May be given more than once.
        #[arg(long = "scope", required = true)]
        scopes: Vec<ClientScope>,
        /// For sessions:issue: an identity provider whose sign-ins it may vouch for, as `identity.issuer` names it. Needed for that scope, and may be given more than once.
        #[arg(long = "issuer", value_name = "ISSUER")]
        issuers: Vec<String>,
        /// For introspect: the audience of the access tokens that it may ask about. May be given more than once; without any it may ask about every token.
        #[arg(long = "audience", value_name = "AUDIENCE")]
        audiences: Vec<String>,
    },
    /// Remove a client: its secrets open nothing from then on.
    Remove {
        /// The client.
        id: String,
    },
    /// List all clients. Reads the whole table.
    List,
    /// Give a client a second secret, which is shown this once.
    AddSecret {
        /// The client.
        id: String,
    },
    /// Take one of two secrets from a client.
    RemoveSecret {
        /// The client.
        id: String,
        /// The secret, as `list` names it.
        secret_id: String,
    },
}

/// Carries out a command, and returns what is to be printed.
pub(crate) async fn run(
    service: &Service,
    command: &ClientCommand,
) -> Result<Output, Failure<ManageClientError>> {
    let done = match command {
        ClientCommand::Add {
            id,
            name,
            scopes,
            issuers,
            audiences,
        } => {
            // Such a client could start no session. Those that were made so before stay as they are.
            if scopes.contains(&ClientScope::IssueSessions) && issuers.is_empty() {
                return Err(Failure::Refused(ManageClientError::NoIssuer));
            }
            let new = NewClient {
                id,
                name: name.as_deref().unwrap_or(id),
                scopes: scopes.iter().copied().collect(),
                bounds: ClientBounds {
                    issuers: issuers.iter().cloned().collect(),
                    audiences: audiences.iter().cloned().collect(),
                },
            };
            let (client, secret) = service.add_client(new).await?;
            Done::Client(client, Some(secret))
        }
        ClientCommand::Remove { id } => {
            service.remove_client(id).await?;
            Done::Removed(id)
        }
        ClientCommand::List => Done::List(service.list_clients().await?),
        ClientCommand::AddSecret { id } => {
            let (client, secret) = service.add_client_secret(id).await?;
            Done::Client(client, Some(secret))
        }
        ClientCommand::RemoveSecret { id, secret_id } => {
            let client = service.remove_client_secret(id, secret_id).await?;
            Done::Client(client, None)
        }
    };
    Ok(Output::new(done.to_json(), done.to_text()))
}

/// What a command has done.
enum Done<'a> {
    Client(Client, Option<ClientSecret>),
    Removed(&'a str),
    List(Vec<Client>),
}

impl Done<'_> {
    fn to_json(&self) -> Value {
        match self {
            Self::Client(client, secret) => {
                let mut value = client_to_json(client);
                if let (Some(secret), Some(members)) = (secret, value.as_object_mut()) {
                    members.insert("secret".to_owned(), json!(secret.expose()));
                }
                value
            }
            Self::Removed(id) => json!({"removed": id}),
            Self::List(clients) => {
                json!({"clients": clients.iter().map(client_to_json).collect::<Vec<_>>()})
            }
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Client(client, None) => client_to_text(client),
            Self::Client(client, Some(secret)) => format!(
                "{}\n\nsecret  {}\n\nThis is the only time that the secret is shown.",
                client_to_text(client),
                secret.expose()
            ),
            Self::Removed(id) => format!("{id} is removed"),
            Self::List(clients) if clients.is_empty() => "no clients".to_owned(),
            Self::List(clients) => {
                let clients: Vec<String> = clients.iter().map(client_to_text).collect();
                clients.join("\n\n")
            }
        }
    }
}

fn client_to_json(client: &Client) -> Value {
    let secrets: Vec<Value> = client
        .secrets
        .iter()
        .map(|secret| {
            json!({
                "id": secret.digest.secret_id(),
                "created_at": secret.created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
            })
        })
        .collect();
    json!({
        "id": client.id.as_str(),
        "name": client.name,
        "scopes": client.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
        "issuers": client.bounds.issuers,
        "audiences": client.bounds.audiences,
        "secrets": secrets,
        "created_at": client.created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
    })
}

fn client_to_text(client: &Client) -> String {
    let scopes: Vec<&str> = client.scopes.iter().map(|scope| scope.as_str()).collect();
    let secrets = client.secrets.iter().map(|secret| {
        let made = secret.created_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        format!("\n  secret {} of {made}", secret.digest.secret_id())
    });
    let bounds = [
        ("issuer", &client.bounds.issuers),
        ("audience", &client.bounds.audiences),
    ];
    let bounds = bounds.into_iter().flat_map(|(what, texts)| {
        let line = move |text: &String| format!("\n  {what} {text}");
        texts.iter().map(line)
    });
    format!(
        "{} ({}): {}{}{}",
        client.id,
        client.name,
        scopes.join(" "),
        bounds.collect::<String>(),
        secrets.collect::<String>()
    )
}
