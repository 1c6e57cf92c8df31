//! The README's table "fault × structure × outcome × test" is what is observed.
//!
//! `SHINGLE_BLESS=1` writes it anew; `SHINGLE_CELL="bit-rot manifest"` runs one cell and says what
//! it saw; `SHINGLE_SEEDS=100` goes through more variants of everything, without the table.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use shingle_sim::fault::{FaultKind, Structure};
use shingle_sim::harness::campaign::setting;
use shingle_sim::harness::fault_matrix::{Base, Verdict, base, run};

/// A run is armed early or late, what is hit stays bad or not, and power fails at once or later.
const SEEDS: u64 = 4;
const THREADS: u64 = 2;
const BEGIN: &str = "<!-- what follows is written by sim/tests/fault_matrix.rs -->\n";
const END: &str = "<!-- end -->\n";

/// The columns, as they are called in the table and in plans of faults.
const STRUCTURES: [(Structure, &str, &str); 6] = [
    (Structure::Superblock, "superblock", "superblock"),
    (Structure::Manifest, "manifest", "manifest"),
    (Structure::RunIndex, "run: index", "run-index"),
    (Structure::RunData, "run: keys", "run-data"),
    (Structure::LogRecord, "log record", "log-record"),
    (Structure::Value, "value", "value"),
];

/// The rows, as they are called in the table, and the test that goes into each.
const ROWS: [(FaultKind, &str, &str); 20] = {
    use FaultKind as K;
    const WITHIN: &str = "`sim/tests/faulted.rs`: \
         `faults_within_the_budget_lose_nothing_but_values_that_are_gone`";
    const BEYOND: &str = "`sim/tests/faulted.rs`: `faults_beyond_the_budget_never_give_wrong_data`";
    [
        (
            K::ReadError,
            "unrecovered read",
            "`sim/tests/parts.rs`: \
                `node_that_one_copy_cannot_give_comes_from_the_other_and_is_rebuilt`, \
                `bad_block_in_a_value_costs_that_value_also_after_its_zone_was_emptied`, \
                `bad_block_in_the_log_costs_the_records_in_it`",
        ),
        (
            K::SlowRead,
            "read with effort",
            "`sim/tests/effort.rs`: `zone_that_is_read_with_effort_is_written_anew`",
        ),
        (
            K::WriteError,
            "write fault",
            "`sim/tests/parts.rs`: `write_fault_in_any_zone_goes_on_elsewhere`",
        ),
        (K::TornWrite, "torn write", BEYOND),
        (
            K::LostWrite,
            "lost write",
            "`sim/tests/doctor.rs`: `lost_and_misdirected_writes_are_told_apart`",
        ),
        (
            K::MisdirectedWrite,
            "misdirected write",
            "`sim/tests/doctor.rs`: `lost_and_misdirected_writes_are_told_apart`",
        ),
        (K::BitRot, "bit rot", "`sim/tests/cli.rs`: `check_names_the_value_that_is_damaged`"),
        (K::StaleRead, "stale read", BEYOND),
        (
            K::ZoneReadOnly,
            "zone read only",
            "`sim/tests/parts.rs`: `zones_that_turn_read_only_are_emptied_and_not_used_again`",
        ),
        (
            K::ZoneOffline,
            "zone offline",
            "`sim/tests/faulted.rs`: `faults_of_one_element_take_its_large_values_alone`",
        ),
        (
            K::ElementLost,
            "element lost",
            "`sim/tests/parts.rs`: `element_that_dies_under_load_takes_its_large_values_alone`; \
                `sim/tests/head_loss.rs`: \
                `head_that_dies_under_load_takes_its_values_alone_and_they_are_named`",
        ),
        (
            K::ElementSlow,
            "element slow",
            "`sim/tests/effort.rs`: `slow_element_is_not_written_anew`",
        ),
        (K::TransientError, "transient error", WITHIN),
        (K::Timeout, "timeout", WITHIN),
        (K::PointerAfterPower, "garbage behind the write pointer after power", WITHIN),
        (K::PointerAfterReset, "garbage after a reset", WITHIN),
        (K::SyncError, "failed sync", WITHIN),
        (K::SyncLie, "lying sync", BEYOND),
        (K::CapacityShrink, "shrunk capacity", WITHIN),
        (
            K::PowerCut,
            "power cut",
            "`sim/tests/exhaustive.rs`: `exhaustive_every_cut_keeps_a_prefix_of_commits`",
        ),
    ]
};

fn readme() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

fn bases(seeds: impl Iterator<Item = u64>) -> Vec<Base> {
    seeds.map(|seed| base(seed).unwrap_or_else(|what| panic!("seed {seed}: {what}"))).collect()
}

/// The worst that the variants saw, and how often the fault struck.
fn observe(bases: &[Base], kind: FaultKind, structure: Structure) -> (Verdict, u64) {
    let mut worst = (Verdict::Unharmed, 0);
    for base in bases {
        let seen = run(base, kind, structure)
            .unwrap_or_else(|what| panic!("{kind} of {structure:?}, seed {}: {what}", base.seed()));
        worst = (worst.0.max(seen.verdict()), worst.1 + seen.strikes);
    }
    worst
}

/// Every cell, by seeds in threads.
fn observe_all(seeds: u64) -> Vec<Vec<(Verdict, u64)>> {
    let one = |thread: u64| {
        let bases = bases((0..seeds).filter(|seed| seed % THREADS == thread));
        let row = |kind| STRUCTURES.map(|(structure, ..)| observe(&bases, kind, structure));
        ROWS.map(|(kind, ..)| row(kind))
    };
    let tables = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|t| scope.spawn(move || one(t))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    let cell = |row: usize, column: usize| {
        tables
            .iter()
            .map(|table| table[row][column])
            .fold((Verdict::Unharmed, 0), |all, one| (all.0.max(one.0), all.1 + one.1))
    };
    (0..ROWS.len()).map(|row| (0..STRUCTURES.len()).map(|c| cell(row, c)).collect()).collect()
}

/// What a fault may cost at most, on a store that keeps its runs twice.
fn worst(kind: FaultKind, structure: Structure) -> Verdict {
    match structure {
        // Whoever trusts a sync that lies has nothing to compare it with.
        _ if kind == FaultKind::SyncLie => Verdict::Older,
        // The end of the log has one copy, and a tear is what it looks like.
        Structure::LogRecord | Structure::Value => Verdict::LastLost,
        // What lies on the element of that copy, or where the bytes of that write went.
        _ if matches!(kind, FaultKind::ElementLost | FaultKind::MisdirectedWrite) => {
            Verdict::RecordsLost
        }
        _ => Verdict::OpenFails,
    }
}

fn print(table: &[Vec<(Verdict, u64)>]) -> String {
    let mut text = String::from("\n| fault |");
    for (_, column, _) in STRUCTURES {
        let _ = write!(text, " {column} |");
    }
    text.push_str(" test |\n|---|");
    text.push_str(&"---|".repeat(STRUCTURES.len() + 1));
    for ((_, row, test), cells) in ROWS.iter().zip(table) {
        let _ = write!(text, "\n| {row} |");
        for (verdict, _) in cells {
            let _ = write!(text, " {verdict} |");
        }
        let _ = write!(text, " {test} |");
    }
    text.push_str("\n\n");
    text
}

/// One cell, in words.
fn one_cell(text: &str, seeds: u64) {
    let mut words = text.split(' ');
    let (row, column) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let kind = FaultKind::all().find(|kind| kind.word() == row).expect("a kind of fault");
    let structure = STRUCTURES.iter().find(|(.., word)| *word == column).expect("a structure");
    for base in bases(0..seeds) {
        println!("seed {}: {:?}", base.seed(), run(&base, kind, structure.0));
    }
}

/// `SHINGLE_BUG=TwinNeverRead` shows what the table makes of a planted bug.
#[cfg(feature = "canary")]
fn plant_from_environment() {
    use shingle_engine::canary::{Bug, plant};
    if let Ok(name) = env::var("SHINGLE_BUG") {
        let bug = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
        plant(Some(bug.expect("a bug that can be planted")));
    }
}

#[cfg(not(feature = "canary"))]
const fn plant_from_environment() {}

#[test]
fn every_fault_of_every_structure_ends_as_the_readme_says() {
    let seeds = setting("SHINGLE_SEEDS", SEEDS);
    if let Ok(text) = env::var("SHINGLE_CELL") {
        return one_cell(&text, seeds);
    }
    plant_from_environment();
    let table = observe_all(seeds);
    let printed = print(&table);
    println!("{printed}");
    for ((kind, ..), cells) in ROWS.iter().zip(&table) {
        for ((structure, ..), (verdict, strikes)) in STRUCTURES.iter().zip(cells) {
            assert!(*strikes > 0, "{kind} never struck {structure:?}");
            let most = worst(*kind, *structure);
            assert!(*verdict <= most, "{kind} of {structure:?} costs more than it may: {verdict}");
        }
    }
    if seeds != SEEDS {
        return;
    }
    let text = fs::read_to_string(readme()).expect("a README");
    let (before, rest) = text.split_once(BEGIN).expect("the table begins");
    let (written, after) = rest.split_once(END).expect("the table ends");
    if env::var_os("SHINGLE_BLESS").is_some() {
        let text = format!("{before}{BEGIN}{printed}{END}{after}");
        fs::write(readme(), text).expect("a README");
    } else {
        assert!(written == printed, "the table in README.md should read:\n{printed}");
    }
}

#[test]
fn rows_are_all_kinds_of_faults_in_their_order() {
    let rows = ROWS.map(|(kind, ..)| kind);
    assert!(FaultKind::all().eq(rows));
}
