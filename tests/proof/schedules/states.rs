//! States as numbers, and how many paths lead through them.

use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

/// Gives equal values one number, so that a state is a handful of numbers.
pub(super) struct Interner<T> {
    numbers: HashMap<Rc<T>, usize>,
    values: Vec<Rc<T>>,
}

impl<T: Eq + Hash> Interner<T> {
    pub(super) fn new() -> Self {
        Self {
            numbers: HashMap::new(),
            values: Vec::new(),
        }
    }

    pub(super) fn number(&mut self, value: T) -> usize {
        if let Some(number) = self.numbers.get(&value) {
            return *number;
        }
        let (number, value) = (self.values.len(), Rc::new(value));
        self.values.push(Rc::clone(&value));
        self.numbers.insert(value, number);
        number
    }

    pub(super) fn value(&self, number: usize) -> Rc<T> {
        Rc::clone(&self.values[number])
    }
}

/// How many paths there are from the first state to one without successors. No path comes back.
pub(super) fn count_paths(successors: &[Vec<usize>]) -> u128 {
    let mut before = vec![0_usize; successors.len()];
    for next in successors.iter().flatten() {
        before[*next] += 1;
    }
    let mut paths = vec![0_u128; successors.len()];
    paths[0] = 1;
    let (mut ready, mut ends) = (vec![0], 0_u128);
    while let Some(state) = ready.pop() {
        if successors[state].is_empty() {
            ends = ends.saturating_add(paths[state]);
        }
        for next in &successors[state] {
            paths[*next] = paths[*next].saturating_add(paths[state]);
            before[*next] -= 1;
            if before[*next] == 0 {
                ready.push(*next);
            }
        }
    }
    ends
}
