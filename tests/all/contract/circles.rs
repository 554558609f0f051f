//! Within a crate the modules' dependencies point one way too: no module needs another one that needs it.
//!
//! This reads the sources as text: the paths that begin with `crate::`, outside of comments and unit tests. A folder is
//! one module, and what `lib.rs` exports again belongs to the module that it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use latchkey_tests::harness::template::root;

/// The items that stand in `lib.rs` itself.
const LIB: &str = "lib";

/// For each module those that it names.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The code of each module of a crate, by name.
fn modules_of(src: &Path) -> BTreeMap<String, String> {
    let mut modules: BTreeMap<String, String> = BTreeMap::new();
    let mut folders = vec![(src.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            if path.is_dir() {
                folders.push((path, depth + 1));
            } else if path.extension().is_some_and(|kind| kind == "rs") && stem != "tests" {
                let levels = depth + usize::from(stem != "mod");
                let text = std::fs::read_to_string(&path).unwrap();
                let inside = path.strip_prefix(src).unwrap().components().next().unwrap();
                let module = inside.as_os_str().to_str().unwrap().trim_end_matches(".rs");
                let code = code_of(&text).replace(&"super::".repeat(levels), "crate::");
                modules
                    .entry(module.to_owned())
                    .or_default()
                    .push_str(&code);
            }
        }
    }
    modules
}

/// Without comments and unit tests.
fn code_of(text: &str) -> String {
    let code = text.split("mod tests {").next().unwrap();
    let lines = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.split(move |c| !is_part(c))
        .filter(|word| !word.is_empty())
}

/// The first names of the paths of a group: `a` and `b` of `{a::{c, d}, b}`.
fn first_names(group: &str) -> Vec<&str> {
    let (mut depth, mut from, mut names) = (0, 0, Vec::new());
    for (place, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c == '{' && depth == 1 {
            from = place + 1;
        }
        if depth == 0 || depth == 1 && c == ',' {
            names.extend(words(&group[from..place]).next());
            from = place + 1;
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// What stands first after each `crate::`.
fn names_of_the_crate(code: &str) -> Vec<&str> {
    let paths = code.split("crate::").skip(1);
    paths
        .flat_map(|rest| match rest.starts_with('{') {
            true => first_names(rest),
            false => words(rest).next().into_iter().collect(),
        })
        .collect()
}

/// Where each name of `lib.rs` comes from, and what is left of its code.
fn exports(lib: &str) -> (BTreeMap<&str, &str>, String) {
    let (mut exports, mut rest) = (BTreeMap::new(), String::new());
    for statement in lib.split_inclusive(';') {
        match statement.rsplit_once("pub use ") {
            Some((before, path)) => {
                let mut names = words(path).filter(|word| !matches!(*word, "crate" | "self"));
                let module = names.next().unwrap();
                exports.extend(names.map(|name| (name, module)));
                rest.push_str(before);
            }
            None => rest.push_str(statement),
        }
    }
    (exports, rest)
}

fn arrows(modules: &BTreeMap<String, String>) -> Arrows {
    let (exports, lib) = exports(modules.get(LIB).unwrap());
    let module_of = |name: &str| -> String {
        let module = exports.get(name).copied().unwrap_or(name);
        let known = modules.contains_key(module);
        if known { module } else { LIB }.to_owned()
    };
    let mut arrows = Arrows::new();
    for (module, code) in modules {
        let code = if module == LIB { &lib } else { code };
        let mut named: BTreeSet<String> = names_of_the_crate(code)
            .into_iter()
            .map(module_of)
            .collect();
        if module == LIB {
            // Here a path may begin with the module.
            let begin = |other: &&String| {
                let path = format!("{other}::");
                let places = lib.match_indices(&path).map(|(place, _)| &lib[..place]);
                let mut before = places.map(|before| before.chars().next_back());
                before.any(|c| c.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':'))
            };
            named.extend(modules.keys().filter(begin).cloned());
        }
        named.remove(module);
        arrows.insert(module.clone(), named);
    }
    arrows
}

/// A way from a module back to itself, if there is one.
fn circle(arrows: &Arrows) -> Option<Vec<&str>> {
    fn search<'a>(
        arrows: &'a Arrows,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> bool {
        let here = *way.last().unwrap();
        for next in &arrows[here] {
            if let Some(begin) = way.iter().position(|one| one == next) {
                way.drain(..begin);
                way.push(next);
                return true;
            }
            if !done.contains(next.as_str()) {
                way.push(next);
                if search(arrows, way, done) {
                    return true;
                }
                way.pop();
            }
        }
        done.insert(here);
        false
    }
    let mut done = BTreeSet::new();
    arrows.keys().find_map(|module| {
        let mut way = vec![module.as_str()];
        search(arrows, &mut way, &mut done).then_some(way)
    })
}

#[test]
fn the_modules_of_a_crate_need_each_other_in_no_circle() {
    let mut crates = 0;
    for entry in std::fs::read_dir(root().join("shared")).unwrap() {
        let folder = entry.unwrap().path();
        let arrows = arrows(&modules_of(&folder.join("src")));
        let all: usize = arrows.values().map(BTreeSet::len).sum();
        assert!(all > 5, "{}: its modules are not read", folder.display());
        let circle = circle(&arrows).map(|way| way.join(" -> "));
        assert_eq!(circle, None, "{}", folder.display());
        crates += 1;
    }
    assert_eq!(crates, 5);
}

#[test]
fn a_circle_is_found_however_the_modules_are_named() {
    let of = |sources: &[(&str, &str)]| {
        let modules = sources
            .iter()
            .map(|(name, text)| ((*name).to_owned(), code_of(text)));
        let modules: BTreeMap<String, String> = modules.collect();
        circle(&arrows(&modules)).map(|way| way.join(" -> "))
    };
    let lib = "mod a;\nmod b;\nmod c;\npub use b::{Bee, Other};\nstruct Root;";
    let line = ("c", "fn c() {}");
    let one_way = [
        ("lib", lib),
        ("a", "use crate::{Bee, c::{d, e}};"),
        ("b", "use crate::c::d;"),
        line,
    ];
    assert_eq!(of(&one_way), None);
    for (b, expected) in [
        ("use crate::a::X;", Some("a -> b -> a")),
        (
            "use crate::{c::{d, e}, a::X};\nfn b() {}",
            Some("a -> b -> a"),
        ),
        ("fn b() -> crate::a::X {}", Some("a -> b -> a")),
        ("// use crate::a::X;", None),
        ("#[cfg(test)]\nmod tests {\n    use crate::a::X;\n}", None),
    ] {
        let sources = [("lib", lib), ("a", "use crate::Bee;"), ("b", b), line];
        assert_eq!(of(&sources).as_deref(), expected, "{b}");
    }
    let through_lib = format!("{lib}\nfn root() {{ c::d() }}");
    let sources = [
        ("lib", through_lib.as_str()),
        ("a", ""),
        ("b", ""),
        ("c", "use crate::Root;"),
    ];
    assert_eq!(of(&sources).as_deref(), Some("c -> lib -> c"));
}
