//! House rules that no compiler holds: what may import what, sizes, words, and what lies where.
//!
//! Each rule is a function from the source tree to complaints. A complaint that is accepted for a
//! time stands in [`ACCEPTED`] with the reason; one that no longer applies must leave the list.
//!
//! Invariants: `Y1` arrows inside the engine point one way, from what decides to what does, by
//! [`RANKS`]. `Y2` every file opens with what it is for. `Y3` a file has at most 800 lines, a line
//! 100 columns. `Y4` one word for each thing. `Y5` no decoder unwraps.
//! `Y6` what the README names is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of the engine from the lowest layer to the highest. A module may import from its own
/// layer and from those before it.
const RANKS: &[&[&str]] = &[
    &["limits", "canary", "event"],
    &["error", "ram", "sync"],
    &["format"],
    &["media"],
    &["zone"],
    &["group"],
    &["log", "memtable", "run", "manifest", "cache", "digest"],
    &["versions", "plan", "sanity", "rescue"],
    &["state"],
    &[
        "anchor",
        "append",
        "checkpoint",
        "compact",
        "flush",
        "evacuate",
        "haste",
        "health",
        "marks",
        "merge",
        "mirror",
        "nodes",
        "parity",
        "reclaim",
        "scrub",
        "search",
        "twin",
        "value",
        "verify",
    ],
    &["hole"],
    &["create", "maintain", "open", "recover", "refill", "replay"],
    &["store"],
    &["blocking"],
    &["lib"],
];

/// Complaints that are known: how they begin, and why they may stay.
const ACCEPTED: &[(&str, &str)] = &[
    ("engine: state imports anchor", "the state holds the anchors, a type of `anchor`"),
    ("engine: state imports compact", "the core lends the job under way, a type of `compact`"),
    ("engine: state imports reclaim", "the core keeps the zone being reclaimed between steps"),
];

/// Words that stand for something which has another name here, by the word to use.
const BANNED_WORDS: &[(&str, &str)] = &[
    ("sector", "block"),
    ("sectors", "blocks"),
    ("page", "block"),
    ("pages", "blocks"),
    ("chunk", "extent, part"),
    ("erase", "reset"),
    ("erased", "reset"),
    ("gc", "reclaim"),
    ("evict", "evacuate"),
    ("evicted", "evacuated"),
    ("relocate", "remap, move"),
    ("relocated", "remapped, moved"),
    ("reassign", "remap"),
    ("corrupt", "damaged"),
    ("corrupted", "damaged"),
    ("corruption", "damage"),
    ("todo", "an issue"),
    ("fixme", "an issue"),
];

/// Identifiers of others, in which a banned word is not ours.
const FOREIGN: &[&str] = &[
    "first_chunk",
    "first_chunk_mut",
    "last_chunk",
    "last_chunk_mut",
    "split_first_chunk",
    "split_last_chunk",
    "split_last_chunk_mut",
];

/// Files that must name the thing as it is called outside.
const WORD_EXEMPT: &[(&str, &str)] = &[
    ("hal/src/adapt/nor.rs", "embedded-storage erases and calls it that"),
    ("hal/src/sense.rs", "the names of T10's codes"),
];

/// What may stand at the top of the tree besides hidden files.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "drive",
    "engine",
    "fuzz",
    "hal",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "sim",
    "target",
];

const FILE_LINES_MAX: usize = 800;
const FILE_LINES_SOFT: usize = 500;
const LINE_COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;

struct Source {
    /// Relative to the top of the tree, with `/`.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn collect(directory: &Path, sources: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("a directory entry").path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, sources);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).expect("a readable source");
            let path = path.strip_prefix(root()).expect("in the tree").to_string_lossy();
            sources.push(Source { path: path.replace('\\', "/"), text });
        }
    }
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    collect(&root(), &mut sources);
    assert!(sources.len() > 50, "the source tree was not found");
    sources
}

/// The text up to the unit tests, which stand last.
fn production(text: &str) -> &str {
    let mark = "\n#[cfg(test)]\n";
    let is_tests = |at: usize| {
        let mut after = text[at + mark.len()..].lines().filter(|line| !line.starts_with("#["));
        after.next().is_some_and(|line| line.contains("mod tests"))
    };
    let found = text.match_indices(mark).find(|(at, _)| is_tests(*at));
    found.map_or(text, |(at, _)| &text[..at])
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// Fails with all complaints that are not accepted, and with acceptances that nothing needs.
fn judge(rule: &str, complaints: &[String]) {
    let is_accepted = |complaint: &String| ACCEPTED.iter().any(|(start, _)| complaint == start);
    let open: Vec<&String> = complaints.iter().filter(|c| !is_accepted(c)).collect();
    assert!(
        open.is_empty(),
        "{rule}:\n{}",
        open.iter().map(|c| format!("  {c}\n")).collect::<String>()
    );
}

/// The first part of every path that begins at the crate, grouped imports included.
fn crate_imports(text: &str) -> Vec<String> {
    let code: String = text.lines().filter(|line| !is_comment(line)).collect();
    let mut found = Vec::new();
    for (at, root) in code.match_indices("crate::") {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        if code[..at].ends_with(|c| is_word(c) || c == '$') {
            continue;
        }
        let rest = &code[at + root.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push(rest.chars().take_while(|c| is_word(*c)).collect());
            continue;
        };
        // The first word of each part of the group: after its brace, or a comma outside others.
        let mut depth = 1;
        let mut begins = true;
        let mut word = String::new();
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if begins && is_word(c) {
                word.push(c);
            } else if !word.is_empty() {
                found.push(std::mem::take(&mut word));
                begins = false;
            }
            begins |= c == ',' && depth == 1;
            if depth == 0 {
                break;
            }
        }
    }
    found
}

fn module_of(path: &str) -> Option<String> {
    let inner = path.strip_prefix("engine/src/")?;
    let first = inner.split('/').next()?;
    Some(first.trim_end_matches(".rs").to_owned())
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "use crate::{b::{C, d}, e};\nuse crate::f::G;\n// crate::no\nlet x = crate::h::i();";
    assert_eq!(crate_imports(text), ["b", "e", "f", "h"]);
}

#[test]
fn engine_imports_point_one_way() {
    let rank = |module: &str| RANKS.iter().position(|layer| layer.contains(&module));
    let mut arrows: BTreeMap<(String, String), ()> = BTreeMap::new();
    let mut complaints = Vec::new();
    for source in sources() {
        let Some(from) = module_of(&source.path) else {
            continue;
        };
        let Some(from_rank) = rank(&from) else {
            complaints.push(format!("engine: {from} has no layer; give it one in RANKS"));
            continue;
        };
        for to in crate_imports(production(&source.text)) {
            // Names that `lib.rs` re-exports are no modules.
            let Some(to_rank) = rank(&to) else { continue };
            if to_rank > from_rank && arrows.insert((from.clone(), to.clone()), ()).is_none() {
                complaints.push(format!("engine: {from} imports {to}"));
            }
        }
    }
    let is_needed = |start: &str| complaints.iter().any(|complaint| complaint == start);
    let stale: Vec<_> = ACCEPTED.iter().filter(|(start, _)| !is_needed(start)).collect();
    assert!(stale.is_empty(), "no longer needed in ACCEPTED: {stale:?}");
    judge("imports that point back", &complaints);
}

#[test]
fn format_sees_no_device() {
    for source in sources().iter().filter(|source| source.path.starts_with("engine/src/format/")) {
        let text = production(&source.text);
        assert!(!text.contains("shingle_hal"), "{}: format turns bytes, no more", source.path);
    }
}

#[test]
fn crates_import_downwards_only() {
    let mut complaints = Vec::new();
    for source in sources() {
        let above: &[&str] = match source.path.split('/').next() {
            Some("hal") => &["shingle_engine", "shingle_drive", "shingle_sim"],
            Some("engine") => &["shingle_drive", "shingle_sim"],
            Some("drive") => &["shingle_sim"],
            _ => &[],
        };
        for name in above.iter().filter(|name| production(&source.text).contains(**name)) {
            complaints.push(format!("{}: uses {name}", source.path));
        }
    }
    judge("crates that look up", &complaints);
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut complaints = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            complaints.push(format!("{}: does not begin with `//! `", source.path));
        }
    }
    judge("files without a head", &complaints);
}

#[test]
fn files_and_lines_keep_their_limits() {
    let mut complaints = Vec::new();
    for Source { path, text } in sources() {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            complaints.push(format!("{path}: {lines} lines of {FILE_LINES_MAX}"));
        } else if lines > FILE_LINES_SOFT {
            println!("{path}: {lines} lines, more than {FILE_LINES_SOFT}");
        }
        for (index, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > LINE_COLUMNS_MAX {
                complaints.push(format!("{path}:{}: {columns} columns", index + 1));
            }
        }
        long_functions(&path, &text);
    }
    judge("limits", &complaints);
}

/// Prints functions over the limit. By indentation, which rustfmt makes reliable.
fn long_functions(path: &str, text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let is_function = ["fn ", "pub fn ", "pub(crate) fn ", "async fn ", "pub async fn "]
            .iter()
            .any(|start| code.starts_with(start))
            || code.starts_with("pub(crate) async fn ");
        if !is_function {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - code.len()]);
        let length = lines[index..].iter().position(|line| *line == end);
        if let Some(length) = length.filter(|length| *length >= FUNCTION_LINES_MAX) {
            println!("{path}:{}: a function of {} lines", index + 1, length + 1);
        }
    }
}

/// Words of a line: identifiers cut at underscores and where the case changes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for identifier in line.split(|c: char| !c.is_alphanumeric() && c != '_') {
        if FOREIGN.contains(&identifier) {
            continue;
        }
        let mut word = String::new();
        let mut before_lower = false;
        for c in identifier.chars() {
            if c == '_' || (c.is_uppercase() && before_lower) {
                words.push(std::mem::take(&mut word));
            }
            if c != '_' {
                word.extend(c.to_lowercase());
            }
            before_lower = c.is_lowercase();
        }
        words.push(word);
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn one_word_for_each_thing() {
    let mut complaints = Vec::new();
    for Source { path, text } in sources() {
        let ours = path.starts_with("hal/src/") || path.starts_with("engine/src/");
        if !ours || WORD_EXEMPT.iter().any(|(exempt, _)| *exempt == path) {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            // The alias under which people search for an unrecovered read error.
            for word in words(&line.replace("Latent sector error", "")) {
                if let Some((_, better)) = BANNED_WORDS.iter().find(|(banned, _)| *banned == word) {
                    complaints.push(format!("{path}:{}: {word}: say {better}", index + 1));
                }
            }
        }
    }
    judge("words", &complaints);
}

#[test]
fn nothing_is_left_for_later() {
    let mut complaints = Vec::new();
    for Source { path, text } in sources() {
        if path == "sim/tests/tidy.rs" {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            for mark in ["TODO", "FIXME", "XXX", "HACK", "WIP"] {
                let found = line.split(|c: char| !c.is_alphanumeric()).any(|word| word == mark);
                if found && !line.contains(&format!("{mark}(#")) {
                    complaints.push(format!("{path}:{}: a bare {mark}", index + 1));
                }
            }
        }
    }
    judge("left for later", &complaints);
}

#[test]
fn decoders_never_unwrap() {
    let mut complaints = Vec::new();
    for Source { path, text } in sources() {
        if !path.starts_with("engine/src/format/") && !path.starts_with("drive/src/wire/") {
            continue;
        }
        for (index, line) in production(&text).lines().enumerate() {
            let calls = [".unwrap()", ".expect(", "panic!(", "unreachable!("];
            if !is_comment(line) && calls.iter().any(|call| line.contains(call)) {
                complaints.push(format!("{path}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    judge("decoders that may panic", &complaints);
}

#[test]
fn lower_crates_forbid_unsafe_and_std() {
    for path in ["hal/src/lib.rs", "engine/src/lib.rs"] {
        let text = fs::read_to_string(root().join(path)).expect("a crate's root");
        assert!(text.contains("no_std"), "{path}: needs no standard library");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{path}: forbids unsafe");
        assert!(!text.contains("extern crate alloc"), "{path}: needs no allocator");
    }
}

#[test]
fn top_level_holds_what_it_may() {
    let mut complaints = Vec::new();
    for entry in fs::read_dir(root()).expect("the top of the tree") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()) {
            complaints.push(format!("{name}: does not belong at the top"));
        }
    }
    judge("top level", &complaints);
}

/// The pieces of a line between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn readme_names_tests_that_exist() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    let (_, faults) = readme.split_once("\n## Faults").expect("a table of faults");
    let (faults, _) = faults.split_once("\n## ").expect("a section after it");
    let mut complaints = Vec::new();
    let mut tests = 0;
    for row in faults.lines().filter(|line| line.starts_with("| ")) {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or(row);
        let mut text = String::new();
        let is_scripts = cell.starts_with("script");
        // Tests stand after their file, scripts before it.
        let file = |name: &str| fs::read_to_string(root().join(name)).unwrap_or_default();
        if is_scripts {
            text = file(quoted(cell).last().unwrap_or_default());
        }
        for name in quoted(cell) {
            let found = match name.ends_with(".rs") {
                true if is_scripts => !text.is_empty(),
                true => {
                    text = file(name);
                    !text.is_empty()
                }
                false if is_scripts => text.contains(&format!("\"{name}\"")),
                false => text.contains(&format!("fn {name}(")),
            };
            tests += 1;
            if !found {
                complaints.push(format!("README.md: `{name}` is not there"));
            }
        }
    }
    assert!(tests > 30, "the table was not read");
    for link in readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        if !link.starts_with("http") && !root().join(link).exists() {
            complaints.push(format!("README.md: a link to {link}, which is not there"));
        }
    }
    judge("what the README names", &complaints);
}
