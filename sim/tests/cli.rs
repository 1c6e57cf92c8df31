//! The `shingle` command from outside: its subcommands compose, and bad input gets one sentence, an
//! exit code, and loses nothing.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use shingle_sim::Image;
use tempfile::TempDir;

/// Runs the command in `dir`.
pub(crate) fn shingle(dir: &Path, args: &[&str]) -> Output {
    shingle_with(dir, args, b"")
}

/// Runs the command in `dir` with something on standard input.
fn shingle_with(dir: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_shingle"))
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses early does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Runs the command, which must succeed; gives what it wrote.
pub(crate) fn ok(dir: &Path, args: &[&str]) -> Vec<u8> {
    let output = shingle(dir, args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {error}");
    output.stdout
}

pub(crate) fn json(dir: &Path, args: &[&str]) -> serde_json::Value {
    serde_json::from_slice(&ok(dir, args)).unwrap()
}

/// Runs the command, which must refuse with `code` and one sentence that holds `part`.
#[track_caller]
pub(crate) fn refused(dir: &Path, args: &[&str], code: i32, part: &str) {
    let output = shingle(dir, args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    assert!(error.contains(part), "{args:?}: {error}");
    assert!(!error.contains("panicked"), "{args:?}: {error}");
    if code == 1 {
        assert_eq!(error.trim_end().lines().count(), 1, "{args:?}: {error}");
    }
}

/// A folder with a formatted image `d.img` in it.
fn formatted(media: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    ok(dir.path(), &["format", "d.img", "--media", media, "--seed", "1"]);
    dir
}

#[test]
fn put_get_delete_compose_over_invocations() {
    for media in ["smr-tiny", "disk-tiny", "zns-tiny", "nor-1m"] {
        let dir = formatted(media);
        let dir = dir.path();
        let value: Vec<u8> = (0..5000_u32).map(|i| ((i * i) >> 3) as u8).collect();
        fs::write(dir.join("in"), &value).unwrap();
        ok(dir, &["put", "d.img", "greeting", "hello"]);
        ok(dir, &["put", "d.img", "file", "--file", "in"]);
        let piped = shingle_with(dir, &["put", "d.img", "piped", "-"], &value);
        assert!(piped.status.success(), "{media}");
        assert_eq!(ok(dir, &["get", "d.img", "greeting"]), b"hello");
        assert_eq!(ok(dir, &["get", "d.img", "file"]), value);
        assert_eq!(
            ok(dir, &["get", "d.img", "piped", "--offset", "100", "--len", "7"]),
            value[100..107]
        );
        ok(dir, &["get", "d.img", "piped", "--file", "out"]);
        assert_eq!(fs::read(dir.join("out")).unwrap(), value);
        ok(dir, &["delete", "d.img", "piped"]);
        refused(dir, &["get", "d.img", "piped"], 1, "absent");
        refused(dir, &["delete", "d.img", "piped"], 1, "absent");
        ok(dir, &["delete", "d.img", "--prefix", "f"]);
        refused(dir, &["get", "d.img", "file"], 1, "absent");
        assert_eq!(ok(dir, &["get", "d.img", "greeting"]), b"hello");
    }
}

#[test]
fn conditions_hold_or_refuse() {
    let dir = formatted("smr-tiny");
    let dir = dir.path();
    ok(dir, &["put", "d.img", "k", "one", "--tag", "1", "--meta", "note", "--if-absent"]);
    refused(dir, &["put", "d.img", "k", "two", "--if-absent"], 1, "condition");
    refused(dir, &["put", "d.img", "k", "two", "--if-tag", "9"], 1, "condition");
    ok(dir, &["put", "d.img", "k", "two", "--tag", "2", "--if-tag", "1"]);
    assert_eq!(ok(dir, &["get", "d.img", "k"]), b"two");
    let meta = json(dir, &["get", "d.img", "k", "--meta", "--json"]);
    assert_eq!(meta["tag"], "2");
    assert_eq!(meta["value_len"], 3);
}

#[test]
fn stat_zones_and_media_speak_json() {
    let dir = formatted("smr-tiny");
    let dir = dir.path();
    let stat = json(dir, &["stat", "d.img", "--json"]);
    assert_eq!(stat["zone_count"], 96);
    let zones = json(dir, &["zones", "d.img", "--json", "--svg", "z.svg"]);
    assert_eq!(zones.as_array().unwrap().len(), 96);
    assert!(fs::read_to_string(dir.join("z.svg")).unwrap().ends_with("</svg>\n"));
    let media = json(dir, &["media", "--json"]);
    assert!(media.as_array().unwrap().iter().any(|one| one["name"] == "smr-14tb"));
    let one = json(dir, &["media", "smr:zones=1000,zone-mib=4", "--json"]);
    assert_eq!(one["zone_count"], 1000);
    for command in ["stat", "zones"] {
        assert!(!ok(dir, &[command, "d.img"]).is_empty());
    }
}

#[test]
fn every_command_explains_itself_with_examples() {
    let dir = tempfile::tempdir().unwrap();
    let commands = [
        "demo", "format", "put", "get", "delete", "scan", "import", "export", "stat", "zones",
        "check", "torture", "media",
    ];
    for command in commands {
        let help = String::from_utf8(ok(dir.path(), &[command, "--help"])).unwrap();
        assert!(help.contains("Examples:"), "{command}");
    }
}

#[test]
fn image_that_is_none_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("text"), "not an image").unwrap();
    fs::write(dir.join("empty"), "").unwrap();
    fs::create_dir(dir.join("folder")).unwrap();
    for command in ["get", "put"] {
        refused(dir, &[command, "absent.img", "k"], 1, "there is no image");
        refused(dir, &[command, "text", "k"], 1, "not an image");
        refused(dir, &[command, "empty", "k"], 1, "not an image");
        refused(dir, &[command, "folder", "k"], 1, "directory");
    }
    refused(dir, &["format", "folder"], 1, "directory");
    refused(dir, &["format", "text"], 1, "exists already");
    refused(dir, &["format", "text", "--force"], 1, "not an image");
    refused(dir, &["format", "no/such/d.img"], 1, "cannot be used");
    assert_eq!(fs::read_to_string(dir.join("text")).unwrap(), "not an image");
    assert!(!dir.join("absent.img").exists());
}

#[test]
fn damaged_or_truncated_image_is_refused() {
    let dir = formatted("smr-tiny");
    let dir = dir.path();
    let file = fs::OpenOptions::new().write(true).open(dir.join("d.img")).unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(len - 1).unwrap();
    refused(dir, &["stat", "d.img"], 1, "truncated");
    file.set_len(len).unwrap();
    ok(dir, &["stat", "d.img"]);
}

#[test]
fn drive_that_cannot_hold_a_store_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    refused(
        dir,
        &["format", "d.img", "--media", "smr-tiny:zones=8,conventional=0"],
        1,
        "too small",
    );
    refused(dir, &["format", "d.img", "--media", "nope"], 2, "unknown media");
    refused(dir, &["format", "d.img", "--media", "smr:zons=3"], 2, "unknown media setting");
    refused(dir, &["format", "d.img", "--media", "smr-tiny", "--memory", "16K"], 1, "memory");
    refused(dir, &["format", "d.img", "--memory", "much"], 2, "not a size");
    refused(dir, &["format", "d.img", "--media", "smr-tiny", "--key-max", "0"], 1, "key");
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
}

#[test]
fn two_copies_on_one_storage_element_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for option in ["--mirror", "--mirror-log"] {
        refused(dir.path(), &["format", "f.img", "--media", "nor-1m", option], 1, "one storage");
    }
    assert!(!dir.path().join("f.img").exists());
}

#[test]
fn commands_of_care_speak_json_and_refuse_what_is_not_there() {
    let dir = formatted("smr-tiny");
    let dir = dir.path();
    ok(dir, &["put", "d.img", "k", "v"]);
    for command in ["scrub", "doctor", "check"] {
        json(dir, &[command, "d.img", "--json"]);
    }
    ok(dir, &["evacuate", "d.img", "--zone", "20"]);
    refused(dir, &["evacuate", "d.img", "--zone", "5000"], 1, "zone");
    refused(dir, &["evacuate", "d.img", "--element", "99"], 1, "element");
    refused(dir, &["doctor", "d.img", "--faults", "nonsense"], 2, "nonsense");
    assert_eq!(ok(dir, &["scan", "d.img", "--lost"]), b"");
    assert_eq!(ok(dir, &["get", "d.img", "k"]), b"v");
}

#[test]
fn too_little_memory_is_refused_and_loses_nothing() {
    let dir = formatted("smr-tiny");
    let dir = dir.path();
    ok(dir, &["put", "d.img", "k", "v"]);
    refused(dir, &["get", "d.img", "k", "--memory", "4K"], 1, "--memory");
    refused(dir, &["put", "d.img", "k", "w", "--memory", "4K"], 1, "--memory");
    assert_eq!(ok(dir, &["get", "d.img", "k"]), b"v");
}

#[test]
fn key_or_value_of_a_wrong_length_is_refused_and_loses_nothing() {
    let dir = formatted("nor-1m");
    let dir = dir.path();
    ok(dir, &["put", "d.img", "k", "v"]);
    let long = "k".repeat(65);
    refused(dir, &["put", "d.img", &long, "v"], 1, "too long");
    refused(dir, &["get", "d.img", &long], 1, "too long");
    refused(dir, &["put", "d.img", "", "v"], 1, "empty");
    fs::write(dir.join("big"), vec![0; 17 << 10]).unwrap();
    refused(dir, &["put", "d.img", "big", "--file", "big"], 1, "too long");
    refused(dir, &["put", "d.img", "m", "v", "--meta", &"m".repeat(33)], 1, "metadata");
    refused(dir, &["put", "d.img", "bad\\q", "v"], 2, "not a key");
    assert_eq!(ok(dir, &["get", "d.img", "k"]), b"v");
}

#[test]
fn directory_in_place_of_a_file_is_refused() {
    let dir = formatted("smr-tiny");
    let dir = dir.path();
    fs::create_dir(dir.join("folder")).unwrap();
    ok(dir, &["put", "d.img", "k", "v"]);
    refused(dir, &["put", "d.img", "k", "--file", "folder"], 1, "directory");
    refused(dir, &["put", "d.img", "k", "--file", "absent"], 1, "cannot be used");
    refused(dir, &["get", "d.img", "k", "--file", "folder"], 1, "directory");
    refused(dir, &["import", "d.img", "d.img"], 1, "not a directory");
    refused(dir, &["import", "d.img", "absent"], 1, "cannot be used");
    refused(dir, &["export", "d.img", "d.img"], 1, "not a directory");
    assert_eq!(ok(dir, &["get", "d.img", "k"]), b"v");
}

#[test]
fn full_store_keeps_what_it_has_and_takes_deletes() {
    let dir = formatted("nor-1m");
    let dir = dir.path();
    let tree = dir.join("tree");
    fs::create_dir(&tree).unwrap();
    for number in 0..120_u8 {
        fs::write(tree.join(format!("f{number:03}")), vec![number; 15_000]).unwrap();
    }
    refused(dir, &["import", "d.img", "tree"], 1, "full");
    assert_eq!(ok(dir, &["get", "d.img", "f000"]), vec![0; 15_000]);
    assert_eq!(ok(dir, &["get", "d.img", "f020"]), vec![20; 15_000]);
    ok(dir, &["delete", "d.img", "--prefix", "f0"]);
    ok(dir, &["put", "d.img", "k", "v"]);
    assert_eq!(ok(dir, &["get", "d.img", "k"]), b"v");
}

#[test]
fn reader_that_goes_away_is_one_sentence() {
    let dir = formatted("smr-tiny");
    let dir = dir.path();
    fs::write(dir.join("big"), vec![7; 2 << 20]).unwrap();
    ok(dir, &["put", "d.img", "big", "--file", "big"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_shingle"))
        .args(["get", "d.img", "big"])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("went away"), "{error}");
    assert_eq!(ok(dir, &["get", "d.img", "big"]).len(), 2 << 20);
}

#[test]
fn image_in_use_by_another_process_is_refused() {
    let dir = formatted("smr-tiny");
    let dir = dir.path();
    ok(dir, &["put", "d.img", "k", "v"]);
    let holder = Image::open(&dir.join("d.img")).unwrap();
    for args in
        [&["get", "d.img", "k"][..], &["put", "d.img", "k", "w"], &["format", "d.img", "--force"]]
    {
        refused(dir, args, 1, "in use by another process");
    }
    drop(holder);
    assert_eq!(ok(dir, &["get", "d.img", "k"]), b"v");
}

#[test]
fn wrong_usage_ends_with_code_two() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    refused(dir, &["frobnicate"], 2, "unrecognized");
    refused(dir, &["put"], 2, "required");
    refused(dir, &["delete", "d.img"], 2, "required");
    refused(dir, &["torture", "--seeds", "5"], 2, "range of seeds");
    refused(dir, &["media", "nope"], 2, "unknown media");
}

#[test]
fn torture_runs_seeds_and_scripts() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let report = json(dir, &["torture", "--seeds", "0..3", "--ops", "60", "--jobs", "2", "--json"]);
    assert_eq!(report["seeds_passed"], 3);
    assert!(report["power_cuts"].as_u64().unwrap() > 0);
    let calm = ["torture", "--media", "nor-1m", "--seed", "0x7", "--ops", "60", "--no-cuts"];
    let report = json(dir, &[&calm[..], &["--writers", "2", "--json"]].concat());
    assert_eq!((&report["seeds_passed"], &report["power_cuts"]), (&1.into(), &0.into()));
    let script = ["torture", "--script", "put", "--cut", "5", "--outcome", "1"];
    assert!(String::from_utf8(ok(dir, &script)).unwrap().contains("passed"));
    refused(dir, &["torture", "--script", "nope"], 2, "there is no script");
    refused(dir, &["torture", "--cut", "5"], 2, "--script");
}

#[test]
fn torture_tries_fuzz_inputs_by_seed_and_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let decode = ["torture", "--fuzz", "decode"];
    let report = json(dir, &[&decode[..], &["--seeds", "0..50", "--json", "--jobs", "2"]].concat());
    assert_eq!((&report["target"], &report["inputs"]), (&"decode".into(), &50.into()));
    ok(dir, &[&decode[..], &["--seeds", "0..3", "--corpus", "seeds"]].concat());
    assert!(dir.join("seeds/seed-2").exists());
    let replayed = ok(dir, &[&decode[..], &["--bytes", "seeds/seed-2"]].concat());
    assert!(String::from_utf8(replayed).unwrap().contains("passed"));
    refused(dir, &["torture", "--fuzz", "nope"], 2, "there is no fuzz target");
    refused(dir, &["torture", "--fuzz", "decode", "--bytes", "nope"], 1, "nope cannot be used");
    refused(dir, &["torture", "--bytes", "seeds/seed-2"], 2, "--fuzz");
}

#[test]
fn torture_failure_prints_the_command_that_replays_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // No store opens in so little memory: every seed fails, and for the same reason again.
    let first = shingle(
        dir,
        &["torture", "--seed", "3", "--ops", "50", "--memory", "1K", "--full", "30", "--no-cuts"],
    );
    assert_eq!(first.status.code(), Some(1));
    let text = String::from_utf8(first.stderr).unwrap();
    let line = text.lines().next().unwrap();
    let args: Vec<&str> = line.strip_prefix("shingle ").expect(line).split(' ').collect();
    let again = shingle(dir, &args);
    assert_eq!(again.status.code(), Some(1), "{line}");
    assert_eq!(String::from_utf8(again.stderr).unwrap(), text, "{line}");
}

#[test]
fn demonstration_survives_on_a_small_drive() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let tree = dir.join("tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    for number in 0..60_u32 {
        let bytes: Vec<u8> = (0..number * 97).map(|i| (i * 31 + number) as u8).collect();
        fs::write(tree.join("sub").join(format!("{number}")), bytes).unwrap();
    }
    let args = [
        "demo",
        "--tree",
        "tree",
        "--media",
        "smr-demo:zones=200,zone-mib=1",
        "--cuts",
        "30",
        "--json",
        "r.json",
        "--svg",
        "z.svg",
    ];
    ok(dir, &args);
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("r.json")).unwrap()).unwrap();
    assert_eq!(report["lost"], 0);
    assert_eq!(report["files"], 60);
    assert!(report["cuts"].as_u64().unwrap() >= 30);
    assert!(report["reclaims"].as_u64().unwrap() > 0);
    assert!(report["merges"].as_u64().unwrap() > 0);
}

mod ordered {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn scan_lists_ranges_in_both_directions() {
        let dir = formatted("smr-tiny");
        let dir = dir.path();
        for key in ["a", "b/1", "b/2", "c", "\\xff\\x00"] {
            ok(dir, &["put", "d.img", key, key]);
        }
        let lines = |args: &[&str]| {
            let text = String::from_utf8(ok(dir, args)).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(&["scan", "d.img"]), ["a", "b/1", "b/2", "c", "\\xff\\x00"]);
        assert_eq!(lines(&["scan", "d.img", "--reverse", "--limit", "2"]), ["\\xff\\x00", "c"]);
        assert_eq!(lines(&["scan", "d.img", "--prefix", "b/"]), ["b/1", "b/2"]);
        assert_eq!(lines(&["scan", "d.img", "--start", "b", "--end", "c"]), ["b/1", "b/2"]);
        assert_eq!(lines(&["scan", "d.img", "--count"]), ["5"]);
        let first = &lines(&["scan", "d.img", "--json"])[0];
        let first: serde_json::Value = serde_json::from_str(first).unwrap();
        assert_eq!(first["key"], "a");
        assert_eq!(first["value_len"], 1);
    }

    #[test]
    fn tree_comes_back_as_it_went_in() {
        for media in ["smr-tiny", "disk-tiny", "zns-tiny"] {
            let dir = formatted(media);
            let dir = dir.path();
            let tree = dir.join("tree");
            fs::create_dir_all(tree.join("a/b")).unwrap();
            for number in 0..40_usize {
                let bytes: Vec<u8> =
                    (0..number * number * 20).map(|i| (i * 7 + number) as u8).collect();
                fs::write(tree.join("a/b").join(format!("f{number}")), bytes).unwrap();
            }
            let imported = json(dir, &["import", "d.img", "tree", "--prefix", "p/", "--json"]);
            assert_eq!(imported["files"], 40);
            let exported = json(dir, &["export", "d.img", "out", "--prefix", "p/", "--json"]);
            assert_eq!(exported["files"], 40);
            for number in 0..40 {
                let name = format!("a/b/f{number}");
                let (one, other) = (tree.join(&name), dir.join("out").join(&name));
                assert_eq!(fs::read(&one).unwrap(), fs::read(&other).unwrap());
                let changed = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
                assert_eq!(changed(&one), changed(&other));
            }
            refused_lines(
                dir,
                &["export", "d.img", "out", "--prefix", "p/"],
                "could not be exported",
            );
            ok(dir, &["export", "d.img", "out", "--prefix", "p/", "--force"]);
            let check = json(dir, &["check", "d.img", "--json"]);
            assert_eq!(check["sound"], true);
            assert_eq!(check["keys"], 40);
        }
    }

    #[test]
    fn key_that_leads_out_of_the_directory_is_refused() {
        let dir = formatted("smr-tiny");
        let dir = dir.path();
        for key in ["../out", "/abs", "good", "a//..", "x/"] {
            ok(dir, &["put", "d.img", key, "v"]);
        }
        refused_lines(dir, &["export", "d.img", "to"], "4 keys could not be exported");
        assert_eq!(fs::read(dir.join("to/good")).unwrap(), b"v");
        assert!(!dir.join("out").exists());
    }

    #[test]
    fn check_names_the_value_that_is_damaged() {
        let dir = formatted("smr-tiny");
        let dir = dir.path();
        let value = b"needle in the image ".repeat(1000);
        fs::write(dir.join("in"), &value).unwrap();
        ok(dir, &["put", "d.img", "good", "fine"]);
        ok(dir, &["put", "d.img", "bad", "--file", "in"]);
        ok(dir, &["check", "d.img"]);
        let image = fs::File::options().read(true).write(true).open(dir.join("d.img")).unwrap();
        let mut bytes = vec![0; 26 << 20];
        image.read_exact_at(&mut bytes, 0).unwrap();
        let at = bytes.windows(20).position(|part| part == &value[..20]).unwrap() + 9000;
        image.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
        drop(image);
        let output = shingle(dir, &["check", "d.img"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1));
        assert!(text.contains("value: bad") && text.contains("damaged value"), "{text}");
        assert_eq!(ok(dir, &["get", "d.img", "good"]), b"fine");
        refused(dir, &["get", "d.img", "bad"], 1, "damaged");
    }

    /// Like [`refused`], for a command that names several things first.
    fn refused_lines(dir: &Path, args: &[&str], part: &str) {
        let output = shingle(dir, args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn every_key_survives_as_text() {
    let dir = formatted("smr-tiny");
    let dir = dir.path();
    let keys = ["\\x00\\x01\\xffa", "\\xc3(", "back\\\\slash", "grün", "plain"];
    for key in keys {
        ok(dir, &["put", "d.img", key, key]);
    }
    let listed = String::from_utf8(ok(dir, &["scan", "d.img"])).unwrap();
    let mut listed: Vec<&str> = listed.lines().collect();
    for shown in &listed {
        assert_eq!(ok(dir, &["get", "d.img", shown]), shown.as_bytes());
    }
    listed.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(listed, keys);
    refused(dir, &["get", "d.img", "a\\q"], 2, "a\\q");
    refused(dir, &["get", "d.img", "a\\x4"], 2, "a\\x4");
}

#[test]
fn prefix_takes_every_key_that_begins_with_it_and_no_other() {
    let dir = formatted("smr-tiny");
    let dir = dir.path();
    for key in ["a", "a\\xff", "a\\xff\\xffz", "ab", "b", "\\xff", "\\xff\\xff"] {
        ok(dir, &["put", "d.img", key, "x"]);
    }
    let of = |prefix: &str| {
        let listed = ok(dir, &["scan", "d.img", "--prefix", prefix]);
        String::from_utf8(listed).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of("a"), ["a", "ab", "a\\xff", "a\\xff\\xffz"]);
    assert_eq!(of("a\\xff"), ["a\\xff", "a\\xff\\xffz"]);
    assert_eq!(of("\\xff"), ["\\xff", "\\xff\\xff"]);
}

#[test]
fn sizes_are_read_with_and_without_units() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let longest = |text: &str| {
        ok(dir, &["format", "d.img", "--media", "smr-tiny", "--force", "--value-max", text]);
        json(dir, &["stat", "d.img", "--json"])["value_len_max"].as_u64().unwrap()
    };
    ok(dir, &["format", "d.img", "--media", "smr-tiny"]);
    assert_eq!(["8192", "64K", "1MiB", "1.5k"].map(longest), [8192, 65_536, 1 << 20, 1536]);
    for text in ["", "x", "-1", "1x", "9999999T"] {
        let given = format!("--value-max={text}");
        refused(dir, &["format", "d.img", "--force", &given], 2, "--value-max");
    }
    let shown = String::from_utf8(ok(dir, &["stat", "d.img"])).unwrap();
    assert!(shown.lines().any(|line| line.contains("longest value") && line.ends_with("1.5 KiB")));
}
