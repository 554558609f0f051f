//! What the pages of evidence name: each requirement that they should have, and tests that are there; and that the
//! tests have no more lines than the service.

use std::collections::BTreeSet;
use std::path::Path;

use latchkey_tests::harness::template::root;

const ASVS: &str = include_str!("../../../infra/guides/understand/asvs.md");
const PAGES: [&str; 2] = [
    ASVS,
    include_str!("../../../infra/guides/evidence/faults.md"),
];

/// The sections of V6, V7 and V9 of OWASP ASVS 5.0, each with the levels of its requirements in their order.
const REQUIREMENTS: [(&str, &[u8]); 16] = [
    ("6.1", &[1, 2, 2]),
    ("6.2", &[1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2]),
    ("6.3", &[1, 1, 2, 2, 3, 3, 3, 3]),
    ("6.4", &[1, 1, 2, 2, 3, 3]),
    ("6.5", &[2, 2, 2, 2, 2, 3, 3, 3]),
    ("6.6", &[2, 2, 2, 3]),
    ("6.7", &[3, 3]),
    ("6.8", &[2, 2, 2, 2]),
    ("7.1", &[2, 2, 2]),
    ("7.2", &[1, 1, 1, 1]),
    ("7.3", &[2, 2]),
    ("7.4", &[1, 1, 2, 2, 2]),
    ("7.5", &[2, 2, 3]),
    ("7.6", &[2, 2]),
    ("9.1", &[1, 1, 1]),
    ("9.2", &[1, 2, 2, 2]),
];

#[test]
fn the_page_has_a_row_for_each_requirement_of_levels_1_and_2() {
    for (section, levels) in REQUIREMENTS {
        for (number, level) in (1..).zip(levels).filter(|(_, level)| **level < 3) {
            let begin = format!("| {section}.{number} | {level} | ");
            let mut rows = ASVS.lines().filter(|line| line.starts_with(&begin));
            let row = rows.next().unwrap_or_else(|| panic!("no row {begin}"));
            assert_eq!(rows.next(), None, "two rows {begin}");
            let state = row.split(" | ").nth(3).unwrap();
            let states = ["met", "not applicable", "yours", "open", "a deviation"];
            assert!(states.iter().any(|known| state.starts_with(known)), "{row}");
        }
    }
}

/// Every test of the sources below a folder: a function below `#[test]`, `#[tokio::test]` or in `proptest!`.
fn add_functions(folder: &Path, functions: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_functions(&path, functions);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for mark in ["#[test]", "#[tokio::test]", "#[tokio::test("] {
                let tests = text.split(mark).skip(1);
                let names =
                    tests.filter_map(|rest| rest.split_once("fn ")?.1.split(['(', '<']).next());
                functions.extend(names.map(str::to_owned));
            }
        }
    }
}

#[test]
fn the_tests_that_the_pages_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut functions = BTreeSet::new();
    for folder in [
        "shared/domain/src",
        "shared/store/src",
        "shared/service/src",
        "tests/all",
    ] {
        add_functions(&root.join(folder), &mut functions);
    }
    let mut checked = 0;
    for words in PAGES
        .iter()
        .flat_map(|page| page.split('`').skip(1).step_by(2))
    {
        let is_name = words
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b"_0123456789".contains(&b));
        // A code or a setting has fewer words.
        if is_name && words.matches('_').count() >= 4 {
            assert!(functions.contains(words), "no test is called {words}");
            checked += 1;
        }
    }
    assert!(checked >= 30, "{checked}");
}

/// The lines of all Rust files of a folder.
fn count_lines(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap();
    let of_entry = |path: std::path::PathBuf| {
        if path.is_dir() {
            count_lines(&path)
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            std::fs::read_to_string(&path).unwrap().lines().count()
        } else {
            0
        }
    };
    entries.map(|entry| of_entry(entry.unwrap().path())).sum()
}

#[test]
fn the_tests_have_no_more_lines_than_the_service() {
    let of = |folder: &str| count_lines(&root().join(folder));
    let (proving, proven) = (
        of("tests") + of("infra/measure"),
        of("shared") + of("functions"),
    );
    assert!(proven > 10_000, "{proven}");
    assert!(
        proving <= proven,
        "{proving} lines prove {proven}; see infra/guides/evidence/sceptic.md"
    );
}
