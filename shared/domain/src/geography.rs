//! Where on earth a client is: coordinates, the distance between two, countries, and which addresses are in a place at
//! all.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use chrono::TimeDelta;

/// The mean radius of the earth in kilometres (IUGG). The earth is not a ball, so a distance is up to 0.5 % wrong.
const EARTH_RADIUS_KM: f64 = 6_371.008_8;

/// A point on earth, rounded to a tenth of a degree, at most 11 km: as little of where somebody is as tells distances of
/// hundreds of kilometres. It is written as `latitude,longitude`, in at most 12 bytes.
///
/// ```
/// use latchkey_domain::geography::Coordinates;
///
/// let munich = Coordinates::new(48.137, 11.575).unwrap();
/// assert_eq!(munich.to_string(), "48.1,11.6");
/// assert_eq!("48.1,11.6".parse(), Ok(munich));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coordinates {
    latitude: f64,
    longitude: f64,
}

// Both are finite, so each equals itself.
impl Eq for Coordinates {}

impl Coordinates {
    /// The point at these degrees, if there is one: from -90 to 90 and from -180 to 180.
    #[must_use]
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let is_degree = |degree: f64, most: f64| degree.abs() <= most;
        (is_degree(latitude, 90.0) && is_degree(longitude, 180.0)).then(|| Self {
            latitude: to_tenth(latitude),
            longitude: to_tenth(longitude),
        })
    }

    /// The shortest way over the surface (haversine formula), in kilometres.
    #[must_use]
    pub fn distance_km(self, other: Self) -> f64 {
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let half = |difference: f64| (difference / 2.0).sin().powi(2);
        let longitudes = (other.longitude - self.longitude).to_radians();
        let haversine = half(to - from) + from.cos() * to.cos() * half(longitudes);
        2.0 * EARTH_RADIUS_KM * haversine.clamp(0.0, 1.0).sqrt().asin()
    }
}

fn to_tenth(degree: f64) -> f64 {
    // Adding 0 makes 0 of -0, which is written as another text.
    (degree * 10.0).round() / 10.0 + 0.0
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1},{:.1}", self.latitude, self.longitude)
    }
}

/// The text is not a point on earth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("coordinates are a latitude and a longitude in degrees, divided by a comma")]
pub struct InvalidCoordinates;

impl FromStr for Coordinates {
    type Err = InvalidCoordinates;

    fn from_str(text: &str) -> Result<Self, InvalidCoordinates> {
        let (latitude, longitude) = text.split_once(',').ok_or(InvalidCoordinates)?;
        let degrees = latitude.parse().ok().zip(longitude.parse().ok());
        degrees
            .and_then(|(latitude, longitude)| Self::new(latitude, longitude))
            .ok_or(InvalidCoordinates)
    }
}

/// How fast a person may have travelled between two sessions. 0 for either turns the check off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TravelLimits {
    /// The fastest that is usual, in kilometres an hour: a flight.
    pub speed_kmh: u32,
    /// The shortest distance that counts, in kilometres: places of addresses are guesses.
    pub distance_km: u32,
}

impl Default for TravelLimits {
    fn default() -> Self {
        Self {
            speed_kmh: 900,
            distance_km: 500,
        }
    }
}

impl TravelLimits {
    /// Whether two places are too near for their distance to count.
    #[must_use]
    pub fn are_near(self, one: Coordinates, other: Coordinates) -> bool {
        one.distance_km(other) < f64::from(self.distance_km)
    }

    /// Whether nobody usually gets from one place to another in this time: the distance counts, and the speed is exceeded.
    #[must_use]
    pub fn are_exceeded(self, from: Coordinates, to: Coordinates, within: TimeDelta) -> bool {
        if self.speed_kmh == 0 || self.distance_km == 0 {
            return false;
        }
        let distance = from.distance_km(to);
        // A clock of another instance may be ahead.
        let hours = within.max(TimeDelta::zero()).as_seconds_f64() / 3_600.0;
        distance >= f64::from(self.distance_km) && distance > f64::from(self.speed_kmh) * hours
    }
}

/// A country as two letters (ISO 3166-1 alpha-2), in upper case.
#[must_use]
pub fn country_code(text: &str) -> Option<String> {
    let is_code = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_code.then(|| text.to_ascii_uppercase())
}

/// Whether an address is one of the public internet, and so of a client whose place can be known. Others (private,
/// loopback, link-local, shared, for documentation: RFC 6890) are used in any number of places.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_this_network = a == 0;
    let is_shared = a == 100 && (64..128).contains(&b); // RFC 6598
    let is_of_protocols = (a, b, c) == (192, 0, 0); // RFC 6890
    let is_for_benchmarks = a == 198 && (b == 18 || b == 19); // RFC 2544
    let is_reserved = a >= 240; // RFC 1112, and broadcast
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || is_this_network
        || is_shared
        || is_of_protocols
        || is_for_benchmarks
        || is_reserved)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let is_global_unicast = a & 0xe000 == 0x2000; // 2000::/3 is all that IANA has assigned of it
    let is_documentation = (a, b) == (0x2001, 0xdb8) || a & 0xfff0 == 0x3ff0; // RFC 3849, RFC 9637
    is_global_unicast && !is_documentation
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(latitude: f64, longitude: f64) -> Coordinates {
        Coordinates::new(latitude, longitude).unwrap()
    }

    #[test]
    fn distances_are_those_that_are_known() {
        let quarter = 10_007.557;
        for (from, to, kilometres, tolerance) in [
            (at(0.0, 0.0), at(0.0, 90.0), quarter, 0.01),
            (at(90.0, 0.0), at(-90.0, 77.0), 2.0 * quarter, 0.01),
            (at(0.0, -179.5), at(0.0, 179.5), quarter / 90.0, 0.01),
            (at(0.0, 0.0), at(1.0, 0.0), quarter / 90.0, 0.01),
            (at(35.0, 139.0), at(35.0, 139.0), 0.0, 0.0),
            // Heathrow and John F. Kennedy, Los Angeles and John F. Kennedy, Sydney and Heathrow: as airlines count them.
            (at(51.47, -0.46), at(40.64, -73.78), 5_540.0, 20.0),
            (at(33.94, -118.41), at(40.64, -73.78), 3_974.0, 20.0),
            (at(-33.95, 151.18), at(51.47, -0.46), 17_016.0, 30.0),
        ] {
            let distance = from.distance_km(to);
            assert!(
                (distance - kilometres).abs() <= tolerance,
                "{from} {to}: {distance}"
            );
        }
    }

    #[test]
    fn what_is_not_on_earth_is_not_a_point() {
        for (latitude, longitude) in [
            (90.1, 0.0),
            (-90.1, 0.0),
            (0.0, 180.1),
            (0.0, -180.1),
            (f64::NAN, 0.0),
            (0.0, f64::NAN),
            (f64::INFINITY, 0.0),
            (0.0, f64::NEG_INFINITY),
        ] {
            assert_eq!(Coordinates::new(latitude, longitude), None);
        }
        for text in ["", ",", "1", "1,", "1,x", "91,0", "1,2,3", "nan,0"] {
            assert_eq!(
                text.parse::<Coordinates>(),
                Err(InvalidCoordinates),
                "{text}"
            );
        }
        assert_eq!(at(-90.0, -180.0).to_string(), "-90.0,-180.0");
        assert_eq!(at(-0.01, -0.04).to_string(), "0.0,0.0");
    }

    #[test]
    fn a_country_has_two_letters() {
        assert_eq!(country_code("ca").as_deref(), Some("CA"));
        for wrong in ["", "C", "CAN", "C-", "é"] {
            assert_eq!(country_code(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for public in [
            "81.2.69.160",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "9.18.0.1",
            "192.0.1.1",
            "198.17.255.255",
            "223.255.255.255",
            "::ffff:81.2.69.160",
            "2001:218::1",
            "2a00:1450:4001::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.7",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.1.2.3",
            "64:ff9b::1",
            "2001:db8::7",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }

    proptest! {
        #[test]
        fn coordinates_are_read_as_they_were_written(
            latitude in -90.0_f64..=90.0, longitude in -180.0_f64..=180.0,
        ) {
            let point = at(latitude, longitude);
            let text = point.to_string();
            prop_assert!(text.len() <= 12);
            prop_assert_eq!(text.parse(), Ok(point));
        }

        #[test]
        fn a_distance_is_the_same_both_ways_and_at_most_half_way_around(
            from in (-90.0_f64..=90.0, -180.0_f64..=180.0), to in (-90.0_f64..=90.0, -180.0_f64..=180.0),
        ) {
            let (from, to) = (at(from.0, from.1), at(to.0, to.1));
            let there = from.distance_km(to);
            prop_assert!((0.0..=20_016.0).contains(&there));
            prop_assert!((there - to.distance_km(from)).abs() < 0.001);
        }
    }
}
