//! A DynamoDB that runs elsewhere: DynamoDB Local, another emulator, or AWS.

use aws_config::environment::credentials::EnvironmentVariableCredentialsProvider;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use http::Uri;
use http::uri::Scheme;
use latchkey_domain::error::with_causes;

use crate::embedded::any_credentials;

/// Where the DynamoDB is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DynamoDbUrl {
    url: String,
    host: String,
    encrypted: bool,
}

/// That is not where a DynamoDB can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a URL such as http://127.0.0.1:8000")]
pub struct NotAUrl;

/// Why the outside DynamoDB cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// `AWS_ENDPOINT_URL_DYNAMODB` is wrong.
    #[error("AWS_ENDPOINT_URL_DYNAMODB (or AWS_ENDPOINT_URL) is {0}")]
    NotAUrl(#[from] NotAUrl),
    /// Nothing that answers.
    #[error(
        "the DynamoDB {url} cannot be reached: {reason}; is it running, and is the address right?"
    )]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// It answers, and says no.
    #[error("the DynamoDB {url} refuses: {reason}")]
    Refused {
        /// Where it is.
        url: String,
        /// What it said.
        reason: String,
    },
    /// Nothing says which region.
    #[error("no AWS region: give --region, set AWS_REGION, or set one in your AWS profile")]
    NoRegion,
    /// AWS wants to know who asks.
    #[error(
        "no AWS credentials for {0}; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (for single \
         sign-on: eval \"$(aws configure export-credentials --format env)\")"
    )]
    NoCredentials(String),
    /// The credentials cannot be loaded.
    #[error("the AWS credentials for {url} cannot be loaded: {reason}")]
    BadCredentials {
        /// Where it is.
        url: String,
        /// What was tried.
        reason: String,
    },
}

impl DynamoDbUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, NotAUrl> {
        let uri: Uri = text.parse().map_err(|_| NotAUrl)?;
        let encrypted = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(_) | None => return Err(NotAUrl),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(NotAUrl)?;
        Ok(Self {
            url: text.to_owned(),
            host: host.to_owned(),
            encrypted,
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.url
    }

    /// The region in the name of one of AWS's own endpoints. A request signed for another is refused.
    fn region(&self) -> Option<Region> {
        let (region, rest) = self.host.strip_prefix("dynamodb.")?.split_once('.')?;
        rest.starts_with("amazonaws.com")
            .then(|| Region::new(region.to_owned()))
    }

    /// A client with the credentials and region of the person who runs this.
    pub(crate) async fn client(&self) -> Result<Client, OutsideError> {
        let sdk = self.sdk().await?;
        let config = aws_sdk_dynamodb::config::Builder::from(&sdk).endpoint_url(&self.url);
        Ok(Client::from_conf(
            latchkey_store::with_limits(config).build(),
        ))
    }

    async fn sdk(&self) -> Result<SdkConfig, OutsideError> {
        // Not the default chain, which would wait for a metadata service that most machines do not have.
        let region = RegionProviderChain::first_try(self.region())
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
            .or_else(Region::from_static("us-east-1"));
        let loader = aws_config::defaults(BehaviorVersion::latest()).region(region);
        if !self.encrypted {
            // An emulator: it takes any credentials, and needs no root certificates.
            return Ok(loader
                .http_client(aws_smithy_http_client::Builder::new().build_http())
                .credentials_provider(credentials_or_any().await)
                .load()
                .await);
        }
        let sdk = loader.load().await;
        require_credentials(&sdk, &self.url).await?;
        Ok(sdk)
    }

    /// Asks whether a DynamoDB is there that lets us in.
    pub(crate) async fn check(&self, client: &Client, table: &str) -> Result<(), OutsideError> {
        let place = format!("at {}", self.url);
        table_exists(client, table, &place).await.map(drop)
    }
}

/// AWS, as an operator's credentials reach it.
pub(crate) struct Aws {
    pub(crate) client: Client,
    pub(crate) sdk: SdkConfig,
    /// What people call it.
    pub(crate) name: String,
}

impl Aws {
    /// With the credentials and the region that the AWS CLI would take: those given, of the environment, of the profile.
    pub(crate) async fn open(
        profile: Option<&str>,
        region: Option<&str>,
    ) -> Result<Self, OutsideError> {
        let mut of_profile = ProfileFileRegionProvider::builder();
        if let Some(profile) = profile {
            of_profile = of_profile.profile_name(profile);
        }
        let region =
            RegionProviderChain::first_try(region.map(|name| Region::new(name.to_owned())))
                .or_else(EnvironmentVariableRegionProvider::new())
                .or_else(of_profile.build());
        let region = region.region().await.ok_or(OutsideError::NoRegion)?;
        let name = format!("in {region}");
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(region);
        if let Some(profile) = profile {
            loader = loader.profile_name(profile);
        }
        let sdk = loader.load().await;
        require_credentials(&sdk, &name).await?;
        let config = aws_sdk_dynamodb::config::Builder::from(&sdk);
        let client = Client::from_conf(latchkey_store::with_limits(config).build());
        Ok(Self { client, sdk, name })
    }
}

/// Whether somebody can be found who asks.
async fn require_credentials(sdk: &SdkConfig, place: &str) -> Result<(), OutsideError> {
    let place = place.to_owned();
    let Some(provider) = sdk.credentials_provider() else {
        return Err(OutsideError::NoCredentials(place));
    };
    match provider.provide_credentials().await {
        Ok(_) => Ok(()),
        Err(CredentialsError::CredentialsNotLoaded(_)) => Err(OutsideError::NoCredentials(place)),
        Err(error) => Err(OutsideError::BadCredentials {
            url: place,
            reason: with_causes(&error),
        }),
    }
}

/// Whether the table is there. `place` is what people call the DynamoDB.
///
/// # Errors
/// [`OutsideError`] if there is no DynamoDB, or it does not let us in.
pub(crate) async fn table_exists(
    client: &Client,
    table: &str,
    place: &str,
) -> Result<bool, OutsideError> {
    let url = place.to_owned();
    match client.describe_table().table_name(table).send().await {
        Ok(_) => Ok(true),
        Err(SdkError::ServiceError(refusal)) if refusal.err().is_resource_not_found_exception() => {
            Ok(false)
        }
        Err(SdkError::ServiceError(refusal)) => {
            let refusal = refusal.err();
            let code = refusal.code().unwrap_or("it does not say why");
            let reason = format!("{code}: {}", refusal.message().unwrap_or("no details"));
            Err(OutsideError::Refused { url, reason })
        }
        Err(error) => Err(OutsideError::Unreachable {
            url,
            reason: with_causes(&error),
        }),
    }
}

async fn credentials_or_any() -> SharedCredentialsProvider {
    let provider = CredentialsProviderChain::first_try(
        "environment",
        EnvironmentVariableCredentialsProvider::new(),
    )
    .or_else("profile", ProfileFileCredentialsProvider::builder().build());
    match provider.provide_credentials().await {
        Ok(_) => SharedCredentialsProvider::new(provider),
        Err(_) => any_credentials(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_scheme_and_a_host() {
        for right in [
            "http://127.0.0.1:8000",
            "http://localhost:8000/",
            "https://dynamodb.eu-west-1.amazonaws.com",
        ] {
            assert!(DynamoDbUrl::parse(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "localhost",
            "localhost:8000",
            "127.0.0.1:8000",
            "ftp://127.0.0.1",
            "http://",
            "http://a b",
        ] {
            assert_eq!(DynamoDbUrl::parse(wrong), Err(NotAUrl), "{wrong}");
        }
    }

    #[test]
    fn the_region_of_an_aws_endpoint_is_in_its_name() {
        let region = |url| {
            DynamoDbUrl::parse(url)
                .unwrap()
                .region()
                .map(|region| region.to_string())
        };
        assert_eq!(
            region("https://dynamodb.eu-west-1.amazonaws.com"),
            Some("eu-west-1".to_owned())
        );
        assert_eq!(
            region("https://dynamodb.cn-north-1.amazonaws.com.cn"),
            Some("cn-north-1".to_owned())
        );
        assert_eq!(region("http://dynamodb.internal.example.com:8000"), None);
        assert_eq!(region("http://127.0.0.1:8000"), None);
    }
}
