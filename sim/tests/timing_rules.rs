//! What every time model owes its caller: each request completes once, time goes forward, the same
//! run gives the same times, urgent requests overtake, nothing starves.

use std::collections::BTreeMap;

use crate::load::Random;
use shingle_sim::media::{MediaError, MediaKind, MediaSpec};
use shingle_sim::timing::{Op, Timing, TimingSpec, Work};

const MS: u64 = 1_000_000;

fn media(name: &str) -> MediaSpec {
    MediaSpec::parse(name).unwrap_or_else(|error| panic!("{error}"))
}

fn work(id: u64, op: Op, lba: u64, blocks: u32, class: u8) -> Work {
    Work { id, op, lba, blocks, class, unwritten: false }
}

fn drain(timing: &mut dyn Timing) -> BTreeMap<u64, u64> {
    std::iter::from_fn(|| timing.next_completion()).collect()
}

/// A random mix of everything over a few zones, each written at its pointer.
struct Mix {
    random: Random,
    pointers: Vec<u32>,
}

impl Mix {
    fn next(&mut self, media: &MediaSpec, id: u64) -> Work {
        let index = self.random.below(self.pointers.len() as u64) as usize;
        let zone = media.zone_count as usize - 1 - index;
        let start = zone as u64 * u64::from(media.zone_blocks);
        let class = self.random.below(4) as u8;
        let capacity = media.zone_capacity_blocks;
        let most = media.transfer_blocks_max.min(capacity);
        let blocks = 1 + self.random.below(u64::from(most)) as u32;
        let pointer = &mut self.pointers[index];
        match self.random.below(20) {
            0 => work(id, Op::Sync, 0, 0, class),
            1 => work(id, Op::Control, start, 0, class),
            2 => {
                *pointer = 0;
                work(id, Op::Reset, start, 0, class)
            }
            3 if *pointer > 0 => {
                let lba = start + u64::from(*pointer);
                let left = capacity - *pointer;
                *pointer = capacity;
                work(id, Op::Finish, lba, left, class)
            }
            4..=11 if *pointer < capacity => {
                let blocks = blocks.min(capacity - *pointer);
                let lba = start + u64::from(*pointer);
                *pointer += blocks;
                work(id, Op::Write, lba, blocks, class)
            }
            _ => {
                let blocks = blocks.min(capacity);
                let offset = self.random.below(u64::from(capacity - blocks) + 1);
                let unwritten = offset >= u64::from(*pointer);
                Work { unwritten, ..work(id, Op::Read, start + offset, blocks, class) }
            }
        }
    }
}

/// Plays `count` requests, at most 40 in flight, with pauses; returns every completion in order.
fn play(media: &MediaSpec, seed: u64, count: u64) -> Vec<(u64, u64)> {
    let mut timing = media.timing.build(media);
    let mut mix = Mix { random: Random(seed), pointers: vec![0; 4] };
    let mut trace = Vec::new();
    let mut now_ns = 0;
    let mut flying: BTreeMap<u64, u64> = BTreeMap::new();
    let mut next_id = 0;
    while next_id < count || !flying.is_empty() {
        let burst = mix.random.below(8);
        for _ in 0..burst {
            if next_id < count && flying.len() < 40 {
                timing.submit(now_ns, mix.next(media, next_id));
                flying.insert(next_id, now_ns);
                next_id += 1;
            }
        }
        if mix.random.below(50) == 0 {
            timing = timing.boxed_clone();
        }
        if let Some((id, at_ns)) = timing.next_completion() {
            let since_ns = flying.remove(&id).expect("completes once, and only what was submitted");
            assert!(at_ns >= since_ns && at_ns >= now_ns, "time goes forward");
            now_ns = at_ns;
            trace.push((id, at_ns));
        } else {
            assert!(flying.is_empty(), "{}: {flying:?} never complete", media.name);
            now_ns += mix.random.below(300 * MS);
        }
    }
    trace
}

#[test]
fn mixed_requests_each_complete_once_and_the_same_in_every_run() {
    let names = MediaSpec::names();
    let extra = ["smr-tiny:cache-kib=0", "disk-tiny:cache-kib=0", "zns-tiny:timing=instant"];
    for name in names.into_iter().chain(extra) {
        let media = media(name);
        media.check().unwrap_or_else(|error| panic!("{name}: {error}"));
        for seed in 0..4 {
            let count = if media.zone_count > 10_000 { 400 } else { 1_500 };
            assert_eq!(play(&media, seed, count), play(&media, seed, count), "{name} {seed}");
        }
    }
}

#[test]
fn urgent_read_submitted_later_overtakes_queued_maintenance() {
    for name in ["smr-tiny", "zns-tiny", "nor-tiny"] {
        let media = media(name);
        let mut timing = media.timing.build(&media);
        let blocks = 4;
        fill(&media, &mut *timing, 1);
        let start_ns = 10_000 * MS;
        for id in 0..16 {
            let lba = zone_start(&media, 1) + (id * 29 % 40) % 12;
            timing.submit(start_ns, work(1_000 + id, Op::Read, lba, blocks, 3));
        }
        let (_, first_ns) = timing.next_completion().expect("sixteen are queued");
        timing.submit(first_ns, work(2_000, Op::Read, zone_start(&media, 1) + 4, blocks, 0));
        let order: Vec<u64> =
            std::iter::from_fn(|| timing.next_completion()).map(|c| c.0).collect();
        let place = order.iter().position(|&id| id == 2_000).expect("completes");
        // At most those whose service had begun come before it: one each on two dies, or one.
        assert!(place <= 4, "{name}: {place} of {} came first", order.len());
    }
}

fn zone_start(media: &MediaSpec, zone: u32) -> u64 {
    u64::from(zone) * u64::from(media.zone_blocks)
}

/// Fills a zone, lets the medium come to rest, and forgets what it buffered.
fn fill(media: &MediaSpec, timing: &mut dyn Timing, zone: u32) {
    let mut at = 0;
    while at < media.zone_capacity_blocks {
        let blocks = media.transfer_blocks_max.min(media.zone_capacity_blocks - at);
        let lba = zone_start(media, zone) + u64::from(at);
        timing.submit(0, work(u64::from(at), Op::Write, lba, blocks, 1));
        at += blocks;
    }
    drain(timing);
    timing.submit(5_000 * MS, work(u64::MAX, Op::Sync, 0, 0, 1));
    drain(timing);
    timing.power_cut(9_000 * MS);
}

#[test]
fn idle_class_read_among_urgent_ones_is_served_within_the_age_limit() {
    let media = media("smr-15tb");
    let mut timing = media.timing.build(&media);
    let blocks = u64::from(media.zone_count) * u64::from(media.zone_blocks);
    let mut random = Random(7);
    let mut now_ns = 0;
    for id in 0..8 {
        timing.submit(0, work(id, Op::Read, random.below(blocks), 1, 0));
    }
    timing.submit(0, work(u64::MAX, Op::Read, blocks - 8, 1, 3));
    for id in 8..4_000 {
        let (done, at_ns) = timing.next_completion().expect("nine are in flight");
        if done == u64::MAX {
            assert!(at_ns < 1_600 * MS, "served after {} ms", at_ns / MS);
            return;
        }
        assert!(at_ns >= now_ns);
        now_ns = at_ns;
        timing.submit(now_ns, work(id, Op::Read, random.below(blocks), 1, 0));
    }
    panic!("never served");
}

#[test]
fn cached_write_completes_on_transfer_and_sync_waits_for_the_medium() {
    let media = media("smr-15tb");
    let mut timing = media.timing.build(&media);
    let lba = zone_start(&media, 600);
    timing.submit(0, work(1, Op::Write, lba, 64, 1));
    let (id, written_ns) = timing.next_completion().expect("a write");
    assert_eq!(id, 1);
    assert!(written_ns < MS, "the write took {written_ns} ns");
    timing.submit(written_ns, work(2, Op::Sync, 0, 0, 1));
    let (_, synced_ns) = timing.next_completion().expect("a sync");
    assert!((2 * MS..40 * MS).contains(&(synced_ns - written_ns)), "{synced_ns}");
    timing.submit(synced_ns, work(3, Op::Sync, 0, 0, 1));
    let (_, again_ns) = timing.next_completion().expect("a sync of nothing");
    assert!(again_ns - synced_ns < MS);
}

#[test]
fn append_and_sync_costs_about_a_revolution() {
    let media = media("smr-15tb-swr");
    let mut timing = media.timing.build(&media);
    let mut now_ns = 0;
    let rounds = 200;
    for round in 0..rounds {
        timing.submit(now_ns, work(round, Op::Write, round * 4, 4, 1));
        let (_, at_ns) = timing.next_completion().expect("a write");
        timing.submit(at_ns, work(10_000 + round, Op::Sync, 0, 0, 1));
        now_ns = timing.next_completion().expect("a sync").1;
    }
    let mean_ms = now_ns as f64 / rounds as f64 / MS as f64;
    println!("append and sync: {mean_ms:.2} ms");
    assert!((8.0..9.5).contains(&mean_ms), "{mean_ms} ms");
}

#[test]
fn reads_beside_background_writes_stay_bounded() {
    let media = media("smr-15tb-swr");
    let mut timing = media.timing.build(&media);
    let mut random = Random(9);
    let mut pointer = 0;
    let mut write = |id: u64| {
        pointer += 128;
        work(id, Op::Write, 40_000 * u64::from(media.zone_blocks) + pointer - 128, 128, 2)
    };
    let mut read = |id: u64| work(id, Op::Read, random.below(1 << 30) & !63, 64, 1);
    timing.submit(0, write(0));
    timing.submit(0, write(2));
    timing.submit(0, read(1));
    let (mut read_since_ns, mut worst_ns, mut reads, mut written) = (0, 0, 0_u64, 0_u64);
    let mut now_ns = 0;
    for id in 3.. {
        if now_ns > 30_000 * MS {
            break;
        }
        let (done, at_ns) = timing.next_completion().expect("three are in flight");
        now_ns = at_ns;
        if done % 2 == 1 {
            worst_ns = worst_ns.max(at_ns - read_since_ns);
            read_since_ns = at_ns;
            reads += 1;
            timing.submit(at_ns, read(id * 2 + 1));
        } else {
            written += 1;
            timing.submit(at_ns, write(id * 2));
        }
    }
    println!("beside: {} reads/s, {} MiB/s, worst {} ms", reads / 30, written / 60, worst_ns / MS);
    assert!(reads > 30 * 20, "{reads} reads");
    assert!(written > 30, "{written} writes");
    assert!(worst_ns < 2_000 * MS);
}

#[test]
fn power_cut_forgets_every_request() {
    for name in MediaSpec::names() {
        let media = media(name);
        let mut timing = media.timing.build(&media);
        for id in 0..10 {
            timing.submit(0, work(id, Op::Write, id * 2, 2, 1));
            timing.submit(0, work(100 + id, Op::Read, id * 2, 2, 1));
        }
        timing.next_completion();
        timing.power_cut(50 * MS);
        assert_eq!(timing.next_completion(), None, "{name}");
        timing.submit(60 * MS, work(1, Op::Read, 0, 1, 1));
        assert!(timing.next_completion().is_some_and(|(id, at_ns)| id == 1 && at_ns >= 60 * MS));
    }
}

#[test]
fn instant_completes_in_order_of_submission() {
    let media = media("smr-tiny:timing=instant");
    assert_eq!(media.timing, TimingSpec::Instant);
    let mut timing = media.timing.build(&media);
    timing.submit(5, work(9, Op::Write, 0, 1, 3));
    timing.submit(5, work(3, Op::Read, 0, 1, 0));
    assert_eq!(timing.next_completion(), Some((9, 5)));
    assert_eq!(timing.next_completion(), Some((3, 5)));
    assert_eq!(timing.next_completion(), None);
}

#[test]
fn media_text_overrides_its_base() {
    let given = media("smr:zones=1000,zone-mib=4,block=4096,conventional=8,open=32,active=64");
    assert_eq!(given.kind, MediaKind::Smr);
    assert_eq!((given.zone_count, given.zone_blocks), (1_000, 1_024));
    assert_eq!(given.zone_capacity_blocks, 1_024);
    assert_eq!(given.conventional_zone_count, 8);
    assert_eq!((given.open_zones_max, given.active_zones_max), (Some(32), Some(64)));
    let scaled = media("zns-tiny:zone-kib=512,active=none,name=mine");
    assert_eq!((scaled.zone_capacity_blocks, scaled.zone_blocks), (96, 128));
    assert_eq!((scaled.active_zones_max, scaled.name.as_str()), (None, "mine"));
    assert_eq!(media("smr-15tb:zones=5588").conventional_zone_count, 52);
}

#[test]
fn media_text_that_names_no_drive_says_why_in_one_sentence() {
    let said = |text: &str| MediaSpec::parse(text).expect_err(text).to_string();
    assert!(said("flop").starts_with("unknown media `flop`; known are smr-14tb, "));
    assert!(said("smr:colour=red").starts_with("unknown media setting `colour`; known are "));
    assert_eq!(said("smr:zones=many"), "media setting `zones` cannot be `many`");
    assert_eq!(said("smr:zones="), "media setting `zones` cannot be ``");
    assert!(said("smr:block=3000").contains("`block` cannot be `3000`"));
    assert!(said("smr:zones=5000000000").contains("`zones`"));
    assert!(said("zns-tiny:open=13").contains("the open limit must not exceed the active limit"));
    assert!(said("zns-tiny:capacity-kib=512").contains("capacity must not exceed"));
    assert!(said("smr-tiny:zone-kib=3").contains("no multiple of the block"));
    assert!(said("nor-tiny:rpm=7200").contains("`rpm`"));
    let rule = MediaSpec::parse("smr-tiny:zones=2").expect_err("too few");
    assert_eq!(rule, MediaError::Rule("there must be at least 4 zones"));
}

#[test]
fn media_rates_fall_inwards_by_half_and_have_a_mean_between() {
    let media = media("smr-15tb");
    let rate = |zone| media.sequential_rate_bytes_per_s(zone).expect("a disk");
    let (outer, inner) = (rate(0), rate(media.zone_count - 1));
    assert!((1.95..2.05).contains(&(outer / inner)), "{outer} {inner}");
    let mean = media.drive_rate_bytes_per_s().expect("a disk");
    assert!(mean > inner && mean < outer);
    // Harmonic over capacity: the outer tracks hold more, so the mean is above the middle radius.
    assert!((mean / outer - 0.75).abs() < 0.02, "{}", mean / outer);
    assert_eq!(media.mean_rate_bytes_per_s(5..5), None);
}
