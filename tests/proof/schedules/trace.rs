//! How a counterexample is told.

use std::fmt;
use std::rc::Rc;

use latchkey_domain::id::SessionId;

use super::astray::SeenBySender;
use super::call::{Call, CallInfo};
use super::rules::{Broken, Rules};
use super::search::{Event, Search};

/// A way to break a rule.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The rule.
    pub broken: Broken,
    /// What led there, a line for each call.
    pub trace: Vec<String>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in self.trace.iter().enumerate() {
            writeln!(f, "  {:>2}  {line}", number + 1)?;
        }
        write!(f, "  =>  {}", self.broken)
    }
}

/// A call of a request in a line.
fn describe(rules: &Rules, request: usize, call: &Call, info: &CallInfo) -> String {
    let item = |sk: &str| {
        let session: Option<SessionId> = sk.strip_prefix("SESSION#").and_then(|id| id.parse().ok());
        session.map_or_else(|| sk.to_lowercase(), |session| rules.name(session))
    };
    let items: Vec<String> = info.keys.iter().map(|(_, sk)| item(sk)).collect();
    let items = if items.is_empty() {
        "the partition".to_owned()
    } else {
        items.join(", ")
    };
    let asked = &rules.processes[request].request;
    let asked = format!("{}. {asked:?}", request + 1);
    format!("{asked:<64} {} of {items}", call.operation)
}

impl Search {
    /// Tells how a state was come to, by doing it again.
    pub(super) fn trace(
        &mut self,
        origins: &[Option<(usize, Event)>],
        last: Option<(usize, Event)>,
    ) -> Vec<String> {
        let mut events = Vec::new();
        let mut origin = last;
        while let Some((number, event)) = origin {
            events.push(event);
            origin = origins[number];
        }
        let mut state = self.initial();
        let mut lines = Vec::new();
        for event in events.into_iter().rev() {
            let (request, call, how) = match event {
                Event::Step { request, call } => (request, call, ""),
                Event::Stale { request, call } => (request, call, ", shows the beginning"),
                Event::Astray {
                    request,
                    call,
                    seen,
                } => {
                    let how = match seen {
                        SeenBySender::SentAgain => ", is under way; the SDK sends it again",
                        SeenBySender::Conflict => ", is under way; sent again, told: conflict",
                        SeenBySender::GivenUp => ", is under way; given up",
                    };
                    (request, call, how)
                }
                Event::Arrives { position } => {
                    let arriving = self.under_way.value(state.in_flight[position]);
                    (arriving.request, arriving.call, ", arrives late")
                }
            };
            let info = Rc::clone(&self.infos[call]);
            let mut line = describe(&self.rules, request, &self.calls.value(call), &info);
            line.push_str(how);
            let (place, table) = (state.places[request], state.table);
            let is_broken = self.happen(&mut state, event).is_err();
            if table != state.table {
                line.push_str(": made");
            }
            let stop = self.programs[request].stop(state.places[request]);
            if let (true, Some(answer)) = (place != state.places[request], &stop.answer) {
                line.push_str(&format!("; answers \"{}\"", answer.word()));
            }
            lines.push(line);
            if is_broken {
                break;
            }
        }
        lines
    }
}
