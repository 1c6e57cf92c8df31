//! `shingle media`: the drives that can be simulated.

use shingle_sim::media::MediaSpec;

use super::args::MediaArgs;
use super::{Failure, Output, size};

pub(super) fn run(args: &MediaArgs) -> Result<(), Failure> {
    let mut out = Output::new();
    match &args.media {
        Some(text) => {
            let spec = MediaSpec::parse(text)?;
            let value = serde_json::to_value(&spec).unwrap_or_default();
            if args.json {
                out.document(&value)?;
            } else {
                show_one(&mut out, &spec, &value)?;
            }
        }
        None => show_all(&mut out, args.json)?,
    }
    out.finish()
}

fn show_all(out: &mut Output, json: bool) -> Result<(), Failure> {
    let specs: Vec<MediaSpec> =
        MediaSpec::names().iter().filter_map(|name| MediaSpec::by_name(name)).collect();
    if json {
        return out.document(&serde_json::to_value(&specs).unwrap_or_default());
    }
    out.line(&format!(
        "{:<14}{:>11}{:>8}{:>11}{:>14}{:>8}{:>13}",
        "media", "capacity", "zones", "zone", "conventional", "open", "rate"
    ))?;
    for spec in specs {
        let rate = spec
            .drive_rate_bytes_per_s()
            .map_or("-".to_owned(), |rate| format!("{:.1} MB/s", rate / 1e6));
        out.line(&format!(
            "{:<14}{:>11}{:>8}{:>11}{:>14}{:>8}{:>13}",
            spec.name,
            size::show(spec.capacity_bytes()),
            spec.zone_count,
            size::show(spec.zone_capacity_bytes()),
            spec.conventional_zone_count,
            spec.open_zones_max.map_or("-".to_owned(), |max| max.to_string()),
            rate
        ))?;
    }
    out.line("")?;
    out.line("Settings change a drive: smr-15tb:zones=1000,zone-mib=4; known are")?;
    out.line(&shingle_sim::media::text::SETTINGS.join(", "))
}

fn show_one(out: &mut Output, spec: &MediaSpec, value: &serde_json::Value) -> Result<(), Failure> {
    let rate = spec.drive_rate_bytes_per_s();
    out.line(&format!("{}: {}", spec.name, size::show(spec.capacity_bytes())))?;
    if let Some(rate) = rate {
        out.line(&format!("  {:<28} {:.1} MB/s", "mean sequential rate", rate / 1e6))?;
    }
    show_fields(out, value, "  ")
}

fn show_fields(out: &mut Output, value: &serde_json::Value, indent: &str) -> Result<(), Failure> {
    for (name, value) in value.as_object().into_iter().flatten() {
        if value.is_object() {
            out.line(&format!("{indent}{name}"))?;
            show_fields(out, value, &format!("{indent}  "))?;
        } else {
            out.line(&format!("{indent}{:<28} {value}", name.replace('_', " ")))?;
        }
    }
    Ok(())
}
