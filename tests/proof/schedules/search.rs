//! All schedules of a scenario, breadth first, so that a counterexample is a shortest one.
//!
//! A state is the table, the replies that each request has had, how far queries and batches have come, the writes still
//! under way, and the rules' history. From each state every call that waits may be the next to reach DynamoDB; a query
//! reads item by item. While the scenario allows for it, a write may also go astray: it stays in the network and may
//! arrive at any later moment (at once: then only its reply was lost), while its sender gets no reply and the SDK sends it
//! again; or then hears of a conflict; or gives up. A read that is not strongly consistent may show the beginning.
//!
//! Two schedules that lead to one state are one from there on. That is sound because a request goes by its replies alone.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use super::astray::{InFlight, Loss, SeenBySender};
use super::call::{Call, CallInfo, Reply};
use super::program::{Place, Program};
use super::request::Answer;
use super::rules::{Broken, DecidedBefore, History, Rules, check};
use super::states::{Interner, count_paths};
use super::table::{Engine, Flaw, Progress, Queries, Stepped, Table, View};
use super::trace::Counterexample;

/// What happens next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A request's call reaches DynamoDB and its reply comes back, or it comes one step further.
    Step { request: usize, call: usize },
    /// A request's write goes astray; what its sender sees.
    Astray {
        request: usize,
        call: usize,
        seen: SeenBySender,
    },
    /// A read shows the table as it was in the beginning.
    Stale { request: usize, call: usize },
    /// A write that went astray arrives.
    Arrives { position: usize },
}

/// What a search has seen.
#[derive(Debug)]
pub struct Exploration {
    /// How many states there are, or were seen before the counterexample.
    pub states: usize,
    /// How many orders of the calls lead through them to an end.
    pub schedules: u128,
    /// How many there must be at least, if each request sends what it sends at the least.
    pub at_least: u128,
    /// How often a request was run from its beginning.
    pub runs: usize,
    /// What the requests were answered in the end, in every combination that occurs.
    pub outcomes: BTreeSet<Vec<&'static str>>,
    /// The shortest way to break a rule, if there is one.
    pub counterexample: Option<Counterexample>,
}

/// What a step does to all that it can touch.
#[derive(Clone, Copy)]
struct Effect {
    table: usize,
    history: usize,
    place: Place,
    /// How far the call has come, if it has no reply yet.
    progress: Option<usize>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) table: usize,
    pub(super) history: usize,
    pub(super) places: Vec<Place>,
    /// Of request and call, how far it has come.
    progress: BTreeMap<(usize, usize), usize>,
    pub(super) in_flight: Vec<usize>,
    faults_left: u8,
}

/// A search through one scenario.
pub struct Search {
    pub(super) rules: Rules,
    pub(super) engine: Engine,
    /// The requests.
    pub programs: Vec<Program>,
    beginning: Table,
    faults: u8,
    pub(super) tables: Interner<Table>,
    views: HashMap<usize, Rc<View>>,
    histories: Interner<History>,
    pub(super) calls: Interner<Call>,
    pub(super) infos: Vec<Rc<CallInfo>>,
    progresses: Interner<Progress>,
    pub(super) under_way: Interner<InFlight>,
    effects: HashMap<(usize, usize, usize, Place, usize, usize), Effect>,
    /// What going astray has done before: of table, history, request, place, call, and what its sender sees.
    losses: HashMap<(usize, usize, usize, Place, usize, SeenBySender), Loss>,
    /// What calls have done before: of table, call, progress.
    steps: HashMap<(usize, usize, usize), (usize, Rc<Stepped>)>,
    /// What late writes have done before, and whether they were made: of table, request, call.
    pub(super) arrivals: HashMap<(usize, usize, usize), (usize, bool)>,
    /// The calls that wait at a place of a request.
    waits: HashMap<(usize, Place), Rc<[usize]>>,
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Search").finish_non_exhaustive()
    }
}

impl Search {
    /// A search that begins with this table, in which so many writes may go astray.
    #[must_use]
    pub fn new(
        rules: Rules,
        engine: Engine,
        programs: Vec<Program>,
        beginning: Table,
        faults: u8,
    ) -> Self {
        Self {
            rules,
            engine,
            programs,
            beginning,
            faults,
            tables: Interner::new(),
            views: HashMap::new(),
            histories: Interner::new(),
            calls: Interner::new(),
            infos: Vec::new(),
            progresses: Interner::new(),
            under_way: Interner::new(),
            effects: HashMap::new(),
            losses: HashMap::new(),
            steps: HashMap::new(),
            arrivals: HashMap::new(),
            waits: HashMap::new(),
        }
    }

    /// Visits every state, or stops at the first that breaks a rule.
    #[must_use]
    pub fn run(mut self) -> Exploration {
        let initial = self.initial();
        let mut outcomes = BTreeSet::new();
        // How each state was first met: from which one, by what.
        let mut origins: Vec<Option<(usize, Event)>> = vec![None];
        let mut successors: Vec<Vec<usize>> = Vec::new();
        let mut visited: HashMap<State, usize> = HashMap::from([(initial.clone(), 0)]);
        let mut queue = VecDeque::from([(0, initial)]);
        while let Some((number, state)) = queue.pop_front() {
            let events = self.events(&state);
            if events.is_empty() {
                outcomes.insert(self.outcome(&state));
            }
            let mut leads_to = Vec::new();
            for event in events {
                let mut next = state.clone();
                if let Err(broken) = self.happen(&mut next, event) {
                    let states = origins.len();
                    let trace = self.trace(&origins, Some((number, event)));
                    return Exploration {
                        states,
                        schedules: 0,
                        at_least: 0,
                        runs: self.runs(),
                        outcomes,
                        counterexample: Some(Counterexample { broken, trace }),
                    };
                }
                let known = visited.get(&next).copied();
                leads_to.push(known.unwrap_or(origins.len()));
                if known.is_none() {
                    visited.insert(next.clone(), origins.len());
                    queue.push_back((origins.len(), next));
                    origins.push(Some((number, event)));
                }
            }
            // States come out of the queue in the order of their numbers.
            successors.push(leads_to);
        }
        Exploration {
            states: origins.len(),
            schedules: count_paths(&successors),
            at_least: self.fewest_orders(),
            runs: self.runs(),
            outcomes,
            counterexample: None,
        }
    }

    fn runs(&self) -> usize {
        self.programs.iter().map(|program| program.runs).sum()
    }

    pub(super) fn initial(&mut self) -> State {
        let beginning = self.beginning.clone();
        let history = self.rules.beginning();
        State {
            table: self.tables.number(beginning),
            history: self.histories.number(history),
            places: vec![0; self.programs.len()],
            progress: BTreeMap::new(),
            in_flight: Vec::new(),
            faults_left: self.faults,
        }
    }

    fn outcome(&self, state: &State) -> Vec<&'static str> {
        let answers = self.programs.iter().zip(&state.places);
        let word = |(program, place): (&Program, &Place)| {
            let answer = program.stop(*place).answer.as_ref();
            answer.map_or("no answer", |answer| answer.word())
        };
        answers.map(word).collect()
    }

    pub(super) fn call_number(&mut self, call: &Call) -> usize {
        let number = self.calls.number(call.clone());
        if number == self.infos.len() {
            self.infos.push(Rc::new(call.read()));
        }
        number
    }

    pub(super) fn waiting(&mut self, request: usize, place: Place) -> Rc<[usize]> {
        if let Some(calls) = self.waits.get(&(request, place)) {
            return Rc::clone(calls);
        }
        let calls = self.programs[request].stop(place).waiting.clone();
        let calls: Rc<[usize]> = calls.iter().map(|call| self.call_number(call)).collect();
        self.waits.insert((request, place), Rc::clone(&calls));
        calls
    }

    pub(super) fn view(&mut self, table: usize) -> Rc<View> {
        let (tables, user) = (&self.tables, self.rules.wallet.user);
        let view = || Rc::new(View::of(&tables.value(table), user));
        Rc::clone(self.views.entry(table).or_insert_with(view))
    }

    /// Everything that may happen next.
    fn events(&mut self, state: &State) -> Vec<Event> {
        let mut events = Vec::new();
        for request in 0..self.programs.len() {
            for call in self.waiting(request, state.places[request]).iter().copied() {
                let info = Rc::clone(&self.infos[call]);
                // Nobody else sees it, so when it happens makes no difference.
                if info.is_private {
                    return vec![Event::Step { request, call }];
                }
                events.push(Event::Step { request, call });
                let is_flawed = self.engine.flaw == Some(Flaw::ShowsTheBeginning);
                if info.may_be_stale || is_flawed && !info.is_write {
                    events.push(Event::Stale { request, call });
                }
                if info.is_write && state.faults_left > 0 {
                    let seen = [
                        SeenBySender::SentAgain,
                        SeenBySender::GivenUp,
                        SeenBySender::Conflict,
                    ];
                    let astray = |seen| Event::Astray {
                        request,
                        call,
                        seen,
                    };
                    let is_batch = &*self.calls.value(call).operation == "BatchWriteItem";
                    let seen = seen.into_iter().take(if is_batch { 2 } else { 3 });
                    events.extend(seen.map(astray));
                }
            }
        }
        let arrivals = (0..state.in_flight.len()).map(|position| Event::Arrives { position });
        events.extend(arrivals);
        events
    }

    /// Makes it happen, and checks the rules.
    pub(super) fn happen(&mut self, state: &mut State, event: Event) -> Result<(), Broken> {
        self.apply(state, event)?;
        if let Event::Step { request, .. } | Event::Stale { request, .. } = event
            && state.faults_left == self.faults
        {
            let answer = &self.programs[request].stop(state.places[request]).answer;
            check(*answer != Some(Answer::Unavailable), || {
                "answered 503 although nothing went wrong".to_owned()
            })?;
        }
        Ok(())
    }

    fn apply(&mut self, state: &mut State, event: Event) -> Result<(), Broken> {
        match event {
            Event::Step { request, call } => {
                let (table, history) = (state.table, state.history);
                let place = state.places[request];
                let progress = state.progress.remove(&(request, call));
                let progress =
                    progress.unwrap_or_else(|| self.progresses.number(Progress::default()));
                let key = (table, history, request, place, call, progress);
                let effect = match self.effects.get(&key) {
                    Some(effect) => *effect,
                    None => {
                        let effect = self.step(state, request, call, progress)?;
                        self.effects.insert(key, effect);
                        effect
                    }
                };
                (state.table, state.history) = (effect.table, effect.history);
                state.places[request] = effect.place;
                if let Some(progress) = effect.progress {
                    state.progress.insert((request, call), progress);
                }
            }
            Event::Stale { request, call } => {
                let (asked, info) = (self.calls.value(call), Rc::clone(&self.infos[call]));
                state.progress.remove(&(request, call));
                let mut history = self.noted(state, request, true);
                let mut beginning = self.beginning.clone();
                let reply = self.engine.execute(&mut beginning, &asked.operation, &info);
                self.hand_over(state, &mut history, request, call, reply)?;
            }
            Event::Astray {
                request,
                call,
                seen,
            } => {
                let place = state.places[request];
                let key = (state.table, state.history, request, place, call, seen);
                let loss = match self.losses.get(&key) {
                    Some(loss) => *loss,
                    None => {
                        let loss = self.lose(state, request, call, seen)?;
                        self.losses.insert(key, loss);
                        loss
                    }
                };
                state.in_flight.push(loss.under_way);
                state.faults_left -= 1;
                (state.history, state.places[request]) = (loss.history, loss.place);
            }
            Event::Arrives { position } => {
                let arriving = self.under_way.value(state.in_flight.remove(position));
                let InFlight {
                    request,
                    call,
                    decided_before,
                } = &*arriving;
                let (after, is_made) = self.arrive(state.table, *request, *call);
                let mut history = History::clone(&self.histories.value(state.history));
                if is_made {
                    self.check_step(state, &mut history, *request, *call, decided_before, after)?;
                }
                state.history = self.histories.number(history);
            }
        }
        Ok(())
    }

    /// The history, with what a request does next.
    pub(super) fn noted(&mut self, state: &State, request: usize, reads_account: bool) -> History {
        let mut history = History::clone(&self.histories.value(state.history));
        let view = self.view(state.table);
        self.rules
            .note_call(&mut history, &view, request, reads_account);
        history
    }

    /// A request's call reaches DynamoDB, or comes one step further.
    fn step(
        &mut self,
        state: &State,
        request: usize,
        call: usize,
        progress: usize,
    ) -> Result<Effect, Broken> {
        let mut state = state.clone();
        let (asked, info) = (self.calls.value(call), Rc::clone(&self.infos[call]));
        let key = (state.table, call, progress);
        let (after, stepped) = match self.steps.get(&key) {
            Some((after, stepped)) => (*after, Rc::clone(stepped)),
            None => {
                let mut table = Table::clone(&self.tables.value(state.table));
                let from = self.progresses.value(progress);
                let operation = &asked.operation;
                let stepped = self.engine.step(&mut table, operation, &info, &from);
                let after = self.tables.number(table);
                let stepped = Rc::new(stepped);
                self.steps.insert(key, (after, Rc::clone(&stepped)));
                (after, stepped)
            }
        };
        let gets_account = !info.is_write && info.keys.iter().any(|(_, sk)| sk == "ACCOUNT");
        let reads_account = match &*stepped {
            Stepped::Further(progress) => progress.has_just_read_account(),
            Stepped::Replied(_) => {
                gets_account || info.partition.is_some() && self.engine.queries == Queries::AtOnce
            }
        };
        let mut history = self.noted(&state, request, reads_account);
        let decided = self.rules.decided_before(&history, request);
        let is_made = match &*stepped {
            Stepped::Further(_) => true,
            Stepped::Replied(reply) => reply.is_success(),
        };
        if info.is_write && is_made {
            self.check_step(&mut state, &mut history, request, call, &decided, after)?;
        }
        let progress = match &*stepped {
            Stepped::Further(progress) => {
                state.history = self.histories.number(history);
                Some(self.progresses.number(progress.clone()))
            }
            Stepped::Replied(reply) => {
                self.hand_over(&mut state, &mut history, request, call, reply.clone())?;
                None
            }
        };
        Ok(Effect {
            table: state.table,
            history: state.history,
            place: state.places[request],
            progress,
        })
    }

    /// Checks the rules on a write that was made, and has made one table of another.
    fn check_step(
        &mut self,
        state: &mut State,
        history: &mut History,
        request: usize,
        call: usize,
        decided_before: &DecidedBefore,
        after: usize,
    ) -> Result<(), Broken> {
        let before = state.table;
        state.table = after;
        let info = Rc::clone(&self.infos[call]);
        let (before, is) = (self.view(before), self.view(after));
        let rules = &self.rules;
        rules.check_step(history, request, &info, decided_before, &before, &is)
    }

    /// Hands a reply to a request, which continues to its next calls or its answer.
    pub(super) fn hand_over(
        &mut self,
        state: &mut State,
        history: &mut History,
        request: usize,
        call: usize,
        reply: Reply,
    ) -> Result<(), Broken> {
        let place = state.places[request];
        let was_answered = self.programs[request].stop(place).answer.is_some();
        let call = self.calls.value(call);
        let place = self.programs[request].after(place, &call, reply);
        state.places[request] = place;
        let view = self.view(state.table);
        if let (false, Some(answer)) = (was_answered, &self.programs[request].stop(place).answer) {
            self.rules.check_answer(history, request, answer, &view)?;
        }
        state.history = self.histories.number(history.clone());
        Ok(())
    }

    /// How many orders there are of as many calls as each request makes at the least.
    fn fewest_orders(&mut self) -> u128 {
        let mut fewest = Vec::new();
        for program in &self.programs {
            let places = 0..program.places();
            let ends = places.filter(|place| program.stop(*place).answer.is_some());
            let seen = |place: Place| {
                let replies = program.replies(place).iter();
                replies.filter(|(call, _)| !call.read().is_private).count()
            };
            fewest.push(ends.map(seen).min().unwrap_or(0));
        }
        let (mut orders, mut placed) = (1_u128, 0_u128);
        for calls in fewest {
            for call in 1..=calls as u128 {
                placed += 1;
                orders = orders * placed / call;
            }
        }
        orders
    }
}
