//! A write that goes astray: what its sender sees, and what it does when it arrives.

use std::rc::Rc;

use super::call::Reply;
use super::program::Place;
use super::rules::{Broken, DecidedBefore};
use super::search::{Search, State};
use super::table::{Table, conflict};

/// How often the SDK sends a call.
const SDK_ATTEMPTS: usize = 3;

/// What the sender of a write that went astray sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SeenBySender {
    SentAgain,
    Conflict,
    GivenUp,
}

/// A write that is still under way.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct InFlight {
    pub(super) request: usize,
    pub(super) call: usize,
    pub(super) decided_before: DecidedBefore,
}

/// What going astray does.
#[derive(Clone, Copy)]
pub(super) struct Loss {
    pub(super) under_way: usize,
    pub(super) history: usize,
    pub(super) place: Place,
}

impl Search {
    /// A request's write goes astray, and its sender continues.
    pub(super) fn lose(
        &mut self,
        state: &State,
        request: usize,
        call: usize,
        seen: SeenBySender,
    ) -> Result<Loss, Broken> {
        let mut state = state.clone();
        let info = Rc::clone(&self.infos[call]);
        let mut history = self.noted(&state, request, false);
        let decided_before = self.rules.decided_before(&history, request);
        let under_way = self.under_way.number(InFlight {
            request,
            call,
            decided_before,
        });
        self.hand_over(&mut state, &mut history, request, call, Reply::Lost)?;
        let told = match seen {
            SeenBySender::SentAgain => Vec::new(),
            SeenBySender::Conflict => {
                vec![conflict(&info, &self.calls.value(call).operation)]
            }
            SeenBySender::GivenUp => vec![Reply::Lost; SDK_ATTEMPTS - 1],
        };
        for reply in told {
            if self.waiting(request, state.places[request]).contains(&call) {
                self.hand_over(&mut state, &mut history, request, call, reply)?;
            }
        }
        Ok(Loss {
            under_way,
            history: state.history,
            place: state.places[request],
        })
    }

    /// What a late write makes of a table, and whether it is made.
    pub(super) fn arrive(&mut self, table: usize, request: usize, call: usize) -> (usize, bool) {
        let key = (table, request, call);
        if let Some(known) = self.arrivals.get(&key) {
            return *known;
        }
        let (asked, info) = (self.calls.value(call), Rc::clone(&self.infos[call]));
        let mut after = Table::clone(&self.tables.value(table));
        let reply = self
            .engine
            .execute_late(&mut after, &asked.operation, &info, request);
        let arrived = (self.tables.number(after), reply.is_success());
        self.arrivals.insert(key, arrived);
        arrived
    }
}
