//! All orders of a scenario, breadth first.
//!
//! A state is the table, the replies that each request has had, the writes still under way, and the rules' history. From
//! each state every call that waits may be the next to reach DynamoDB. While the scenario allows for it, a write may
//! also go astray: it stays in the network and may arrive at any later moment (at once: then only its reply was lost),
//! while its sender sees a time-out and the SDK sends it again; or hears that it conflicts, with its own first attempt
//! or with another write; or gives up.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::{self, Write as _};
use std::hash::Hash;
use std::rc::Rc;

use super::Mechanisms;
use super::requests::{Answer, Process, Queries, Runner, Stop};
use super::rules::{Broken, DecidedBefore, History, Rules};
use super::table::{Call, Reply, Table};

/// A few requests of one user at the same moment.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// The requests.
    pub processes: Vec<Process>,
    /// The table as it begins.
    pub table: Table,
    /// How many sessions a user may have.
    pub limit: usize,
    /// How many writes may go astray.
    pub faults: u8,
    /// In which order queries read.
    pub queries: Queries,
}

/// What a search has seen.
#[derive(Debug)]
pub struct Exploration {
    /// How many states there are, or were seen before the counterexample.
    pub states: usize,
    /// What the requests were answered in the end, in every combination that occurs.
    pub outcomes: BTreeSet<Vec<&'static str>>,
    /// The shortest way to break a rule, if there is one.
    pub counterexample: Option<Counterexample>,
}

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

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A request's call reaches DynamoDB and its reply comes back.
    Call { request: usize, slot: usize },
    /// A request's write goes astray; what its sender sees.
    Astray {
        request: usize,
        slot: usize,
        seen: Seen,
    },
    /// A write that went astray arrives.
    Arrives { position: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    SentAgain,
    Conflict,
    GivenUp,
}

/// The replies that a request has had, as the number of a [`Node`].
type Place = usize;

struct Node {
    replies: Vec<(u8, Reply)>,
    stop: Stop,
}

/// One request, run once for every sequence of replies that it meets.
struct Program<'a> {
    runner: Runner<'a>,
    nodes: Vec<Node>,
    next: HashMap<(Place, u8, Reply), Place>,
}

impl<'a> Program<'a> {
    fn new(runner: Runner<'a>) -> Self {
        let first = Node {
            replies: Vec::new(),
            stop: runner.run(&[]),
        };
        Self {
            runner,
            nodes: vec![first],
            next: HashMap::new(),
        }
    }

    fn waiting(&self, place: Place) -> &[(u8, Call)] {
        match &self.nodes[place].stop {
            Stop::Waiting(calls) => calls,
            Stop::Answered(_) => &[],
        }
    }

    fn answer(&self, place: Place) -> Option<&Answer> {
        match &self.nodes[place].stop {
            Stop::Waiting(_) => None,
            Stop::Answered(answer) => Some(answer),
        }
    }

    fn after(&mut self, place: Place, slot: u8, reply: Reply) -> Place {
        let key = (place, slot, reply);
        if let Some(next) = self.next.get(&key) {
            return *next;
        }
        let mut replies = self.nodes[place].replies.clone();
        replies.push((slot, key.2.clone()));
        assert!(replies.len() < 100, "a request does not come to an end");
        let stop = self.runner.run(&replies);
        self.nodes.push(Node { replies, stop });
        let next = self.nodes.len() - 1;
        self.next.insert(key, next);
        next
    }
}

/// Gives equal values one number, so that a state is a handful of numbers.
struct Interner<T> {
    numbers: HashMap<Rc<T>, usize>,
    values: Vec<Rc<T>>,
}

impl<T: Eq + Hash> Interner<T> {
    fn new() -> Self {
        Self {
            numbers: HashMap::new(),
            values: Vec::new(),
        }
    }

    fn number(&mut self, value: T) -> usize {
        if let Some(number) = self.numbers.get(&value) {
            return *number;
        }
        let (number, value) = (self.values.len(), Rc::new(value));
        self.values.push(Rc::clone(&value));
        self.numbers.insert(value, number);
        number
    }

    fn value(&self, number: usize) -> Rc<T> {
        Rc::clone(&self.values[number])
    }
}

/// What a request's call does to all that it can touch: table, history, its own place.
type Effect = (usize, usize, Place);

#[derive(Clone, PartialEq, Eq, Hash)]
struct InFlight {
    request: usize,
    call: Call,
    decided_before: DecidedBefore,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    table: usize,
    history: usize,
    places: Vec<Place>,
    in_flight: Vec<usize>,
    faults_left: u8,
}

struct Search<'a> {
    scenario: &'a Scenario,
    with: &'a Mechanisms,
    rules: Rules<'a>,
    programs: Vec<Program<'a>>,
    tables: Interner<Table>,
    histories: Interner<History>,
    under_way: Interner<InFlight>,
    /// The effects of calls that were made before: of table, history, request, place, slot.
    effects: HashMap<(usize, usize, usize, Place, usize), Effect>,
}

/// Visits every state of a scenario, or stops at the first that breaks a rule.
#[must_use]
pub fn explore(scenario: &Scenario, with: &Mechanisms) -> Exploration {
    let runner = |(stamp, process)| Runner {
        process,
        stamp,
        limit: scenario.limit,
        queries: scenario.queries,
        with,
    };
    let rules = Rules {
        processes: &scenario.processes,
        initial: &scenario.table,
        limit: scenario.limit,
    };
    let search = Search {
        scenario,
        with,
        rules,
        programs: scenario
            .processes
            .iter()
            .enumerate()
            .map(runner)
            .map(Program::new)
            .collect(),
        tables: Interner::new(),
        histories: Interner::new(),
        under_way: Interner::new(),
        effects: HashMap::new(),
    };
    search.run()
}

impl Search<'_> {
    fn run(mut self) -> Exploration {
        let initial = self.initial();
        let mut outcomes = BTreeSet::new();
        // How each state was first met: from which one, by what.
        let mut origins: Vec<Option<(usize, Event)>> = vec![None];
        let mut visited: HashMap<State, usize> = HashMap::from([(initial.clone(), 0)]);
        let mut queue = VecDeque::from([(0, initial)]);
        while let Some((number, state)) = queue.pop_front() {
            let events = self.events(&state);
            if events.is_empty() {
                outcomes.insert(self.outcome(&state));
            }
            for event in events {
                let mut next = state.clone();
                let origin = Some((number, event));
                match self.happen(&mut next, event) {
                    Ok(()) => {
                        if !visited.contains_key(&next) {
                            visited.insert(next.clone(), origins.len());
                            queue.push_back((origins.len(), next));
                            origins.push(origin);
                        }
                    }
                    Err(broken) => {
                        let states = origins.len();
                        let trace = self.trace(&origins, origin);
                        let counterexample = Some(Counterexample { broken, trace });
                        return Exploration {
                            states,
                            outcomes,
                            counterexample,
                        };
                    }
                }
            }
        }
        Exploration {
            states: origins.len(),
            outcomes,
            counterexample: None,
        }
    }

    fn initial(&mut self) -> State {
        State {
            table: self.tables.number(self.scenario.table.clone()),
            history: self.histories.number(self.rules.beginning()),
            places: vec![0; self.programs.len()],
            in_flight: Vec::new(),
            faults_left: self.scenario.faults,
        }
    }

    fn outcome(&self, state: &State) -> Vec<&'static str> {
        let answers = self.programs.iter().zip(&state.places);
        answers
            .map(|(program, place)| program.answer(*place).map_or("no answer", Answer::word))
            .collect()
    }

    /// Everything that may happen next.
    fn events(&self, state: &State) -> Vec<Event> {
        let mut events = Vec::new();
        for (request, place) in state.places.iter().enumerate() {
            for (slot, (_, call)) in self.programs[request].waiting(*place).iter().enumerate() {
                events.push(Event::Call { request, slot });
                if call.is_write() && state.faults_left > 0 {
                    let mut seen = vec![Seen::SentAgain, Seen::GivenUp];
                    if call.may_conflict() {
                        seen.push(Seen::Conflict);
                    }
                    let astray = |seen| Event::Astray {
                        request,
                        slot,
                        seen,
                    };
                    events.extend(seen.into_iter().map(astray));
                }
            }
        }
        let arrivals = (0..state.in_flight.len()).map(|position| Event::Arrives { position });
        events.extend(arrivals);
        events
    }

    /// Makes it happen, and checks the rules.
    fn happen(&mut self, state: &mut State, event: Event) -> Result<(), Broken> {
        match event {
            Event::Call { request, slot } => {
                let place = state.places[request];
                let key = (state.table, state.history, request, place, slot);
                let effect = match self.effects.get(&key) {
                    Some(effect) => *effect,
                    None => {
                        let effect = self.call(state, request, slot)?;
                        self.effects.insert(key, effect);
                        effect
                    }
                };
                (state.table, state.history, state.places[request]) = effect;
            }
            Event::Astray {
                request,
                slot,
                seen,
            } => {
                let (slot, call) = self.waiting(state, request, slot);
                let table = self.tables.value(state.table);
                let mut history = History::clone(&self.histories.value(state.history));
                self.rules.note_call(&mut history, &table, request, &call);
                let decided_before = self.rules.decided_before(&history, request);
                let astray = InFlight {
                    request,
                    call,
                    decided_before,
                };
                state.in_flight.push(self.under_way.number(astray));
                state.faults_left -= 1;
                let reply = match seen {
                    Seen::SentAgain => None,
                    Seen::Conflict => Some(Reply::Conflict),
                    Seen::GivenUp => Some(Reply::Unavailable),
                };
                if let Some(reply) = reply {
                    let place = state.places[request];
                    state.places[request] =
                        self.hand_over(&mut history, &table, request, place, slot, reply)?;
                }
                state.history = self.histories.number(history);
            }
            Event::Arrives { position } => {
                let arriving = self.under_way.value(state.in_flight.remove(position));
                let InFlight {
                    request,
                    call,
                    decided_before,
                } = &*arriving;
                let before = self.tables.value(state.table);
                let mut history = History::clone(&self.histories.value(state.history));
                let (_, table) =
                    self.execute(&mut history, *request, call, decided_before, &before)?;
                state.table = self.tables.number(table);
                state.history = self.histories.number(history);
            }
        }
        Ok(())
    }

    /// A request's call reaches DynamoDB and its reply comes back.
    fn call(&mut self, state: &State, request: usize, slot: usize) -> Result<Effect, Broken> {
        let (slot, call) = self.waiting(state, request, slot);
        let before = self.tables.value(state.table);
        let mut history = History::clone(&self.histories.value(state.history));
        self.rules.note_call(&mut history, &before, request, &call);
        let decided = self.rules.decided_before(&history, request);
        let (reply, table) = self.execute(&mut history, request, &call, &decided, &before)?;
        let place = state.places[request];
        let place = self.hand_over(&mut history, &table, request, place, slot, reply)?;
        Ok((
            self.tables.number(table),
            self.histories.number(history),
            place,
        ))
    }

    fn waiting(&self, state: &State, request: usize, slot: usize) -> (u8, Call) {
        self.programs[request].waiting(state.places[request])[slot].clone()
    }

    fn execute(
        &self,
        history: &mut History,
        request: usize,
        call: &Call,
        decided_before: &DecidedBefore,
        before: &Table,
    ) -> Result<(Reply, Table), Broken> {
        let mut table = before.clone();
        let reply = table.execute(call, self.with);
        if matches!(reply, Reply::Written(_)) {
            let rules = &self.rules;
            rules.check_step(history, request, call, decided_before, before, &table)?;
        }
        Ok((reply, table))
    }

    /// Hands a reply to a request, which continues to its next call or its answer.
    fn hand_over(
        &mut self,
        history: &mut History,
        table: &Table,
        request: usize,
        place: Place,
        slot: u8,
        reply: Reply,
    ) -> Result<Place, Broken> {
        let place = self.programs[request].after(place, slot, reply);
        if let Some(answer) = self.programs[request].answer(place) {
            self.rules.check_answer(history, request, answer, table)?;
        }
        Ok(place)
    }

    /// Tells how a state was come to, by doing it again.
    fn trace(
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
                Event::Call { request, slot } => {
                    (request, self.waiting(&state, request, slot).1, "")
                }
                Event::Astray {
                    request,
                    slot,
                    seen,
                } => {
                    let how = match seen {
                        Seen::SentAgain => ", is under way; the SDK sends it again",
                        Seen::Conflict => ", is under way; sent again, told: conflict",
                        Seen::GivenUp => ", is under way; given up",
                    };
                    (request, self.waiting(&state, request, slot).1, how)
                }
                Event::Arrives { position } => {
                    let arriving = self.under_way.value(state.in_flight[position]);
                    (arriving.request, arriving.call.clone(), ", arrives late")
                }
            };
            let mut line = format!(
                "{:<24} {call:?}{how}",
                self.scenario.processes[request].title()
            );
            if !matches!(event, Event::Astray { .. }) {
                let mut table = Table::clone(&self.tables.value(state.table));
                let _ = write!(line, " -> {:?}", table.execute(&call, self.with));
            }
            let place = state.places[request];
            let answered = match self.happen(&mut state, event) {
                Ok(()) if state.places[request] != place => {
                    self.programs[request].answer(state.places[request])
                }
                Ok(()) | Err(_) => None,
            };
            if let Some(answer) = answered {
                let _ = write!(line, "; answers \"{}\"", answer.word());
            }
            lines.push(line);
        }
        lines
    }
}

/// Explores scenarios and prints a line for each.
#[must_use]
pub fn report(scenario: &Scenario, with: &Mechanisms) -> Exploration {
    let exploration = explore(scenario, with);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for word in exploration.outcomes.iter().flatten() {
        *counts.entry(word).or_default() += 1;
    }
    let words: Vec<&str> = counts.keys().copied().collect();
    println!(
        "{:<44} {:>8} states; answers: {}",
        scenario.name,
        exploration.states,
        words.join(", ")
    );
    exploration
}
