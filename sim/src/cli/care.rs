//! `shingle scrub`, `evacuate` and `doctor`: care for the drive under a store.

use serde_json::{Value, json};
use shingle_engine::{Finding, Remedy};
use shingle_hal::{Device, ElementId, ZoneId};
use shingle_sim::FaultPlan;
use shingle_sim::doctor::{Cause, Diagnosis, diagnose};

use super::args::{DoctorArgs, EvacuateArgs, ScrubArgs};
use super::medium::Medium;
use super::session::Session;
use super::{Failure, Output, Shop, finding, key, size};

/// Bytes of scrub between two looks at what is to be mended, or between two pauses.
const BURST_LEN: u64 = 8 << 20;
/// Findings that are printed; more are only counted.
const FINDINGS_MAX: usize = 1000;
/// Steps of maintenance at once, and calls after which something must be wrong.
const STEPS: u32 = 1000;
const CALLS_MAX: u32 = 10_000;

pub(super) fn scrub(args: &ScrubArgs) -> Result<(), Failure> {
    let mut session = Session::open(&args.place)?;
    set_faults(&session, args.faults.as_deref())?;
    let mut found: Vec<Finding> = Vec::new();
    let (stats, seconds) = session.write(async |store: &Shop<'_, '_>| {
        let medium = *store.device();
        let begun = medium.now_ns();
        // A pass of what there is takes that long: each burst begins when its turn comes.
        let pause_ns = args.pass_hours.map(|hours| {
            let bursts = (store.scrub_len_bytes() / BURST_LEN).max(1);
            (hours * 3600.0 * 1e9 / bursts as f64) as u64
        });
        let mut next = begun;
        loop {
            let progress = store.scrub_each(BURST_LEN, &mut |one| found.push(*one)).await?;
            if progress.ended {
                break;
            }
            if let Some(pause_ns) = pause_ns {
                next += pause_ns;
                medium.sleep_until(next.max(medium.now_ns() + 1)).await;
            }
        }
        settle(store).await?;
        Ok((store.stats().scrub, (medium.now_ns() - begun) / 1_000_000_000))
    })?;
    let mut out = Output::new();
    let lost = found.iter().filter(|one| one.remedy == Remedy::None).count();
    if args.json {
        let found: Vec<Value> = found.iter().take(FINDINGS_MAX).map(finding::document).collect();
        out.document(&json!({
            "image": args.place.image.display().to_string(),
            "blocks": stats.blocks,
            "found_count": stats.found_total(),
            "mended": stats.mended,
            "lost": lost,
            "virtual_seconds": seconds,
            "found": found,
        }))?;
    } else {
        for one in found.iter().take(FINDINGS_MAX) {
            out.line(&format!("{}: {}", finding::place(one), finding::fault(one)))?;
        }
        out.line(&format!(
            "{} blocks read in {seconds} s of the drive's time: {} bad, {} mended, {lost} without \
             another copy",
            stats.blocks,
            found.len(),
            stats.mended
        ))?;
    }
    out.finish()
}

/// Maintains until nothing is due.
async fn settle(store: &Shop<'_, '_>) -> Result<(), Failure> {
    for _ in 0..CALLS_MAX {
        if store.maintain(STEPS).await? < STEPS {
            break;
        }
    }
    Ok(())
}

pub(super) fn evacuate(args: &EvacuateArgs) -> Result<(), Failure> {
    let mut session = Session::open(&args.place)?;
    let geometry = session.medium().geometry();
    if let Some(zone) = args.zone.filter(|zone| *zone >= geometry.zone_count) {
        let last = geometry.zone_count - 1;
        return Err(Failure::new(format!("there is no zone {zone}: the last one is {last}")));
    }
    if let Some(element) = args.element.filter(|element| *element >= geometry.element_count) {
        let last = geometry.element_count - 1;
        return Err(Failure::new(format!("there is no element {element}: the last one is {last}")));
    }
    let (before, left) = session.write(async |store: &Shop<'_, '_>| {
        let (element, zone) = (args.element, args.zone);
        let asked = match (element, zone) {
            (Some(element), _) => store.evacuate_element(ElementId(element)).await,
            (None, zone) => store.evacuate_zone(ZoneId(zone.unwrap_or(0))).await,
        };
        asked.map_err(|error| Failure::from(error).about("what it holds must fit elsewhere"))?;
        let before = store.evacuation();
        settle(store).await?;
        Ok((before, store.evacuation()))
    })?;
    let mut out = Output::new();
    if args.json {
        out.document(&json!({
            "image": args.place.image.display().to_string(),
            "zones": before.asked_left,
            "bytes": before.bytes_left,
            "zones_left": left.asked_left,
            "bytes_left": left.bytes_left,
            "anchors": left.anchors,
        }))?;
    } else {
        out.line(&format!(
            "{} zones held {} and were emptied, {} are left; {} anchors stay",
            before.asked_left.saturating_sub(left.asked_left),
            size::show(before.bytes_left.saturating_sub(left.bytes_left)),
            left.asked_left,
            left.anchors
        ))?;
    }
    out.finish()
}

pub(super) fn doctor(args: &DoctorArgs) -> Result<(), Failure> {
    let session = Session::open(&args.place)?;
    set_faults(&session, args.faults.as_deref())?;
    let diagnosis = session.read(async |store: &Shop<'_, '_>| Ok(diagnose(store).await))?;
    let image = args.place.image.display().to_string();
    let mut out = Output::new();
    if args.json {
        out.document(&diagnosis_json(&image, &diagnosis))?;
    } else {
        for line in diagnosis.lines() {
            out.line(&line)?;
        }
    }
    out.finish()
}

fn diagnosis_json(image: &str, diagnosis: &Diagnosis) -> Value {
    let causes: Vec<Value> = diagnosis.causes.iter().map(cause_json).collect();
    let lost: Vec<String> = diagnosis.first_lost.iter().map(|name| key::show(name)).collect();
    let found = diagnosis.findings.iter().take(FINDINGS_MAX).map(finding::document);
    json!({
        "image": image,
        "sound": diagnosis.causes.is_empty(),
        "causes": causes,
        "zones_not_used": diagnosis.stats.failed_zones,
        "zones_to_empty": diagnosis.evacuation.zones_left,
        "capacity_bytes": diagnosis.stats.capacity_bytes,
        "found_count": diagnosis.findings.len(),
        "without_copy": diagnosis.without_copy(),
        "found": found.collect::<Vec<Value>>(),
        "lost_keys": diagnosis.lost_keys,
        "first_lost": lost,
        "untold": diagnosis.untold,
    })
}

fn cause_json(cause: &Cause) -> Value {
    json!({
        "cause": cause.kind.word(),
        "says": cause.kind.says(),
        "firmware": cause.kind.is_firmware(),
        "element": cause.element,
        "first_lba": cause.band.map(|band| band.0),
        "last_lba": cause.band.map(|band| band.1),
        "seen": cause.seen,
        "zones": cause.zones,
        "advice": cause.kind.advice(),
    })
}

/// Lets the drive of the image fail as `plan` says: an image keeps no faults, and a disk has its
/// own.
pub(super) fn set_faults(session: &Session, plan: Option<&str>) -> Result<(), Failure> {
    let Some(plan) = plan else { return Ok(()) };
    let plan: FaultPlan = plan.parse().map_err(|error| Failure::usage(format!("{error}")))?;
    match session.medium() {
        Medium::Image(image) => image.drive().set_faults(&plan, 1),
        #[cfg(target_os = "linux")]
        Medium::Disk(_) => return Err(Failure::usage("--faults are for images, not for disks")),
    }
    Ok(())
}
