//! `shingle stat` and `zones`: how the store stands.

use serde_json::json;
use shingle_hal::Device;

use super::args::{ViewArgs, ZonesArgs};
use super::session::Session;
use super::{Failure, Output, Shop, size};
use crate::report::{svg, terminal, zones};

pub(super) fn stat(args: &ViewArgs) -> Result<(), Failure> {
    let session = Session::open(&args.place)?;
    let medium = session.medium();
    let before = medium.reads();
    session.read(async |store: &Shop<'_, '_>| {
        let mut out = Output::new();
        let reads = medium.reads().zip(before).map(|(after, before)| after - before);
        let (stats, limits) = (store.stats(), store.limits());
        let elements = store.device().geometry().element_count;
        if args.json {
            out.document(&json!({
                "image": args.place.image.display().to_string(),
                "media": medium.name(),
                "drive_bytes": medium.capacity_bytes(),
                "capacity_bytes": stats.capacity_bytes,
                "used_bytes": stats.used_bytes,
                "zone_count": stats.zone_count,
                "free_zones": stats.free_zones,
                "element_count": elements,
                "entries": stats.entries,
                "runs": stats.runs,
                "pieces": stats.pieces,
                "runs_by_level": store.runs_by_level(),
                "open_reads": reads,
                "key_len_max": limits.key_len_max,
                "meta_len_max": limits.meta_len_max,
                "value_len_max": limits.value_len_max,
                "node_len_bytes": limits.node_len_bytes,
                "separate_from_bytes": limits.separate_from_bytes,
            }))?;
            return out.finish();
        }
        let used = 100.0 * stats.used_bytes as f64 / stats.capacity_bytes.max(1) as f64;
        let levels = store.runs_by_level().map(|runs| runs.to_string()).join(" ");
        let rows = [
            ("media", format!("{}, {}", medium.name(), size::show(medium.capacity_bytes()))),
            ("capacity", size::show(stats.capacity_bytes)),
            ("used", format!("{} ({used:.1} %)", size::show(stats.used_bytes))),
            ("zones", format!("{}, {} of them free", stats.zone_count, stats.free_zones)),
            ("entries in runs", stats.entries.to_string()),
            ("runs", format!("{} in {} pieces, by level {levels}", stats.runs, stats.pieces)),
            ("reads to open", reads.map_or("not counted".to_owned(), |reads| reads.to_string())),
            ("longest key", format!("{} bytes", limits.key_len_max)),
            ("longest metadata", format!("{} bytes", limits.meta_len_max)),
            ("longest value", size::show(limits.value_len_max)),
            ("node", size::show(limits.node_len_bytes.into())),
            (
                "values kept apart",
                format!("from {} on", size::show(limits.separate_from_bytes.into())),
            ),
        ];
        for (name, value) in rows {
            out.line(&format!("{name:<18}{value}"))?;
        }
        out.finish()
    })
}

pub(super) fn zones(args: &ZonesArgs) -> Result<(), Failure> {
    let session = Session::open(&args.place)?;
    let name = session.medium().name();
    let views = session.read(async |store: &Shop<'_, '_>| zones::collect(store).await)?;
    if let Some(path) = &args.svg {
        let title = format!("{} on {name}", args.place.image.display());
        std::fs::write(path, svg::picture(&views, &title))
            .map_err(|error| Failure::file(path, &error))?;
    }
    let mut out = Output::new();
    if args.json {
        let zones: Vec<_> = views.iter().map(zones::ZoneView::json).collect();
        out.document(&json!(zones))?;
    } else {
        out.bytes(terminal::picture(&views, Output::is_coloured()).as_bytes())?;
    }
    out.finish()
}
