//! The README's guarantees: each on the real code, and with its mechanism taken out.

mod activity;
mod administration;
mod causes;
mod counting;
mod device_secret;
mod events;
mod expiry;
mod faults;
mod forged_events;
mod guessing;
mod interleavings;
mod key_rotation;
mod limit;
mod links;
mod machine;
mod mail;
mod mail_counts;
mod mechanisms;
mod ownership;
mod refused_sign_ins;
mod second_decisions;
mod secrecy;
mod secret_rotation;
mod theft;
mod two_clocks;
mod unanswered_mails;
