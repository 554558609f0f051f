//! The README's guarantees: each on the real code, and with its mechanism taken out.

mod activity;
mod administration;
mod causes;
mod counting;
mod device_secret;
mod events;
mod expiry;
mod faults;
mod guessing;
mod interleavings;
mod key_rotation;
mod limit;
mod links;
mod machine;
mod mail;
mod mechanisms;
mod ownership;
mod refused_sign_ins;
mod schedules;
mod second_decisions;
mod secrecy;
mod secret_rotation;
mod theft;
mod two_clocks;
