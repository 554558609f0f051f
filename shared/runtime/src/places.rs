//! The location database: a file in MaxMind's format that knows the places of addresses, for deployments without an edge.
//!
//! The file is read as a whole at start, so its size is taken of the function's memory. Of a record we read the city and
//! the country in English and the coordinates, as GeoIP2, GeoLite2 and DB-IP name them.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use latchkey_api::location::FindPlace;
use latchkey_domain::geography::{Coordinates, country_code};
use latchkey_domain::session::ClientLocation;
use latchkey_domain::text::{MAX_CITY_BYTES, clean_and_cut};
use maxminddb::{LookupResult, MaxMindDbError, Reader, path};

/// In how many networks a place is looked for, before the file counts as one of another kind.
const NETWORKS_TRIED: usize = 1_000;

/// A file that knows the places of addresses.
pub struct LocationDatabase(Reader<Vec<u8>>);

/// The location database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocationDatabaseError {
    /// There is no such file, or it cannot be read.
    #[error("the location database {} cannot be read: {source}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no database, or not a whole one.
    #[error("the location database {} is broken or not in MaxMind's format: {source}", file.display())]
    Broken {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        source: MaxMindDbError,
    },
    /// It knows something else of addresses, such as who runs the network.
    #[error("the location database {} is of the kind {kind} and knows no places; one of cities is needed", file.display())]
    NoPlaces {
        /// Which.
        file: PathBuf,
        /// What it says it is.
        kind: String,
    },
}

impl LocationDatabase {
    /// Reads a file, and looks whether it knows places.
    ///
    /// # Errors
    /// [`LocationDatabaseError`]
    pub fn open(file: &Path) -> Result<Self, LocationDatabaseError> {
        let broken = |source| LocationDatabaseError::Broken {
            file: file.to_owned(),
            source,
        };
        let content = std::fs::read(file).map_err(|source| LocationDatabaseError::Unreadable {
            file: file.to_owned(),
            source,
        })?;
        let reader = Reader::from_source(content).map_err(broken)?;
        if !knows_places(&reader).map_err(broken)? {
            return Err(LocationDatabaseError::NoPlaces {
                file: file.to_owned(),
                kind: reader.metadata().database_type.clone(),
            });
        }
        Ok(Self(reader))
    }
}

fn knows_places(reader: &Reader<Vec<u8>>) -> Result<bool, MaxMindDbError> {
    for network in reader.networks(Default::default())?.take(NETWORKS_TRIED) {
        if read_place(&network?)?.has_place() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The place that a record holds, without the address. Value by value: a type for the record costs each function 50 kB.
fn read_place(found: &LookupResult<'_, Vec<u8>>) -> Result<ClientLocation, MaxMindDbError> {
    let city: Option<&str> = found.decode_path(&path!["city", "names", "en"])?;
    let country: Option<&str> = found.decode_path(&path!["country", "iso_code"])?;
    let latitude: Option<f64> = found.decode_path(&path!["location", "latitude"])?;
    let longitude: Option<f64> = found.decode_path(&path!["location", "longitude"])?;
    Ok(ClientLocation {
        ip_address: None,
        city: city.and_then(|city| clean_and_cut(city, MAX_CITY_BYTES)),
        country: country.and_then(country_code),
        coordinates: latitude
            .zip(longitude)
            .and_then(|(latitude, longitude)| Coordinates::new(latitude, longitude)),
    })
}

impl FindPlace for LocationDatabase {
    fn find(&self, address: IpAddr) -> ClientLocation {
        // A database of IPv4 alone refuses other addresses, and a broken record is no reason to refuse a client.
        let found = self.0.lookup(address.to_canonical()).ok();
        ClientLocation {
            ip_address: Some(address),
            ..found
                .and_then(|found| read_place(&found).ok())
                .unwrap_or_default()
        }
    }
}

impl fmt::Debug for LocationDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = &self.0.metadata().database_type;
        f.debug_tuple("LocationDatabase").field(kind).finish()
    }
}
