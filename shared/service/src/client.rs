//! Clients of other services: who they are, and making, changing and removing them.

use std::collections::BTreeSet;

use latchkey_domain::cause::Actor;
use latchkey_domain::client::{
    Client, ClientBounds, ClientError, ClientId, ClientScope, ClientSecret, ManageClientError,
};

use crate::log::in_words;
use crate::metric::CLIENT_REFUSALS;
use crate::{Failure, Service};

/// What a client proves itself with (RFC 6749 section 2.3.1).
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    /// The client id, as it was sent.
    pub id: String,
    /// The secret.
    pub secret: ClientSecret,
}

/// A client that is to be made.
///
/// ```
/// use latchkey_domain::client::{ClientBounds, ClientScope};
/// use latchkey_service::NewClient;
///
/// let client = NewClient {
///     id: "orders",
///     name: "Orders",
///     scopes: ["introspect".parse::<ClientScope>()?].into(),
///     bounds: ClientBounds::default(),
/// };
/// assert_eq!(client.scopes.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct NewClient<'a> {
    /// Names it.
    pub id: &'a str,
    /// What people call it.
    pub name: &'a str,
    /// What it may do.
    pub scopes: BTreeSet<ClientScope>,
    /// For which issuers and audiences.
    pub bounds: ClientBounds,
}

impl Service {
    /// The client that sent these credentials, if it may do what `scope` says. 1 trip, 1 read unit.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn authenticate_client(
        &self,
        credentials: Option<&ClientCredentials>,
        scope: ClientScope,
    ) -> Result<Client, Failure<ClientError>> {
        let authenticated = self.verify_client(credentials, scope).await;
        if let Err(Failure::Refused(reason)) = authenticated {
            log_client_refusal(credentials, reason);
        }
        authenticated
    }

    /// The client that sent these credentials, if it may start sessions for people who signed in with `issuer`. 1 trip,
    /// 1 read unit.
    ///
    /// # Errors
    /// [`ClientError`]
    pub(crate) async fn authenticate_client_of(
        &self,
        credentials: Option<&ClientCredentials>,
        issuer: &str,
    ) -> Result<Client, Failure<ClientError>> {
        let scope = ClientScope::IssueSessions;
        let client = self.authenticate_client(credentials, scope).await?;
        match client.require_issuer(issuer) {
            Ok(()) => Ok(client),
            Err(reason) => {
                log_client_refusal(credentials, reason);
                Err(Failure::Refused(reason))
            }
        }
    }

    async fn verify_client(
        &self,
        credentials: Option<&ClientCredentials>,
        scope: ClientScope,
    ) -> Result<Client, Failure<ClientError>> {
        let invalid = Failure::Refused(ClientError::Invalid);
        let sent = credentials.ok_or(invalid)?;
        let id: ClientId = sent.id.parse().map_err(|_| invalid)?;
        let client = self.store.read_client(&id).await?.ok_or(invalid)?;
        if !client.has_secret(&sent.secret) {
            return Err(invalid);
        }
        client.require(scope).map_err(Failure::Refused)?;
        Ok(client)
    }

    /// Makes a client. Its secret is returned this once and kept as a digest only.
    ///
    /// # Errors
    /// [`ManageClientError`]
    pub async fn add_client(
        &self,
        new: NewClient<'_>,
    ) -> Result<(Client, ClientSecret), Failure<ManageClientError>> {
        let secret = ClientSecret::random(self.core.random.as_ref());
        let may = (new.scopes, new.bounds);
        let client = Client::register(new.id, new.name, may, &secret, self.core.now());
        let client = client.map_err(Failure::Refused)?;
        if !self.store.create_client(&client).await? {
            return Err(Failure::Refused(ManageClientError::Exists));
        }
        let Client {
            id, scopes, bounds, ..
        } = &client;
        let scopes = in_words(scopes.iter().map(|scope| scope.as_str()));
        let issuers = in_words(bounds.issuers.iter().map(String::as_str));
        let audiences = in_words(bounds.audiences.iter().map(String::as_str));
        tracing::info!(actor = %Actor::Operator, client_id = %id, scopes, issuers, audiences, "client added");
        Ok((client, secret))
    }

    /// Removes a client: its secrets open nothing from then on.
    ///
    /// # Errors
    /// [`ManageClientError::NotFound`]
    pub async fn remove_client(&self, id: &str) -> Result<(), Failure<ManageClientError>> {
        let id: ClientId = id.parse().map_err(refuse)?;
        if !self.store.delete_client(&id).await? {
            return Err(Failure::Refused(ManageClientError::NotFound));
        }
        tracing::info!(actor = %Actor::Operator, client_id = %id, "client removed");
        Ok(())
    }

    /// All clients, by their ids. Reads the whole table.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] and [`Failure::Internal`] only.
    pub async fn list_clients(&self) -> Result<Vec<Client>, Failure<ManageClientError>> {
        Ok(self.store.list_clients().await?)
    }

    /// Gives a client one more secret, which is returned this once.
    ///
    /// # Errors
    /// [`ManageClientError`]
    pub async fn add_client_secret(
        &self,
        id: &str,
    ) -> Result<(Client, ClientSecret), Failure<ManageClientError>> {
        let secret = ClientSecret::random(self.core.random.as_ref());
        let now = self.core.now();
        let added = |client: Client| client.add_secret(&secret, now);
        let client = self.change_client(id, added).await?;
        tracing::info!(actor = %Actor::Operator, client_id = %client.id, secret_id = secret.digest().secret_id(), "client secret added");
        Ok((client, secret))
    }

    /// Takes one of its secrets from a client.
    ///
    /// # Errors
    /// [`ManageClientError`]
    pub async fn remove_client_secret(
        &self,
        id: &str,
        secret_id: &str,
    ) -> Result<Client, Failure<ManageClientError>> {
        let removed = |client: Client| client.remove_secret(secret_id);
        let client = self.change_client(id, removed).await?;
        tracing::info!(actor = %Actor::Operator, client_id = %client.id, secret_id, "client secret removed");
        Ok(client)
    }

    async fn change_client(
        &self,
        id: &str,
        decide: impl Fn(Client) -> Result<Client, ManageClientError>,
    ) -> Result<Client, Failure<ManageClientError>> {
        let id: ClientId = id.parse().map_err(refuse)?;
        let before = self.store.read_client(&id).await?;
        let before = before.ok_or(Failure::Refused(ManageClientError::NotFound))?;
        let after = decide(before.clone()).map_err(refuse)?;
        if self.store.replace_client_secrets(&before, &after).await? {
            Ok(after)
        } else {
            Err(Failure::Refused(ManageClientError::Overtaken))
        }
    }
}

fn log_client_refusal(credentials: Option<&ClientCredentials>, reason: ClientError) {
    // An id that is none may be a secret in the wrong field, so it is not logged.
    let id = credentials.and_then(|sent| sent.id.parse::<ClientId>().ok());
    let client_id = id.as_ref().map(tracing::field::display);
    tracing::info!(client_id, %reason, "client refused");
    CLIENT_REFUSALS.count(1);
}

fn refuse(error: impl Into<ManageClientError>) -> Failure<ManageClientError> {
    Failure::Refused(error.into())
}
