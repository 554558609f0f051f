//! Every order of the DynamoDB calls of a few simultaneous requests keeps the guarantees: the real use cases, over the
//! real store, on the embedded engine. The search: [`latchkey_tests::proof::schedules`].
//!
//! `cargo test -p latchkey-tests schedules -- --nocapture` prints what was explored. A mechanism that is taken out of the
//! code gives a counterexample: `infra/scripts/run check proof NAME`.

mod flaws;
mod links;
mod pairs;
mod races;
mod scenes;
mod triples;

use latchkey_tests::proof::schedules::scene::Scenario;
use latchkey_tests::proof::schedules::search::Exploration;

/// Explores a scenario: no order breaks a rule, every request is answered, and each of these answers occurs.
#[track_caller]
fn holds(scenario: &Scenario, occurring: &[&str]) -> Exploration {
    let explored = scenario.explore();
    let words: std::collections::BTreeSet<&str> =
        explored.outcomes.iter().flatten().copied().collect();
    println!(
        "{:<56} {:>7} states, {:>12} schedules, {:>5} runs; answers: {}",
        scenario.name,
        explored.states,
        explored.schedules,
        explored.runs,
        words.iter().copied().collect::<Vec<_>>().join(", ")
    );
    if let Some(counterexample) = &explored.counterexample {
        let broken = &counterexample.broken;
        panic!("{}: {broken}\n{counterexample}", scenario.name);
    }
    assert!(
        !words.contains("no answer"),
        "{}: a request waits for ever",
        scenario.name
    );
    for word in occurring {
        assert!(
            words.contains(word),
            "{}: nobody is answered {word:?}",
            scenario.name
        );
    }
    let (schedules, at_least) = (explored.schedules, explored.at_least);
    assert!(
        at_least > 1 && schedules >= at_least,
        "{}: {schedules} schedules, of at least {at_least}",
        scenario.name
    );
    explored
}
